//! The full read of a copy: it comes to what the manifest says, however it is cut, interrupted and called.

use std::time::Duration;

use local::database::{self, with_database};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use restore_drill::checks;
use restore_drill::reading::{Job, advance};
use serde_json::json;
use shared::finding::{Finding, FindingKind};
use shared_postgres::windows::Sizes;
use sqlx::Connection as _;
use tests::bed::{Bed, report};
use tests::checks::{fetch, restored_copy};
use tests::drills::copy::{CALLS_MAX, LONG, access, dump, ledger, read};
use tests::soak::mutations::create_generated;
use tests::torture::{self, DATABASES};
use tests::world::{run, unique, world};
use tokio::time::Instant;

fn sizes(first: u64) -> Sizes {
    Sizes { first, max: first.max(64), aim: Duration::from_millis(100) }
}

fn nothing(findings: &[Finding], what: &str) {
    assert!(findings.is_empty(), "{what}: {findings:#?}");
}

#[test]
fn the_torture_databases_are_read_as_their_backups_say() {
    run(async {
        for major in [17, 18] {
            let instance = world().await.own_server(major).await;
            torture::load(&instance).await;
            let (bed, ledgers) = (Bed::new().await, [ledger(&instance).await, ledger(&instance).await]);
            for (database, encoding) in DATABASES {
                let url = with_database(&instance.admin_url, database).expect("a URL");
                let manifest = dump(&bed, &instance, &url, database).await;
                let access = access(&instance, &url);
                for (first, ledger) in [1, 4096].into_iter().zip(&ledgers) {
                    let drill = format!("torture{first}");
                    let job = Job {
                        access: &access,
                        database,
                        // Not in the database itself: one of them logs what anybody creates.
                        ledger,
                        connections: 3,
                        expected: Some(&manifest),
                        drill: &drill,
                        sizes: sizes(first),
                        whole: LONG,
                    };
                    let (state, _) = read(&job, LONG).await;
                    // Names that are not text, in a database that promises no encoding, cannot be asked for.
                    let of_text = |findings: &[Finding]| -> Vec<Finding> {
                        findings.iter().filter(|finding| *encoding != "SQL_ASCII" || finding.kind != FindingKind::NotChecked).cloned().collect()
                    };
                    let what = format!("{database:?} on {major}, windows of {first}");
                    nothing(&of_text(&state.unreadable), &what);
                    nothing(&of_text(&checks::archive(&state, &manifest)), &what);
                    assert!(*encoding == "SQL_ASCII" || state.tables.len() == manifest.tables.len(), "{what}");
                }
            }
        }
    });
}

#[test]
fn a_restored_archive_is_read_as_its_manifest_says_in_windows_of_any_size_and_interrupted_anywhere() {
    run(async {
        let mut interrupted = 0;
        for (seed, major) in [(11, 17), (12, 18), (13, 16), (14, 15)] {
            let (bed, instance) = (Bed::new().await, world().await.server(major).await);
            let (source, copy) = (format!("read_{seed}_{}", unique()), format!("read_copy_{seed}_{}", unique()));
            create_generated(&instance, &source, seed).await;
            let url = with_database(&instance.admin_url, &source).expect("a URL");
            let outcome = bed.dump(&instance, &url, &json!({"kind": "dump", "databases": [source]})).await;
            let backup = fetch(&bed, &report(outcome), &source).await;
            restored_copy(&instance, &backup, &source, &copy, &[&["-j2"]]).await;
            let access = access(&instance, &instance.admin_url);
            let mut rng = StdRng::seed_from_u64(seed);
            for (first, time) in [(1, LONG), (1 << 20, LONG), (3, Duration::from_millis(rng.random_range(150..400)))] {
                let ledger = ledger(&instance).await;
                let job = Job {
                    access: &access,
                    database: &copy,
                    ledger: &ledger,
                    connections: 2,
                    expected: Some(&backup.manifest),
                    drill: "random",
                    sizes: Sizes { max: first, ..sizes(first) },
                    whole: LONG,
                };
                // Killed at any moment: what is dropped leaves no more behind than what dies.
                for longest in [30, 80, 200, 600] {
                    let killed = Duration::from_millis(rng.random_range(1..longest));
                    let ended = tokio::time::timeout(killed, advance(&job, Instant::now() + LONG)).await;
                    interrupted += usize::from(ended.is_err());
                }
                let (state, calls) = read(&job, time).await;
                let what = format!("seed {seed} on {major}, windows of {first}, {calls} calls of {time:?}");
                nothing(&state.unreadable, &what);
                nothing(&checks::archive(&state, &backup.manifest), &what);
                // Called once more, it answers the same without reading.
                assert_eq!(advance(&job, Instant::now() + LONG).await.expect("advance"), state, "{what}");
                interrupted += calls - 1;
                database::drop(&instance, &ledger).await.expect("drop the ledger");
            }
            database::drop(&instance, &copy).await.expect("drop");
            database::drop(&instance, &source).await.expect("drop");
        }
        assert!(interrupted > 4, "the readings were not interrupted");
    });
}

