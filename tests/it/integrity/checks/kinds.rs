//! Every kind of check of the example file: clean it passes, broken it is found, put right it passes again.

use integrity_check::checks::{EXAMPLE, State, TeamFile, thresholds};
use integrity_check::model::{ColumnMetrics, TableMetrics};
use shared::finding::FindingKind;
use tests::world::run;

use super::{MAJORS, Stage, check};

const SHOP: &str = "
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, email text, deleted_at timestamptz);
CREATE TABLE shop.orders (id int PRIMARY KEY, status text, customer_id int, total_cents bigint, coupon text, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.payments (id int PRIMARY KEY, order_id int);
INSERT INTO shop.customers SELECT n, 'c' || n || '@shop.example', NULL FROM generate_series(1, 500) n;
INSERT INTO shop.orders SELECT n, (ARRAY['new', 'paid', 'shipped', 'cancelled'])[1 + n % 4], n % 500 + 1, n * 10, NULL FROM generate_series(1, 2000) n;
INSERT INTO shop.payments SELECT id, id FROM shop.orders WHERE status IN ('paid', 'shipped');";

/// The example without what needs S3.
fn example() -> String {
    let (before, rest) = EXAMPLE.split_once("# The objects that a column names").expect("the example");
    let (_, after) = rest.split_once("# Feature flags").expect("the example");
    format!("{before}# Feature flags{after}")
}

#[test]
fn every_kind_of_the_example_is_clean_and_broken_it_is_found() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage.sql(SHOP).await;
            let clean = stage.night(&example()).await;
            assert_eq!(clean.in_state(State::Ok).len(), 9, "on {major}: {clean:#?}");
            assert_eq!(clean.of("someone ordered since yesterday").value, Some(2000.0));
            for (harm, cure, names, violations) in [
                (
                    "DELETE FROM shop.payments WHERE id <= 5",
                    "INSERT INTO shop.payments SELECT id, id FROM shop.orders WHERE id <= 5 AND status IN ('paid', 'shipped')",
                    &["every paid order has a payment"][..],
                    Some(2),
                ),
                (
                    "UPDATE shop.orders SET created_at = now() - interval '25 h'",
                    "UPDATE shop.orders SET created_at = now()",
                    &["someone ordered since yesterday"],
                    None,
                ),
                (
                    "UPDATE shop.orders SET created_at = now() - interval '27 h'",
                    "UPDATE shop.orders SET created_at = now()",
                    &["orders still come in", "someone ordered since yesterday"],
                    None,
                ),
                (
                    "UPDATE shop.orders SET status = 'lost' WHERE id IN (4, 8, 12)",
                    "UPDATE shop.orders SET status = 'new' WHERE id IN (4, 8, 12)",
                    &["order status is known"],
                    Some(3),
                ),
                (
                    "UPDATE shop.orders SET status = NULL WHERE id = 4",
                    "UPDATE shop.orders SET status = 'new' WHERE id = 4",
                    &["order status is known"],
                    Some(1),
                ),
                (
                    "UPDATE shop.orders SET customer_id = NULL WHERE id IN (1, 2, 3)",
                    "UPDATE shop.orders SET customer_id = 1 WHERE id IN (1, 2, 3)",
                    &["paid orders have a customer"],
                    Some(1),
                ),
                (
                    "UPDATE shop.orders SET total_cents = -1 WHERE id = 9; UPDATE shop.orders SET total_cents = 10000001 WHERE id = 10",
                    "UPDATE shop.orders SET total_cents = id WHERE id IN (9, 10)",
                    &["no negative totals"],
                    Some(2),
                ),
                (
                    "UPDATE shop.customers SET email = 'nobody' WHERE id = 7",
                    "UPDATE shop.customers SET email = 'c7@shop.example' WHERE id = 7",
                    &["e-mail addresses look like some"],
                    Some(1),
                ),
                (
                    "UPDATE shop.customers SET email = 'c1@shop.example' WHERE id IN (7, 8)",
                    "UPDATE shop.customers SET email = 'c' || id || '@shop.example'",
                    &["one account for each address"],
                    Some(1),
                ),
                (
                    "INSERT INTO shop.payments VALUES (100001, 999999), (100002, 999999)",
                    "DELETE FROM shop.payments WHERE id > 100000",
                    &["payments belong to orders"],
                    Some(2),
                ),
            ] {
                stage.sql(harm).await;
                let broken = stage.night(&example()).await;
                assert_eq!(
                    (broken.in_state(State::Failed), broken.in_state(State::Ok).len()),
                    (names.to_vec(), 9 - names.len()),
                    "on {major}: {harm}: {broken:#?}"
                );
                assert_eq!(broken.of(names[0]).violations, violations, "on {major}: {harm}");
                for name in names {
                    let finding = broken.of(name).finding.as_ref().expect("a finding");
                    let severe = matches!(*name, "every paid order has a payment" | "orders still come in");
                    let expected = if severe {
                        FindingKind::CheckFailed
                    } else if name.starts_with("e-mail") {
                        FindingKind::CheckNoted
                    } else {
                        FindingKind::CheckWarned
                    };
                    assert_eq!((finding.kind, finding.subject.as_str()), (expected, *name));
                    assert!(!serde_json::to_string(finding).expect("serialise").contains("999999"), "a value is shown: {finding:?}");
                }
                stage.sql(cure).await;
            }
            let cured = stage.night(&example()).await;
            assert_eq!(cured.in_state(State::Ok).len(), 9, "on {major}: {cured:#?}");
            stage.end().await;
        }
    });
}

