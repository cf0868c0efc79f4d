//! Rules about source files: what the pure half may know, how long a file may be, what tests may do, where a ban is lifted.

use std::collections::BTreeMap;

use super::assert_none;
use super::tree::{File, files, text, without_comments};

// ---------------------------------------------------------------------------------------------------------------------------------------------
// The pure half of `shared`
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// A clock, the environment, the network, the disk, an async runtime.
const IMPURE: [&str; 13] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Utc::now",
    "Local::now",
    "Instant::now",
    "tokio",
    "aws_",
    "async ",
    ".await",
];

fn impurities(path: &str, product: &str) -> Vec<String> {
    let code = without_comments(product);
    IMPURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} is in the pure half and has `{word}`")).collect()
}

/// The modules that `lib.rs` lists under "Pure half".
fn pure_modules(lib: &str) -> Vec<String> {
    let (_, pure) = lib.split_once("// Pure half.").expect("lib.rs has a pure half");
    let (pure, _) = pure.split_once("// Edge half.").expect("lib.rs has an edge half");
    pure.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

#[test]
fn the_pure_half_knows_no_clock_environment_network_or_runtime() {
    let modules = pure_modules(text("shared/src/lib.rs"));
    assert!(modules.len() >= 8, "{modules:?}");
    let is_pure = |file: &&File| {
        modules.iter().any(|name| file.path == format!("shared/src/{name}.rs") || file.path.starts_with(&format!("shared/src/{name}/")))
    };
    let pure: Vec<&File> = files().iter().filter(is_pure).collect();
    assert!(pure.len() >= modules.len(), "{modules:?}");
    assert_none(&pure.iter().flat_map(|file| impurities(&file.path, file.product())).collect::<Vec<_>>());
}

#[test]
fn planted_impurities_are_noticed() {
    for line in [
        "let now = Utc::now();",
        "use std::fs;",
        "pub async fn f() {}",
        "std::env::temp_dir()",
        "use aws_sdk_s3::Client;",
        "std::time::SystemTime::now()",
    ] {
        assert!(!impurities("x.rs", line).is_empty(), "{line}");
    }
    assert_none(&impurities("x.rs", "/// Not `Utc::now`: `now` is an argument.\nfn age(now: DateTime<Utc>) {}"));
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Size
// ---------------------------------------------------------------------------------------------------------------------------------------------

const LINES_MAX: usize = 450;
/// Longer files, each with the reason.
const LONGER: [(&str, &str); 0] = [];

fn too_long(path: &str, counted: &str) -> Option<String> {
    let lines = counted.lines().count();
    (lines > LINES_MAX).then(|| format!("{path} has {lines} lines; a file fits a sitting ({LINES_MAX})"))
}

#[test]
fn a_file_fits_a_sitting() {
    let mut mistakes = Vec::new();
    for file in files().iter().filter(|file| file.has_extension("rs") || file.has_extension("py")) {
        let counted = if file.is_test() { &file.text } else { file.product() };
        let is_listed = LONGER.iter().any(|(path, _)| *path == file.path);
        match too_long(&file.path, counted) {
            Some(mistake) if !is_listed => mistakes.push(mistake),
            None if is_listed => mistakes.push(format!("{} is short enough: take it off the list", file.path)),
            _ => {}
        }
    }
    assert_none(&mistakes);
    assert!(too_long("x.rs", &"line\n".repeat(LINES_MAX + 1)).is_some() && too_long("x.rs", &"line\n".repeat(LINES_MAX)).is_none());
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Words that do not belong
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// Written in two halves, so that this file does not have them.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

fn words(path: &str, text: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", number + 1);
        mistakes.extend(UNFINISHED.iter().filter(|word| line.contains(**word)).map(|word| format!("{place} has {word}: do it, or file it")));
        mistakes.extend(MACHINE_PATHS.iter().filter(|word| line.contains(**word)).map(|word| format!("{place} names {word}: a path of one machine")));
    }
    mistakes
}

#[test]
fn nothing_is_left_to_do_in_the_source_and_no_path_is_of_one_machine() {
    // Packages' own names, by hash.
    let written = files().iter().filter(|file| file.path != "Cargo.lock");
    assert_none(&written.flat_map(|file| words(&file.path, &file.text)).collect::<Vec<_>>());
    for planted in UNFINISHED.iter().chain(&MACHINE_PATHS) {
        assert_eq!(words("x", &format!("fine\n// {planted}x")).len(), 1, "{planted}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Tests
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// How often a file's tests may sleep, and why they must.
const SLEEPS: [(&str, usize, &str); 4] = [
    ("local/cloud/tests/harness.py", 1, "between two looks at a process that is ending, with an end"),
    ("tests/src/faults.rs", 1, "inside the server, between two looks at sessions that are ending, with an end"),
    ("tests/it/drill/rehearsal.rs", 1, "inside the server: a statement that takes a known time, to be measured"),
    ("local/tests/runner.rs", 1, "the function under test hangs, for the runner to end it"),
];

const SLEEP: &str = concat!("sl", "eep(");

fn sleeps(tests: &str) -> usize {
    without_comments(tests).matches(SLEEP).count()
}

#[test]
fn tests_wait_for_what_must_happen() {
    let mut mistakes = Vec::new();
    for file in files().iter().filter(|file| file.has_extension("rs") || file.has_extension("py")) {
        let (seen, allowed) = (sleeps(file.tests()), SLEEPS.iter().find(|(path, ..)| *path == file.path).map_or(0, |(_, count, _)| *count));
        if seen != allowed {
            mistakes.push(format!("the tests of {} sleep {seen} times, {allowed} are listed: wait for what must happen, with an end", file.path));
        }
    }
    assert_none(&mistakes);
    assert_eq!(sleeps(&format!("tokio::time::{SLEEP}a).await;\n// {SLEEP}b)\nstd::thread::{SLEEP}c);")), 2);
}

const IGNORED: &str = concat!("#[ig", "nore");

#[test]
fn no_test_is_switched_off() {
    let ignored = |text: &str| without_comments(text).contains(IGNORED);
    assert_none(
        &files()
            .iter()
            .filter(|file| file.has_extension("rs") && ignored(&file.text))
            .map(|file| format!("{} has a test that does not run", file.path))
            .collect::<Vec<_>>(),
    );
    assert!(ignored(&format!("#[test]\n{IGNORED} = \"slow\"]\nfn f() {{}}")));
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Where a ban of clippy.toml is lifted
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// Each place, and the ban that it lifts. The functions and what they share have at most one place for each ban; so has every harness crate.
const SITES: [(&str, &str); 7] = [
    ("shared/src/env.rs", "std::env::var"),
    ("shared/src/lambda.rs", "chrono::Utc::now"),
    ("shared/src/aws.rs", "aws_config::defaults"),
    ("shared/postgres/src/client_program.rs", "tokio::process::Command::new"),
    ("local/src/host.rs", "chrono::Utc::now"),
    ("local/src/process.rs", "std::process::Command::new"),
    ("tests/it/tidy/dependencies.rs", "std::process::Command::new"),
];

const LIFTED: &str = concat!("#[expect(clippy::disallowed", "_methods, reason = \"");
const LIFTED_SOMEHOW: &str = concat!("clippy::disallowed", "_methods");

/// The part of the checkout that shares its one place for a ban.
fn realm(path: &str) -> &str {
    match path.split('/').next() {
        Some("shared" | "functions") => "the product",
        first => first.unwrap_or_default(),
    }
}

fn ban_mistakes(sources: &[(&str, &str)], sites: &[(&str, &str)], bans: &[String]) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (path, ban) in sites {
        *places.entry((realm(path), ban)).or_default() += 1;
        if !bans.iter().any(|known| known == ban) {
            mistakes.push(format!("{ban} is not banned by clippy.toml"));
        }
        // `Command::new`, `Utc::now`: as code names it.
        let name = ban.rsplitn(3, "::").take(2).collect::<Vec<_>>();
        let name = format!("{}::{}", name[1], name[0]);
        if !sources.iter().any(|(source, text)| source == path && text.contains(&name)) {
            mistakes.push(format!("{path} does not use {name}: take it off the list"));
        }
    }
    mistakes.extend(places.iter().filter(|(_, count)| **count > 1).map(|((realm, ban), count)| format!("{realm} lifts {ban} in {count} places")));
    for (path, text) in sources {
        let (seen, somehow) = (text.matches(LIFTED).count(), text.matches(LIFTED_SOMEHOW).count());
        let listed = sites.iter().filter(|(site, _)| site == path).count();
        if seen != listed || somehow != seen {
            mistakes.push(format!("{path} lifts a ban in {somehow} places, {seen} of them with a reason; {listed} are listed"));
        }
    }
    mistakes
}

fn bans(clippy: &str) -> Vec<String> {
    let table: toml::Table = clippy.parse().expect("clippy.toml");
    let methods = table["disallowed-methods"].as_array().expect("a list");
    methods.iter().map(|ban| ban["path"].as_str().expect("a path").to_owned()).collect()
}

#[test]
fn a_ban_is_lifted_in_one_place() {
    let sources: Vec<(&str, &str)> =
        files().iter().filter(|file| file.has_extension("rs")).map(|file| (file.path.as_str(), file.text.as_str())).collect();
    assert_none(&ban_mistakes(&sources, &SITES, &bans(text("clippy.toml"))));
}

#[test]
fn planted_liftings_are_noticed() {
    let bans = bans("disallowed-methods = [{ path = \"a::B::new\", reason = \"r\" }]");
    let good = format!("{LIFTED}one place\")]\nB::new()");
    assert_none(&ban_mistakes(&[("shared/a.rs", &good)], &[("shared/a.rs", "a::B::new")], &bans));
    let without_reason = good.replace("reason", "because");
    for (sources, sites) in [
        (vec![("shared/a.rs", good.as_str())], vec![]),
        (vec![("shared/a.rs", without_reason.as_str())], vec![("shared/a.rs", "a::B::new")]),
        (vec![("shared/a.rs", "")], vec![("shared/a.rs", "a::B::new")]),
        (vec![("shared/a.rs", &good), ("functions/f/b.rs", &good)], vec![("shared/a.rs", "a::B::new"), ("functions/f/b.rs", "a::B::new")]),
        (vec![("shared/a.rs", good.as_str())], vec![("shared/a.rs", "a::B::old")]),
    ] {
        assert!(!ban_mistakes(&sources, &sites, &bans).is_empty(), "{sites:?}");
    }
}
