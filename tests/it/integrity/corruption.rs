//! What is corrupt is found, what is not is not; what could not be checked is said; and nobody waits for it.

use std::time::Duration;

use integrity_check::corruption::{Cursor, Night, Progress, advance};
use integrity_check::pace::Pace;
use local::Instance;
use local::database::{self, with_database, with_user};
use shared::finding::FindingKind;
use sqlx::Connection as _;
use tests::pages::{broken_pages, corrupt, nights, pg_amcheck, sessions};
use tests::world::{run, unique, world};
use tokio::time::Instant;

const PASSWORD: &str = "night-watch";

fn night(day: i32) -> Night {
    Night { day, budget_pages: 1_000_000, whole: Duration::from_mins(1) }
}

async fn once(sessions: &integrity_check::session::Sessions, cursor: &mut Cursor, day: i32) -> Progress {
    advance(sessions, cursor, night(day), &mut Pace::new(100_000), Instant::now() + Duration::from_mins(1))
        .await
        .unwrap_or_else(|failure| panic!("{failure}"))
}

async fn scene(major: u32, name: &str, sql: &str) -> (Instance, String, String) {
    let instance = world().await.server(major).await;
    let database = format!("{name}_{major}_{}", unique());
    database::create(&instance, &database).await.expect("create");
    database::run_as_admin(&instance, &database, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    let url = with_database(&instance.admin_url, &database).expect("a URL");
    (instance, database, url)
}

#[test]
fn pages_that_pg_amcheck_finds_broken_are_found_and_no_others() {
    run(async {
        for major in [15, 17, 18] {
            let (counts, wrong) = broken_pages(major, 0..8).await;
            assert!(wrong.is_empty(), "{wrong:#?}");
            assert!(counts.of("found by pg_amcheck") >= 4, "something must be there to be found on {major}: {counts:?}");
        }
    });
}

#[test]
fn what_only_the_rows_of_a_table_or_its_order_can_show_is_found_and_over_once_it_is_repaired() {
    run(async {
        for major in [15, 17, 18] {
            let sql = "CREATE EXTENSION amcheck;
                CREATE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1 > $2 THEN 1 WHEN $1 = $2 THEN 0 ELSE -1 END';
                CREATE OPERATOR CLASS turning FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare(int, int);
                CREATE TABLE odd AS SELECT n FROM generate_series(1, 3000) n; CREATE INDEX odd_n ON odd (n turning);
                CREATE TABLE whole (id int PRIMARY KEY, n int); INSERT INTO whole SELECT n, n FROM generate_series(1, 500) n; CREATE UNIQUE INDEX whole_n ON whole (n)";
            let (instance, name, url) = scene(major, "order", sql).await;
            let (watch, mut cursor) = (sessions(&instance, &url, &name), Cursor::default());
            let first = once(&watch, &mut cursor, 1).await;
            assert!(first.done && first.findings.is_empty() && first.coverage.checked_relations == first.coverage.relations, "{first:#?}");
            assert!(first.indexes > 100 && first.indexes_with_rows > 50 && first.windows > 30, "{first:#?}");
            let harm = "CREATE OR REPLACE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1 < $2 THEN 1 WHEN $1 = $2 THEN 0 ELSE -1 END';
                UPDATE pg_index SET indisready = false WHERE indexrelid = 'whole_n'::regclass";
            database::run_as_admin(&instance, &name, harm).await.expect("harm");
            // In another session, which knows that the index is not to be kept.
            database::run_as_admin(&instance, &name, "INSERT INTO whole VALUES (501, 501)").await.expect("write past the index");
            database::run_as_admin(&instance, &name, "UPDATE pg_index SET indisready = true WHERE indexrelid = 'whole_n'::regclass")
                .await
                .expect("as before");
            let second = once(&watch, &mut cursor, 2).await;
            assert_eq!(
                corrupt(&second.findings),
                ["public.odd_n".to_owned(), "public.whole_n".to_owned()].into(),
                "on {major}: {:#?}",
                second.findings
            );
            assert!(second.findings.iter().all(|finding| finding.kind == FindingKind::IndexCorrupt));
            assert_eq!(pg_amcheck(&instance, &name, &["--heapallindexed"]).await, corrupt(&second.findings), "on {major}");
            database::run_as_admin(&instance, &name, "REINDEX INDEX odd_n; REINDEX INDEX whole_n").await.expect("repair");
            let third = once(&watch, &mut cursor, 3).await;
            assert_eq!(third.findings, [], "on {major}");
            database::drop(&instance, &name).await.expect("drop");
        }
    });
}

#[test]
fn what_amcheck_needs_is_said_and_is_enough() {
    run(async {
        for major in [15, 17, 18] {
            let (instance, name, url) =
                scene(major, "grants", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
            let role = format!("watch_{}", unique());
            database::run_as_admin(
                &instance,
                &name,
                &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; REVOKE USAGE ON SCHEMA public FROM public"),
            )
            .await
            .expect("a role");
            let watch = sessions(&instance, &with_user(&url, &role, PASSWORD).expect("a URL"), &name);
            let mut cursor = Cursor::default();
            // First without the extension, then with it and without a right.
            for statements in ["", "DROP EXTENSION amcheck; CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools"] {
                if !statements.is_empty() {
                    database::run_as_admin(&instance, &name, statements).await.expect("take the rights away");
                }
                let progress = once(&watch, &mut cursor, 1).await;
                let hint = progress.findings[0].hint.clone().unwrap_or_default();
                assert_eq!(
                    (progress.findings.len(), progress.findings[0].kind, progress.findings[0].subject.as_str()),
                    (1, FindingKind::NotChecked, "amcheck"),
                    "on {major}"
                );
                assert_eq!((progress.windows, progress.indexes), (0, 0), "nothing is called sound");
                let statements = hint.split_once("this database: ").map_or(hint.as_str(), |(_, statements)| statements);
                let enter = if hint.contains("CREATE EXTENSION") { format!("; GRANT USAGE ON SCHEMA public TO {role}") } else { String::new() };
                database::run_as_admin(&instance, &name, &format!("{statements}{enter}")).await.unwrap_or_else(|failure| panic!("{failure}: {hint}"));
                let progress = once(&watch, &mut cursor, 1).await;
                assert!(progress.findings.is_empty() && progress.windows > 30 && progress.indexes > 100, "on {major}: {progress:#?}");
                cursor = Cursor::default();
            }
            database::drop(&instance, &name).await.expect("drop");
            database::run_as_admin(&instance, "postgres", &format!("DROP ROLE {role}")).await.expect("drop the role");
        }
    });
}

/// An index whose check takes as long as it is let.
const ENDLESS: &str = "CREATE EXTENSION amcheck;
    CREATE FUNCTION endless(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
      IF current_setting('application_name') LIKE '%amcheck' THEN LOOP PERFORM 1; END LOOP; END IF; RETURN n; END $$;
    CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n; CREATE UNIQUE INDEX t_endless ON t (endless(n)); CREATE INDEX t_n ON t (n)";

#[test]
fn whoever_waits_for_a_check_is_let_through() {
    run(async {
        let (instance, name, url) = scene(17, "waits", ENDLESS).await;
        let watch = sessions(&instance, &url, &name);
        let checking = {
            let watch = watch.clone();
            tokio::spawn(async move {
                let mut cursor = Cursor::default();
                let progress = once(&watch, &mut cursor, 1).await;
                (progress, cursor)
            })
        };
        let mut admin = database::connect(&instance, &url).await.expect("connect");
        let is_checking = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 't_endless'::regclass AND a.application_name LIKE '%amcheck')";
        while !sqlx::query_scalar::<_, bool>(is_checking).fetch_one(&mut admin).await.expect("ask") {}
        let begun = Instant::now();
        database::run(&mut admin, "ALTER TABLE t ADD COLUMN more int").await.expect("alter");
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(1), "{waited:?}");
        let (progress, mut cursor) = checking.await.expect("checked");
        assert!(progress.done && progress.findings.is_empty() && progress.gave_way == 1, "{progress:#?}");

        // Locked before it begins, it is passed over at once.
        database::run(&mut admin, "BEGIN; LOCK TABLE t").await.expect("lock");
        let begun = Instant::now();
        for day in 2..=3 {
            let progress = once(&watch, &mut cursor, day).await;
            assert!(progress.done && progress.gave_way == 3, "{progress:#?}");
            assert_eq!(progress.findings.len(), usize::from(day == 3), "{:#?}", progress.findings);
            assert!(progress.findings.iter().all(|finding| finding.kind == FindingKind::NotChecked && finding.subject == "public.t_endless"));
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
        database::run(&mut admin, "ROLLBACK").await.expect("unlock");
        admin.close().await.expect("close");
        database::drop(&instance, &name).await.expect("drop");
    });
}

#[test]
fn a_check_that_does_not_end_is_tried_in_three_nights_and_then_not_checked() {
    run(async {
        let (instance, name, url) = scene(18, "endless", ENDLESS).await;
        let (watch, mut cursor) = (sessions(&instance, &url, &name), Cursor::default());
        for day in 1..=4 {
            let night = Night { day, budget_pages: 1_000_000, whole: Duration::from_secs(1) };
            let mut findings = Vec::new();
            for _ in 0..3 {
                let until = Instant::now() + Duration::from_secs(4);
                findings = advance(&watch, &mut cursor, night, &mut Pace::new(100_000), until).await.expect("checked").findings;
            }
            let found: Vec<(FindingKind, &str)> = findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect();
            assert_eq!(found, if day >= 3 { vec![(FindingKind::NotChecked, "public.t_endless")] } else { Vec::new() }, "night {day}: {findings:#?}");
        }
        // Once it ends, it is over.
        database::run_as_admin(&instance, &name, "CREATE OR REPLACE FUNCTION endless(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
            .await
            .expect("repair");
        let progress = once(&watch, &mut cursor, 5).await;
        assert!(progress.done && progress.findings.is_empty() && progress.coverage.oldest_day == Some(5), "{progress:#?}");
        database::drop(&instance, &name).await.expect("drop");
    });
}

/// What people do to their database while it is checked.
const TURMOIL: [&str; 9] = [
    "REINDEX TABLE CONCURRENTLY one",
    "DROP TABLE IF EXISTS two; CREATE TABLE two AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 2000) n; CREATE UNIQUE INDEX two_n ON two (n); CREATE INDEX two_t ON two (t)",
    "VACUUM FULL one",
    "ALTER TABLE one ADD COLUMN more int",
    "ALTER TABLE one DROP COLUMN more",
    "UPDATE one SET t = t || 'x' WHERE id % 5 = 0",
    "TRUNCATE two",
    "DELETE FROM one WHERE id > 2500; INSERT INTO one (id, t) SELECT n, repeat(md5(n::text), 30) FROM generate_series(2501, 3000) n; VACUUM one",
    "SELECT CASE WHEN random() < 0.5 THEN pg_cancel_backend(pid) ELSE pg_terminate_backend(pid) END FROM pg_stat_activity WHERE application_name LIKE 'lifeboat integrity%' AND datname = current_database()",
];

#[test]
fn turmoil_is_never_called_corrupt() {
    run(async {
        for major in [15, 18] {
            let sql = "CREATE EXTENSION amcheck; CREATE TABLE one (id int PRIMARY KEY, t text); INSERT INTO one SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 3000) n;
                       CREATE INDEX one_t ON one (t)";
            let (instance, name, url) = scene(major, "turmoil", sql).await;
            let watch = sessions(&instance, &url, &name);
            let turmoil = {
                let (instance, url) = (instance.clone(), url.clone());
                tokio::spawn(async move {
                    let mut slowest = Duration::ZERO;
                    for sql in TURMOIL.iter().cycle().take(TURMOIL.len() * 6) {
                        let mut admin = database::connect(&instance, &url).await.expect("connect");
                        // Some are not allowed in a transaction, and then go one by one.
                        for sql in sql.split("; ") {
                            let begun = Instant::now();
                            database::run(&mut admin, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
                            if sql.starts_with("ALTER") {
                                slowest = slowest.max(begun.elapsed());
                            }
                        }
                        admin.close().await.expect("close");
                    }
                    slowest
                })
            };
            let (mut cursor, mut day, mut vanished, mut lost) = (Cursor::default(), 0, 0, 0);
            while !turmoil.is_finished() {
                day += 1;
                let night = Night { day, budget_pages: 1_000_000, whole: Duration::from_mins(1) };
                match advance(&watch, &mut cursor, night, &mut Pace::new(50_000), Instant::now() + Duration::from_secs(20)).await {
                    Ok(progress) => {
                        vanished += progress.vanished + progress.gave_way + progress.unfinished;
                        assert!(corrupt(&progress.findings).is_empty(), "on {major}: {:#?}", progress.findings);
                    }
                    // Ended by somebody before anything was checked.
                    Err(_) => lost += 1,
                }
            }
            let slowest = turmoil.await.expect("turmoil");
            assert!(slowest < Duration::from_secs(2), "DDL waited for {slowest:?}");
            assert!(day > 3 && vanished + lost > 0, "{day} nights, {vanished} in the way, {lost} lost on {major}");
            // When it is over, everything is checked, and is sound.
            let calm = nights(&watch, 1_000_000).await;
            assert_eq!(calm.findings, [], "on {major}");
            database::drop(&instance, &name).await.expect("drop");
        }
    });
}