#[test]
fn what_a_finding_says_to_look_by_shows_the_rows() {
    run(async {
        let stage = Stage::new(17).await;
        stage.sql(SHOP).await;
        stage.sql("UPDATE shop.orders SET status = 'lost', total_cents = -1, customer_id = 9 WHERE id = 5; UPDATE shop.customers SET email = 'c1@shop.example', deleted_at = NULL WHERE id = 8; INSERT INTO shop.payments VALUES (0, 0)").await;
        let night = stage.night(&example()).await;
        let mut looked = 0;
        for result in night.results.values().filter(|result| result.state == State::Failed) {
            let hint = night.hint(&result.name);
            if let Some(sql) = hint.strip_prefix("look by: ") {
                let sql = sql.split("; ask ").next().expect("the statement");
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut stage.admin().await).await;
                assert_eq!(rows.map(|rows| rows.len()).map_err(|error| error.to_string()), Ok(1), "{hint}");
                looked += 1;
            }
        }
        assert_eq!(looked, 4, "{night:#?}");
        stage.end().await;
    });
}

#[test]
fn what_indexes_and_keys_promise_is_not_read_and_what_they_do_not_is() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql(
                    "CREATE TABLE p (a int, b int, c int, PRIMARY KEY (b, a)); CREATE TABLE t (x int, y int, z int, CONSTRAINT t_p FOREIGN KEY (x, y) REFERENCES p (b, a));
                     CREATE UNIQUE INDEX ON p (c) WHERE c > 0; INSERT INTO p SELECT n, n, 1 FROM generate_series(1, 3) n WHERE false; CREATE TABLE other (b int, a int)",
                )
                .await;
            let file = [
                check("more than the key", "unique", "table = \"public.p\"\ncolumns = [\"a\", \"c\", \"b\"]"),
                check("less than the key", "unique", "table = \"public.p\"\ncolumns = [\"a\"]"),
                check("a part of the rows", "unique", "table = \"public.p\"\ncolumns = [\"c\"]"),
                check(
                    "the key",
                    "references",
                    "table = \"public.t\"\ncolumns = [\"y\", \"x\"]\nparent = \"public.p\"\nparent-columns = [\"a\", \"b\"]",
                ),
                check(
                    "crossed",
                    "references",
                    "table = \"public.t\"\ncolumns = [\"x\", \"y\"]\nparent = \"public.p\"\nparent-columns = [\"a\", \"b\"]",
                ),
                check(
                    "another table",
                    "references",
                    "table = \"public.t\"\ncolumns = [\"x\", \"y\"]\nparent = \"public.other\"\nparent-columns = [\"b\", \"a\"]",
                ),
            ]
            .concat();
            // One look at the catalogs, and four that must be read.
            let night = stage.night(&file).await;
            assert_eq!((night.in_state(State::Ok).len(), night.statements), (6, 5), "on {major}: {night:#?}");
            // Keys that nobody vouches for promise nothing.
            stage.sql("ALTER TABLE t DISABLE TRIGGER ALL").await;
            assert_eq!(stage.night(&file).await.statements, 6, "on {major}");
            stage.sql("ALTER TABLE t ENABLE TRIGGER ALL; ALTER TABLE t DROP CONSTRAINT t_p; ALTER TABLE t ADD CONSTRAINT t_p FOREIGN KEY (x, y) REFERENCES p (b, a) NOT VALID").await;
            assert_eq!(stage.night(&file).await.statements, 6, "on {major}");
            if major >= 18 {
                stage
                    .sql("ALTER TABLE t DROP CONSTRAINT t_p; ALTER TABLE t ADD CONSTRAINT t_p FOREIGN KEY (x, y) REFERENCES p (b, a) NOT ENFORCED")
                    .await;
                assert_eq!(stage.night(&file).await.statements, 6, "on {major}");
            }
            stage.end().await;
        }
    });
}

