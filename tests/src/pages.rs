//! Pages of tables and indexes, broken one by one in the files of a stopped server, by seed; then looked at by `pg_amcheck`, which reads everything at
//! once, and by the nightly check, which reads a part each night.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use integrity_check::corruption::{Cursor, Night, Progress, advance};
use integrity_check::pace::Pace;
use integrity_check::session::Sessions;
use local::Instance;
use local::cloud::REGION;
use local::database::{self, program, with_database};
use local::process::Job;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::finding::{Finding, FindingKind};
use sqlx::Connection as _;
use tokio::time::Instant;

use crate::drills::copy::access;
use crate::soak::Counts;
use crate::world::{unique, world};

const PAGE_BYTES: u64 = 8192;
/// Databases that are broken while a server is stopped once.
const ROUND: usize = 4;
/// Nights after which everything must have come to its turn.
const NIGHTS_MAX: i32 = 12;
const BUDGET_PAGES: u64 = 4000;

/// Heaps with and without long values, indexes of several types and depths, unique or not, one on an expression.
const FILL: &str = "
CREATE TABLE wide (id int PRIMARY KEY, t text, u uuid, n numeric, CONSTRAINT wide_u UNIQUE (u));
INSERT INTO wide SELECT n, repeat(md5(n::text), 1 + n % 5), md5(n::text)::uuid, n / 7.0 FROM generate_series(1, 6000) n;
CREATE INDEX wide_t ON wide (t); CREATE INDEX wide_n ON wide (n DESC, id); CREATE INDEX wide_e ON wide (lower(t)) WHERE id % 3 = 0;
CREATE TABLE long (id bigint PRIMARY KEY, t text);
INSERT INTO long SELECT n, (SELECT string_agg(md5(n::text || g::text), '') FROM generate_series(1, 150) g) FROM generate_series(1, 120) n;
CREATE TABLE churned (id int, d timestamptz, b boolean); INSERT INTO churned SELECT n, to_timestamp(n), n % 2 = 0 FROM generate_series(1, 4000) n;
CREATE INDEX churned_d ON churned (d); UPDATE churned SET b = NOT b WHERE id % 4 = 0; DELETE FROM churned WHERE id % 7 = 0;
VACUUM FREEZE wide; VACUUM ANALYZE;";

/// Sessions of the nightly check, as the superuser or as somebody else.
pub fn sessions(instance: &Instance, url: &str, database: &str) -> Sessions {
    Sessions {
        access: access(instance, url),
        database: database.to_owned(),
        lock_wait: Duration::from_millis(300),
        statement: Duration::from_secs(30),
    }
}

/// Nights until every page was checked and what is corrupt was looked at again.
///
/// # Panics
/// When that takes more nights than it may.
pub async fn nights(sessions: &Sessions, budget_pages: u64) -> Progress {
    let (mut cursor, mut last) = (Cursor::default(), Progress::default());
    for day in 1..=NIGHTS_MAX {
        let night = Night { day, budget_pages, whole: Duration::from_mins(1) };
        let mut calls = 0;
        loop {
            // What is known goes from one invocation to the next by what was written down.
            cursor = serde_json::from_slice(&serde_json::to_vec(&cursor).expect("write")).expect("read");
            let mut pace = Pace::new(50_000);
            let advanced = advance(sessions, &mut cursor, night, &mut pace, Instant::now() + Duration::from_mins(1)).await;
            last = advanced.unwrap_or_else(|failure| panic!("{failure}"));
            calls += 1;
            assert!(calls < 20, "{last:#?}");
            if last.done {
                break;
            }
        }
        if last.coverage.oldest_day.is_some_and(|oldest| oldest >= 1) && day > 1 {
            return last;
        }
    }
    panic!("not everything is checked after {NIGHTS_MAX} nights: {:?}", last.coverage);
}

/// The corrupt tables and indexes of findings.
pub fn corrupt(findings: &[Finding]) -> BTreeSet<String> {
    let is_corrupt = |finding: &&Finding| matches!(finding.kind, FindingKind::HeapCorrupt | FindingKind::IndexCorrupt);
    findings.iter().filter(is_corrupt).map(|finding| finding.subject.split(", where").next().unwrap_or_default().to_owned()).collect()
}

/// What `pg_amcheck` finds.
///
/// # Panics
/// When it cannot run.
pub async fn pg_amcheck(instance: &Instance, database: &str, more: &[&str]) -> BTreeSet<String> {
    let url = with_database(&instance.admin_url, database).expect("a URL");
    let ended = program(instance, "pg_amcheck", &url).expect("a URL").args(more).run().await.expect("run pg_amcheck");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(matches!(ended.status.code(), Some(0 | 2)), "pg_amcheck: {said} {}", String::from_utf8_lossy(&ended.stderr));
    let named = |line: &str| {
        let rest = line.strip_prefix("heap table \"").or_else(|| line.strip_prefix("btree index \""))?;
        rest.split('"').next()?.strip_prefix(&format!("{database}.")).map(str::to_owned)
    };
    said.lines().filter_map(named).collect()
}

/// Everything that also the nightly check asks for.
fn strict(major: u32) -> &'static [&'static str] {
    if major >= 17 { &["--heapallindexed", "--checkunique"] } else { &["--heapallindexed"] }
}