#[test]
fn called_twice_at_a_time_nothing_is_read_twice() {
    run(async {
        let instance = world().await.server(17).await;
        let database = format!("twice_{}", unique());
        database::create(&instance, &database).await.expect("create");
        let sql = "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 5) AS t FROM generate_series(1, 60000) n;
                   CREATE TABLE small AS SELECT 1 AS n; CREATE TABLE none (n int); CREATE SEQUENCE s; SELECT nextval('s');
                   SELECT lo_from_bytea(0, 'abc') FROM generate_series(1, 450); CREATE MATERIALIZED VIEW m AS SELECT * FROM small";
        let url = with_database(&instance.master_url, &database).expect("a URL");
        let mut connection = database::connect(&instance, &url).await.expect("connect");
        database::run(&mut connection, sql).await.expect("fill");
        let _ = connection.close().await;
        let manifest = dump(&Bed::new().await, &instance, &url, &database).await;
        let access = access(&instance, &url);
        let job = Job {
            access: &access,
            database: &database,
            ledger: &database,
            connections: 2,
            expected: Some(&manifest),
            drill: "twice",
            sizes: Sizes { max: 16, ..sizes(16) },
            whole: LONG,
        };
        let (mut calls, mut time) = (0, Duration::from_millis(200));
        let state = loop {
            calls += 1;
            assert!(calls < CALLS_MAX, "it does not end");
            time = time.mul_f32(1.05);
            let until = Instant::now() + time;
            let (one, two) = tokio::join!(advance(&job, until), advance(&job, until));
            let (one, two) = (one.expect("advance"), two.expect("advance"));
            if let Some(state) = [one, two].into_iter().find(|state| state.done) {
                break state;
            }
        };
        nothing(&state.unreadable, "unreadable");
        nothing(&checks::archive(&state, &manifest), "judged");
        assert_eq!(state.counted.values().map(|content| content.rows).collect::<Vec<_>>(), [1], "the materialized view");
        assert_eq!(state.large_objects.map(|objects| (objects.content.rows, objects.bytes)), Some((450, 1350)));
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn a_table_that_the_role_may_not_read_is_not_checked_and_the_grant_is_named() {
    run(async {
        let instance = world().await.server(17).await;
        let database = format!("denied_{}", unique());
        database::create(&instance, &database).await.expect("create");
        let role = format!("poor_{}", unique());
        let sql = format!(
            "CREATE TABLE open AS SELECT 1 AS n; CREATE TABLE \"shut \"\"x\" AS SELECT 1 AS n; CREATE SEQUENCE shut_sequence;
             CREATE ROLE {role} LOGIN PASSWORD 'poor'; GRANT SELECT ON open TO {role}"
        );
        database::run_as_admin(&instance, &database, &sql).await.expect("fill");
        let ledger = ledger(&instance).await;
        database::run_as_admin(&instance, "postgres", &format!("GRANT ALL ON DATABASE {ledger} TO {role}")).await.expect("grant");
        let url = local::database::with_user(&instance.admin_url, &role, "poor").expect("a URL");
        let access = access(&instance, &url);
        let job = Job {
            access: &access,
            database: &database,
            ledger: &ledger,
            connections: 1,
            expected: None,
            drill: "d",
            sizes: Sizes::default(),
            whole: LONG,
        };
        let (state, _) = read(&job, LONG).await;
        assert_eq!(state.tables.len(), 1);
        let told: Vec<(FindingKind, &str)> =
            state.unreadable.iter().map(|finding| (finding.kind, finding.hint.as_deref().unwrap_or_default())).collect();
        assert!(told.len() == 2 && told.iter().all(|(kind, _)| *kind == FindingKind::NotChecked), "{told:?}");
        assert!(told[0].1.contains(&format!("GRANT SELECT ON \"public\".\"shut \"\"x\" TO \"{role}\"")), "{told:?}");
        assert!(told[1].1.contains("GRANT SELECT ON SEQUENCE"), "{told:?}");
        database::drop(&instance, &database).await.expect("drop");
        database::drop(&instance, &ledger).await.expect("drop");
    });
}
