//! Who may depend on whom, and what may come in from outside. `deny.toml` has the lists of licences and bans; this holds them with cargo alone.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_none;
use super::licence::satisfy;
use super::tree::{File, files, root, text};

const FUNCTIONS: [&str; 9] =
    ["snapshot", "logical-dump", "backup-verify", "retention", "restore-drill", "integrity-check", "rotate-secret", "canary", "notify-slack"];
const HARNESS: [&str; 3] = ["local", "tests", "bench"];

/// Who may depend on these; everybody else may not.
const ONLY: [(&str, &[&str], &str); 3] = [
    (
        "sqlx",
        &["shared-postgres", "logical-dump", "restore-drill", "integrity-check", "rotate-secret", "local", "tests", "bench"],
        "only what connects to a database knows its driver",
    ),
    (
        "shared-postgres",
        &["logical-dump", "restore-drill", "integrity-check", "rotate-secret", "local", "tests", "bench"],
        "a function that never connects must not carry the driver",
    ),
    ("local", &["local", "tests", "bench"], "the local cloud is no part of what is deployed"),
];

/// The names that a package's manifest depends on.
fn depended(manifest: &toml::Table) -> Vec<(String, toml::Value)> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|kind| manifest.get(*kind)?.as_table())
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn direction_mistakes(package: &str, manifest: &toml::Table) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, _) in depended(manifest) {
        if FUNCTIONS.contains(&name.as_str()) && !["tests", "bench"].contains(&package) {
            mistakes.push(format!("{package} depends on the function {name}: functions talk through reports and the bucket"));
        }
        for (only, who, why) in ONLY.iter().filter(|(only, ..)| *only == name) {
            if !who.contains(&package) {
                mistakes.push(format!("{package} depends on {only}: {why}"));
            }
        }
        if package == "shared" && HARNESS.contains(&name.as_str()) {
            mistakes.push(format!("shared depends on {name}"));
        }
    }
    mistakes
}

fn manifest_mistakes(path: &str, manifest: &toml::Table) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, value) in depended(manifest) {
        let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        if !inherits || value.get("version").is_some() || value.get("features").is_some() {
            mistakes.push(format!("{path}: {name} must be `{name}.workspace = true`: versions and features are in one place"));
        }
    }
    let package = manifest.get("package");
    for field in ["version", "edition", "rust-version", "license", "publish"] {
        if package.and_then(|package| package.get(field)?.get("workspace")).is_none() {
            mistakes.push(format!("{path}: `{field}.workspace = true` is missing"));
        }
    }
    if manifest.get("lints").and_then(|lints| lints.get("workspace")).is_none() {
        mistakes.push(format!("{path}: the workspace's lints are not switched on"));
    }
    mistakes
}

fn members() -> Vec<(&'static File, toml::Table)> {
    let manifests = files().iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests.map(|file| (file, file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path)))).collect()
}

#[test]
fn dependencies_point_one_way_and_versions_are_in_one_place() {
    let members = members();
    let workspace: toml::Table = text("Cargo.toml").parse().expect("Cargo.toml");
    assert_eq!(Some(members.len()), workspace["workspace"]["members"].as_array().map(Vec::len));
    let mut mistakes = Vec::new();
    let mut used = BTreeSet::new();
    for (file, manifest) in &members {
        let package = manifest["package"]["name"].as_str().expect("a package has a name");
        mistakes.extend(direction_mistakes(package, manifest));
        mistakes.extend(manifest_mistakes(&file.path, manifest));
        used.extend(depended(manifest).into_iter().map(|(name, _)| name));
    }
    let offered = workspace["workspace"]["dependencies"].as_table().expect("a table");
    mistakes.extend(offered.keys().filter(|name| !used.contains(*name)).map(|name| format!("Cargo.toml: nobody uses {name}")));
    mistakes.extend(offered.iter().filter_map(|(name, value)| version_mistake(name, value)));
    assert_none(&mistakes);
}

fn version_mistake(name: &str, value: &toml::Value) -> Option<String> {
    let is_path = value.get("path").is_some();
    let version = value.as_str().or_else(|| value.get("version")?.as_str());
    let is_good = is_path != version.is_some_and(|version| !version.contains('*')) && value.get("git").is_none();
    (!is_good).then(|| format!("Cargo.toml: {name} must have a version, or be a path in this checkout"))
}

