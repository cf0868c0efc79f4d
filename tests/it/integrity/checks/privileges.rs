//! What the role may not see is said, with the statement that helps; executed, it helps.

use integrity_check::checks::State;
use local::database::identifier;
use tests::world::run;

use super::{MAJORS, Stage, check};

#[test]
fn what_the_role_may_not_read_is_not_checked_and_the_grant_helps() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let role = identifier(&stage.role);
            stage
                .sql(&format!(
                    "REVOKE pg_read_all_data FROM {role}; CREATE SCHEMA \"closed 1\"; CREATE TABLE \"closed 1\".t (n int UNIQUE); CREATE TABLE public.t (n int); CREATE TABLE public.\"p q\" (n int);
                     CREATE TABLE public.hidden (n int); ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.hidden TO {role}; INSERT INTO hidden VALUES (1)"
                ))
                .await;
            let file = [
                check("schema", "not-null", "table = \"closed 1.t\"\ncolumn = \"n\""),
                check("table", "range", "table = \"public.t\"\ncolumn = \"n\"\nmin = 0"),
                check("parent", "references", "table = \"public.hidden\"\ncolumns = [\"n\"]\nparent = \"public.p q\"\nparent-columns = [\"n\"]"),
                check("row", "not-null", "table = \"public.hidden\"\ncolumn = \"n\""),
                check("sql", "sql", "sql = \"SELECT FROM t WHERE false\""),
                check("index", "unique", "table = \"closed 1.t\"\ncolumns = [\"n\"]"),
            ]
            .concat();
            let before = stage.night(&file).await;
            assert_eq!((before.in_state(State::Ok), before.in_state(State::NotChecked).len()), (vec!["index"], 5), "on {major}: {before:#?}");
            assert_eq!(before.hint("table"), format!("GRANT SELECT ON \"public\".\"t\" TO {role};"));
            for name in ["schema", "table", "parent", "row"] {
                let hint = before.hint(name).split("; or: ").next().expect("a statement").to_owned();
                stage.sql(&hint).await;
            }
            let after = stage.night(&file).await;
            assert_eq!((after.in_state(State::Failed), after.in_state(State::Ok).len()), (vec!["parent"], 5), "on {major}: {after:#?}");
            stage.end().await;
        }
    });
}

#[test]
fn a_partitioned_table_is_read_by_its_leaves_or_by_its_root_with_the_same_numbers() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let role = identifier(&stage.role);
            stage
                .sql(
                    "CREATE TABLE events (n int, kind text) PARTITION BY RANGE (n); CREATE TABLE events_1 (kind text, n int); ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES FROM (0) TO (1000);
                     CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (1000) TO (2000) PARTITION BY LIST (kind); CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES IN ('a', 'x'); CREATE TABLE events_2b PARTITION OF events_2 DEFAULT;
                     INSERT INTO events SELECT n, CASE WHEN n % 100 = 7 THEN 'x' WHEN n % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(0, 1999) n;
                     CREATE TABLE parent (n int); CREATE TABLE heir () INHERITS (parent); INSERT INTO heir VALUES (-1), (1); CREATE VIEW seen AS SELECT * FROM events; CREATE MATERIALIZED VIEW stored AS SELECT * FROM events"
                )
                .await;
            let kinds = |table: &str| {
                check(
                    table,
                    "values",
                    &format!("table = \"public.{table}\"\ncolumn = \"kind\"\naccepted = [\"a\", \"b\"]\nwhere = \"{table}.n >= 0\""),
                )
            };
            let file = ["events", "events_2", "seen", "stored"].map(kinds).concat()
                + &check("parent", "range", "table = \"public.parent\"\ncolumn = \"n\"\nmin = 0");
            let by_leaves = stage.night(&file).await;
            let count = |night: &super::Night, name: &str| night.of(name).violations;
            let counts = |night: &super::Night| ["events", "seen", "stored", "parent"].map(|name| count(night, name));
            assert_eq!(counts(&by_leaves), [Some(20), Some(20), Some(20), Some(1)], "on {major}: {by_leaves:#?}");
            assert_eq!(count(&by_leaves, "events_2"), Some(10), "on {major}");
            stage.sql(&format!("REVOKE pg_read_all_data FROM {role}; GRANT SELECT ON events, events_2, seen, stored, parent TO {role}")).await;
            let by_root = stage.night(&file).await;
            assert_eq!(counts(&by_root), counts(&by_leaves), "on {major}: {by_root:#?}");
            stage.end().await;
        }
    });
}