/// Breaks pages by seed, half of the time with checksums, and compares what is found. Gives what was seen, and what was wrong, with its seed.
///
/// # Panics
/// When the server does not come up again.
pub async fn broken_pages(major: u32, seeds: std::ops::Range<u64>) -> (Counts, Vec<String>) {
    let world = world().await;
    let (account, id) = (format!("3{:011}", unique()), format!("pages-{major}-{}", unique()));
    let instance = world.cloud.create_instance(&account, &id, major).await.expect("create an instance");
    database::create(&instance, "clean").await.expect("create");
    database::run_as_admin(&instance, "clean", "CREATE EXTENSION amcheck").await.expect("amcheck");
    for sql in FILL.split(';').filter(|sql| !sql.trim().is_empty()) {
        database::run_as_admin(&instance, "clean", sql).await.expect("fill");
    }
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    let clean = nights(&sessions(&instance, &with_database(&instance.admin_url, "clean").expect("a URL"), "clean"), BUDGET_PAGES).await;
    let (theirs, ours) = (pg_amcheck(&instance, "clean", strict(major)).await, corrupt(&clean.findings));
    assert!(theirs.is_empty() && ours.is_empty() && clean.findings.is_empty(), "clean at first on {major}: {theirs:?} {:?}", clean.findings);
    for round in seeds.collect::<Vec<_>>().chunks(ROUND) {
        let mut files = BTreeMap::new();
        for seed in round {
            let name = format!("seed_{seed}");
            database::run_as_admin(&instance, "postgres", &format!("CREATE DATABASE {name} TEMPLATE clean")).await.expect("copy");
            let found = relations(&instance, &name).await;
            files.insert(*seed, found);
        }
        world.cloud.stop_server(&account, REGION, &id).await.expect("stop");
        // A server finds what was changed by its checksum; without them, only by what the bytes mean.
        let with_checksums = (round[0] / ROUND as u64).is_multiple_of(2);
        let action = if with_checksums { "--enable" } else { "--disable" };
        let ended =
            Job::new(instance.bin_folder.join("pg_checksums")).args([action, "-D"]).args([&instance.folder]).run().await.expect("run pg_checksums");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() || said.contains("already"), "pg_checksums {action}: {said}");
        for (seed, files) in &files {
            let mut rng = StdRng::seed_from_u64(*seed);
            for _ in 0..rng.random_range(1..4) {
                let (name, path) = &files[rng.random_range(0..files.len())];
                let what = harm(&instance.folder.join(path), &mut rng);
                counts.add(&format!("{what}{}", if name.contains("toast") { " of long values" } else { "" }));
            }
        }
        world.cloud.start_server(&account, REGION, &id).await.expect("start");
        for seed in round {
            let name = format!("seed_{seed}");
            let least = pg_amcheck(&instance, &name, &[]).await;
            let most = pg_amcheck(&instance, &name, strict(major)).await;
            let url = with_database(&instance.admin_url, &name).expect("a URL");
            let seen = nights(&sessions(&instance, &url, &name), BUDGET_PAGES).await;
            let ours = corrupt(&seen.findings);
            counts.add(if least.is_empty() { "databases without anything to find" } else { "databases with something to find" });
            for _ in &least {
                counts.add("found by pg_amcheck");
            }
            for _ in &ours {
                counts.add("found by the nightly check");
            }
            let at = format!("seed {seed} on {major}, {} checksums", if with_checksums { "with" } else { "without" });
            wrong.extend(least.difference(&ours).map(|name| format!("{at}: {name} is not found")));
            wrong.extend(ours.difference(&most).map(|name| format!("{at}: {name} is not corrupt: {:#?}", seen.findings)));
            database::drop(&instance, &name).await.expect("drop");
        }
    }
    (counts, wrong)
}

/// Tables and btree indexes of the user's, with those of long values: name, and file below the server's folder.
async fn relations(instance: &Instance, database: &str) -> Vec<(String, String)> {
    let mut admin = database::connect(instance, &with_database(&instance.admin_url, database).expect("a URL")).await.expect("connect");
    let sql = "SELECT c.oid::regclass::text, pg_relation_filepath(c.oid) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 't', 'i') AND pg_relation_size(c.oid) > 0
                 AND c.relnamespace IN ('public'::regnamespace, 'pg_toast'::regnamespace) ORDER BY c.relname";
    let found = sqlx::query_as(sql).fetch_all(&mut admin).await.expect("the files");
    admin.close().await.expect("close");
    found
}

/// Does something to a page of a file: turns a bit, wipes the page, swaps it with another, or swaps two line pointers.
fn harm(path: &Path, rng: &mut StdRng) -> &'static str {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let pages = (file.metadata().expect("its size").len() / PAGE_BYTES).max(1);
    let (one, other) = (rng.random_range(0..pages), rng.random_range(0..pages));
    let mut read = |page: u64| {
        let mut bytes = vec![0; usize::try_from(PAGE_BYTES).expect("small")];
        file.seek(SeekFrom::Start(page * PAGE_BYTES)).and_then(|_| file.read_exact(&mut bytes)).expect("read the page");
        bytes
    };
    let (mut first, mut second) = (read(one), read(other));
    let what = match rng.random_range(0..10) {
        0 => {
            std::mem::swap(&mut first, &mut second);
            "swapped pages"
        }
        1 => {
            first.fill(0);
            second.clone_from(&first);
            "wiped pages"
        }
        2 | 3 => {
            // Line pointers begin after the header of 24 bytes, four bytes each.
            let (a, b) = (24 + 4 * rng.random_range(0..20), 24 + 4 * rng.random_range(0..20));
            for byte in 0..4 {
                first.swap(a + byte, b + byte);
            }
            "swapped line pointers"
        }
        _ => {
            let place = rng.random_range(0..first.len());
            first[place] ^= 1 << rng.random_range(0..8);
            "turned bits"
        }
    };
    let second_is_written = what == "swapped pages" && one != other;
    let mut write =
        |page: u64, bytes: &[u8]| file.seek(SeekFrom::Start(page * PAGE_BYTES)).and_then(|_| file.write_all(bytes)).expect("write the page");
    write(one, &first);
    if second_is_written {
        write(other, &second);
    }
    what
}
