//! A check waits for nobody, nobody waits for a check, and a file of hundreds is a few statements.

use std::time::{Duration, Instant};

use integrity_check::checks::{Progress, Room, State, TeamFile, not_reached, run as run_checks};
use integrity_check::pace::Pace;
use sqlx::Executor as _;
use tests::world::run;

use super::{MAJORS, Stage, check, text};

/// Long, and interruptible everywhere.
const LONG: &str = "SELECT FROM (SELECT generate_series(1, 10000000000) AS n FROM busy) AS q WHERE n < 0";

#[test]
fn a_migration_does_not_wait_for_a_check() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage.sql("CREATE TABLE busy (n int); INSERT INTO busy VALUES (1)").await;
            let file = check("long", "sql", &format!("sql = {}\ntimeout-seconds = 120", text(LONG)))
                + &check("next", "sql", "sql = \"SELECT FROM busy WHERE false\"");
            let mut admin = stage.admin().await;
            let alter = async {
                // The server waits, with an end, for the lock of the check itself: a look into the catalogs has one, too, for a moment.
                let begun = "SET statement_timeout = '60s'; DO $$ BEGIN WHILE NOT EXISTS (
                               SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
                                WHERE c.relname = 'busy' AND l.granted AND l.pid <> pg_backend_pid() AND a.query LIKE '%generate_series%'
                                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) LOOP
                               PERFORM pg_stat_clear_snapshot(); END LOOP; END $$";
                admin.execute(sqlx::raw_sql(begun)).await.expect("the check begins");
                let begun = Instant::now();
                admin.execute("ALTER TABLE busy ADD COLUMN added int").await.expect("alter");
                begun.elapsed()
            };
            let (night, waited) = tokio::join!(stage.night(&file), alter);
            say(&format!("on {major} a migration waited {waited:?}"));
            assert!(waited < Duration::from_millis(1500), "on {major} it waited {waited:?}");
            assert_eq!((night.in_state(State::NotChecked), night.in_state(State::Ok)), (vec!["long"], vec!["next"]), "{night:#?}");
            assert!(night.seen("long").contains("somebody waited"), "{night:#?}");
            stage.end().await;
        }
    });
}

#[test]
fn what_takes_too_long_is_locked_or_kills_its_session_is_not_checked_and_the_rest_is() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage.sql("CREATE TABLE busy (n int); INSERT INTO busy VALUES (1); CREATE TABLE locked (n int)").await;
            let file = [
                check("long", "sql", &format!("sql = {}\ntimeout-seconds = 1", text(LONG))),
                check(
                    "long where",
                    "not-null",
                    &format!("table = \"public.busy\"\ncolumn = \"n\"\ntimeout-seconds = 1\nwhere = {}", text(&format!("NOT EXISTS ({LONG})"))),
                ),
                check("beside it", "range", "table = \"public.busy\"\ncolumn = \"n\"\nmin = 0"),
                check("locked", "not-null", "table = \"public.locked\"\ncolumn = \"n\""),
                check("locked sql", "sql", "sql = \"SELECT FROM locked\""),
                check(
                    "suicide",
                    "sql",
                    "sql = \"SELECT FROM (SELECT pg_terminate_backend(pg_backend_pid()), generate_series(1, 10000000000) AS n) AS q WHERE n < 0\"",
                ),
                check(
                    "cancels",
                    "sql",
                    "sql = \"SELECT FROM (SELECT pg_cancel_backend(pg_backend_pid()), generate_series(1, 10000000000) AS n) AS q WHERE n < 0\"",
                ),
                check("last", "sql", "sql = \"SELECT FROM busy WHERE n IS NULL\""),
            ]
            .concat();
            let mut admin = stage.admin().await;
            admin.execute("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").await.expect("lock");
            let night = stage.night(&file).await;
            assert_eq!(night.in_state(State::Ok), ["beside it", "last"], "on {major}: {night:#?}");
            assert_eq!((night.in_state(State::NotChecked).len(), night.in_state(State::Failed).len()), (6, 0), "on {major}: {night:#?}");
            assert!(night.seen("long where").contains("not finished after 1 s") && night.seen("locked").contains("waited for a lock"), "{night:#?}");
            admin.execute("ROLLBACK").await.expect("unlock");
            stage.end().await;
        }
    });
}

#[test]
fn hundreds_of_checks_are_a_few_statements_and_a_wrong_one_is_found_among_them() {
    run(async {
        let stage = Stage::new(17).await;
        let (mut file, mut sql) = (String::new(), String::new());
        for table in 0..10 {
            let columns: Vec<String> = (0..20).map(|column| format!("c{column} int")).collect();
            sql += &format!(
                "CREATE TABLE t{table} ({}); INSERT INTO t{table} SELECT n, n, n, n, n FROM generate_series(1, 1000) n;",
                columns.join(", ")
            );
            for column in 0..20 {
                let lines = format!("table = \"public.t{table}\"\ncolumn = \"c{column}\"\n");
                file += &match column {
                    0..5 => check(&format!("{table} {column}"), "range", &format!("{lines}min = 1\nmax = {}", if column == 3 { 990 } else { 1000 })),
                    5..10 => check(&format!("{table} {column}"), "not-null", &format!("{lines}where = \"c0 < 0\"")),
                    _ => check(&format!("{table} {column}"), "values", &format!("{lines}accepted = [1, 2, 3]")),
                };
            }
        }
        stage.sql(&sql).await;
        let night = stage.night(&file).await;
        let failed: Vec<String> = (0..10).map(|table| format!("{table} 3")).collect();
        assert_eq!(
            (night.in_state(State::Failed), night.in_state(State::Ok).len()),
            (failed.iter().map(String::as_str).collect(), 190),
            "{night:#?}"
        );
        // The catalogs, and a pass over each table.
        assert_eq!(night.statements, 11);
        let with_wrong = file.clone() + &check("wrong", "range", "table = \"public.t4\"\ncolumn = \"cc\"\nmin = 1");
        let wrong = stage.night(&with_wrong).await;
        assert_eq!((wrong.in_state(State::Failed).len(), wrong.in_state(State::Ok).len(), wrong.in_state(State::Invalid)), (10, 190, vec!["wrong"]));
        assert_eq!(wrong.statements, 11 + 21);
        stage.end().await;
    });
}