#[test]
fn the_newest_row_is_found_by_an_index_and_a_time_ahead_hides_nothing() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql(
                    "CREATE TABLE e (at timestamptz, day date, naive timestamp, mood interval); CREATE INDEX ON e (at);
                     INSERT INTO e SELECT now() - n * interval '1 h', current_date - n, now() - n * interval '1 h' FROM generate_series(10, 2000) n;
                     INSERT INTO e VALUES ('infinity', 'infinity', 'infinity'), (now() + interval '9 days', current_date + 9, now() + interval '9 days'), (NULL, NULL, NULL), ('-infinity', '4000-01-01 BC', '-infinity');
                     CREATE TABLE empty (at timestamptz)",
                )
                .await;
            let fresh = |name: &str, table: &str, column: &str, age: &str| {
                check(name, "fresh", &format!("table = \"public.{table}\"\ncolumn = \"{column}\"\nmax-age = \"{age}\""))
            };
            let file = [fresh("at", "e", "at", "11h"), fresh("at late", "e", "at", "9h")].concat();
            let by_pass = stage.night(&file).await;
            assert_eq!((by_pass.in_state(State::Ok), by_pass.in_state(State::Failed)), (vec!["at"], vec!["at late"]), "on {major}: {by_pass:#?}");
            let by_index = stage.night(&fresh("at", "e", "at", "11h")).await;
            assert_eq!((by_index.in_state(State::Ok), by_index.statements), (vec!["at"], 2));
            let file = [
                fresh("day", "e", "day", "11d"),
                fresh("naive", "e", "naive", "11h"),
                fresh("mood", "e", "mood", "11h"),
                fresh("empty", "empty", "at", "11h"),
            ]
            .concat();
            let night = stage.night(&file).await;
            assert_eq!(
                (night.in_state(State::Ok), night.in_state(State::Failed), night.in_state(State::Invalid)),
                (vec!["day", "naive"], vec!["empty"], vec!["mood"]),
                "{night:#?}"
            );
            stage.end().await;
        }
    });
}

#[test]
fn queries_that_give_a_number_are_judged_by_it() {
    run(async {
        let stage = Stage::new(18).await;
        let scalar = |name: &str, sql: &str| check(name, "sql", &format!("sql = {}\noperator = \"=\"\nvalue = 1", super::text(sql)));
        let file = [
            scalar("one", "SELECT 1.0"),
            scalar("true", "SELECT true;"),
            scalar("a comment", "SELECT 1 -- )"),
            scalar("two", "SELECT 2"),
            scalar("null", "SELECT NULL::int"),
            scalar("no row", "SELECT 1 WHERE false"),
            scalar("nan", "SELECT 'NaN'::float8"),
            scalar("many rows", "SELECT generate_series(1, 2)"),
            scalar("two columns", "SELECT 1, 2"),
            scalar("a text", "SELECT 'hunter2'"),
            scalar("zero", "SELECT 1 / (SELECT 0)"),
        ]
        .concat();
        let night = stage.night(&file).await;
        assert_eq!(night.in_state(State::Ok), ["a comment", "one", "true"], "{night:#?}");
        assert_eq!(night.in_state(State::Failed), ["nan", "no row", "null", "two"], "{night:#?}");
        assert_eq!(night.in_state(State::Invalid), ["a text", "many rows", "two columns", "zero"], "{night:#?}");
        assert!(night.seen("zero").ends_with("line 61: the server refuses it (SQLSTATE 22012)"), "{}", night.seen("zero"));
        assert!(!night.seen("a text").contains("hunter2"));
        stage.end().await;
    });
}

#[test]
fn thresholds_ask_the_server_nothing() {
    let file = TeamFile::read(EXAMPLE);
    let column = |nulls| ColumnMetrics { column: "coupon".into(), nulls, ..ColumnMetrics::default() };
    let metrics =
        |nulls| [TableMetrics { table: "shop.orders".into(), rows: 100, seen: 100, columns: vec![column(nulls)], ..TableMetrics::default() }];
    let state = |nulls| thresholds(&file.checks, &metrics(nulls), &[]).iter().map(|result| result.state).collect::<Vec<_>>();
    assert_eq!((state(95), state(96)), (vec![State::Ok], vec![State::Failed]));
}