#[test]
fn planted_dependencies_are_noticed() {
    let table = |text: &str| text.parse::<toml::Table>().expect("toml");
    let lines = |line: &str| table(&format!("[dependencies]\n{line}\n"));
    for (package, line) in [
        ("backup-verify", "logical-dump.workspace = true"),
        ("backup-verify", "sqlx.workspace = true"),
        ("notify-slack", "shared-postgres.workspace = true"),
        ("shared", "local.workspace = true"),
        ("local", "logical-dump.workspace = true"),
    ] {
        assert!(!direction_mistakes(package, &lines(line)).is_empty(), "{package}: {line}");
    }
    assert_none(&direction_mistakes("logical-dump", &lines("sqlx.workspace = true")));
    let good = "[package]\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";
    assert_none(&manifest_mistakes("x", &table(good)));
    for bad in ["a = \"1\"", "a = { path = \"../a\" }", "a = { workspace = true, features = [\"b\"] }"] {
        assert_eq!(manifest_mistakes("x", &table(&format!("{good}[dependencies]\n{bad}\n"))).len(), 1, "{bad}");
        assert_eq!(manifest_mistakes("x", &table(&format!("{good}[dev-dependencies]\n{bad}\n"))).len(), 1, "{bad}");
    }
    assert_eq!(manifest_mistakes("x", &table(&good.replace("[lints]\nworkspace = true", ""))).len(), 1);
    for bad in ["a = \"*\"", "a = { git = \"https://example.com/a\" }", "a = { version = \"1\", git = \"https://example.com/a\" }"] {
        assert!(version_mistake("a", &table(bad)["a"]).is_some(), "{bad}");
    }
}

/// A package that is compiled for this machine, by name and version, with its licence.
type Packages = BTreeMap<(String, String), String>;

/// What cargo would compile for the whole workspace: the features are those that are really on, which the lock file does not tell.
#[expect(clippy::disallowed_methods, reason = "asks cargo; the wrappers are for what must be ended with us")]
fn packages() -> Packages {
    let cargo = shared::env::process("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let arguments = ["tree", "--locked", "--workspace", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"];
    let output = std::process::Command::new(cargo).args(arguments).current_dir(root()).output().expect("start cargo");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    parse_tree(&String::from_utf8_lossy(&output.stdout))
}

/// Lines like `serde v1.0.1|MIT OR Apache-2.0`, with ` (*)` where one was shown before.
fn parse_tree(tree: &str) -> Packages {
    let lines = tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    lines
        .filter_map(|(package, licence)| {
            let mut words = package.split(' ');
            Some(((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()), licence.to_owned()))
        })
        .collect()
}

/// `name`, or `name:<1.2`: the two forms that deny.toml uses.
fn is_banned(ban: &str, name: &str, version: &str) -> bool {
    let numbers = |text: &str| text.split('.').map_while(|number| number.parse::<u64>().ok()).collect::<Vec<_>>();
    match ban.split_once(":<") {
        Some((banned, below)) => name == banned && numbers(version) < numbers(below),
        None => name == ban,
    }
}

fn outside_mistakes(packages: &Packages, deny: &toml::Table) -> Vec<String> {
    let allowed: BTreeSet<String> =
        deny["licenses"]["allow"].as_array().expect("a list").iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    let bans = deny["bans"]["deny"].as_array().expect("a list");
    let mut mistakes = Vec::new();
    for ((name, version), licence) in packages {
        if satisfy(licence, &allowed).is_none() {
            mistakes.push(format!("{name} {version} has the licence `{licence}`, which deny.toml does not allow"));
        }
        for ban in bans {
            let (banned, reason) = (ban["crate"].as_str().expect("a name"), ban["reason"].as_str().expect("a reason"));
            if is_banned(banned, name, version) {
                mistakes.push(format!("{name} {version} is banned: {reason}"));
            }
        }
    }
    mistakes
}

#[test]
fn what_comes_in_from_outside_is_licensed_and_not_banned() {
    let packages = packages();
    assert!(packages.len() > 200, "{} packages", packages.len());
    let deny: toml::Table = text("deny.toml").parse().expect("deny.toml");
    assert_none(&outside_mistakes(&packages, &deny));
    for must in ["ring", "rustls:<0.23", "hyper:<1", "native-tls", "openssl"] {
        assert!(
            deny["bans"]["deny"].as_array().is_some_and(|bans| bans.iter().any(|ban| ban["crate"].as_str() == Some(must))),
            "{must} is not banned"
        );
    }
}

#[test]
fn planted_packages_are_noticed() {
    let deny: toml::Table = text("deny.toml").parse().expect("deny.toml");
    let mistakes = |line: &str| outside_mistakes(&parse_tree(line), &deny);
    for bad in [
        "ring v0.17.14|Apache-2.0 AND ISC",
        "rustls v0.21.12|MIT",
        "hyper v0.14.32 (*)|MIT",
        "openssl v0.10.1|Apache-2.0",
        "x v1.0.0|GPL-3.0",
        "x v1.0.0|",
    ] {
        assert_eq!(mistakes(bad).len(), 1, "{bad}");
    }
    for good in ["rustls v0.23.46|Apache-2.0 OR ISC OR MIT", "hyper v1.12.0|MIT (*)", "shared v0.1.0 (/somewhere)|Apache-2.0"] {
        assert_none(&mistakes(good));
    }
}