#[test]
fn what_is_cut_goes_on_where_it_was_and_comes_to_the_same() {
    run(async {
        let stage = Stage::new(16).await;
        stage
            .sql(
                "CREATE TABLE wide (n int, at timestamptz, filler text); INSERT INTO wide SELECT n, now() - n * interval '1 minute', repeat('x', 1000) FROM generate_series(1, 700) n;
                 UPDATE wide SET n = -n WHERE n % 50 = 0",
            )
            .await;
        let file = TeamFile::read(
            &[
                check("range", "range", "table = \"public.wide\"\ncolumn = \"n\"\nmin = 0"),
                check("fresh", "fresh", "table = \"public.wide\"\ncolumn = \"at\"\nmax-age = \"1d\""),
                check("rows", "sql", "sql = \"SELECT FROM wide WHERE n = -50\""),
            ]
            .concat(),
        );
        let (tables, sessions) = (stage.tables().await, stage.sessions());
        assert!(tables[0].pages >= 100, "{tables:?}");
        let room = Room { sessions: &sessions, tables: &tables, s3: &stage.s3 };
        let (mut progress, mut calls, mut cuts, mut time) = (Progress::default(), 0, 0, Duration::from_millis(700));
        loop {
            calls += 1;
            let mut pace = Pace::new(40);
            let done = run_checks(&room, &file.checks, &mut progress, &mut pace, tokio::time::Instant::now() + time).await.expect("run");
            // What a night keeps between invocations is text.
            progress = serde_json::from_str(&serde_json::to_string(&progress).expect("serialise")).expect("read");
            cuts += usize::from(progress.pass.as_ref().is_some_and(|pass| pass.page > 0));
            if done {
                break;
            }
            assert!(calls < 60 && !not_reached(&file.checks, &progress).is_empty(), "{progress:#?}");
            time = time.mul_f32(1.1);
        }
        let seen: Vec<(&str, State, Option<u64>)> =
            progress.results.iter().map(|result| (result.name.as_str(), result.state, result.violations)).collect();
        assert_eq!(seen, [("range", State::Failed, Some(14)), ("fresh", State::Ok, None), ("rows", State::Failed, Some(1))], "{progress:#?}");
        assert!(cuts >= 2 && not_reached(&file.checks, &progress).is_empty(), "{calls} calls, {cuts} cuts");
        stage.end().await;
    });
}

#[test]
fn a_pass_reads_each_page_once_and_keeps_its_pace() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let wide = "CREATE TABLE wide (n int, filler text) WITH (autovacuum_enabled = off);
                        INSERT INTO wide SELECT n, repeat('x', 1000) FROM generate_series(1, 7000) n";
            stage.sql(wide).await;
            let pages = stage.tables().await[0].pages;
            let file = check("range", "range", "table = \"public.wide\"\ncolumn = \"n\"\nmin = 2")
                + &check("null", "not-null", "table = \"public.wide\"\ncolumn = \"n\"\nwhere = \"filler > ''\"");
            let (before, begun) = (stage.blocks_fetched("wide").await, Instant::now());
            let others = file.clone()
                + &check("others", "range", "table = \"public.wide\"\ncolumn = \"n\"\nmin = 2\nwhere = \"n IN (Select n FROM wide WHERE n < 9)\"");
            let night = stage.night_at(&file, 400).await;
            let took = begun.elapsed();
            let read = stage.blocks_fetched("wide").await - before;
            assert_eq!((night.of("range").violations, night.of("null").state), (Some(1), State::Ok), "{night:#?}");
            say(&format!("on {major} {read} blocks of {pages} pages in {took:?}"));
            assert!(read >= pages && read * 100 <= pages * 105, "on {major}: {read} blocks of {pages} pages");
            // The last window is read as soon as it may begin.
            let windows = pages.div_ceil(400);
            assert!(windows >= 3 && night.statements == 1 + windows && took.as_secs() >= windows - 1, "on {major}: {took:?}, {night:#?}");
            // A filter that asks other tables is asked once.
            let night = stage.night_at(&others, 400).await;
            assert_eq!((night.statements, night.of("others").violations), (2 + windows, Some(1)), "{night:#?}");
            stage.end().await;
        }
    });
}

/// A measured test says what it measured.
#[expect(clippy::print_stdout, reason = "shown when the test fails, or with --nocapture")]
fn say(text: &str) {
    println!("{text}");
}
