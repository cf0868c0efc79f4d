//! Names, values and SQL that try to be something else: nothing is changed, nothing is misread, and each wrong check is the only one that says so.

use integrity_check::checks::State;
use local::database::{identifier, literal};
use tests::world::run;

use super::{MAJORS, Stage, check, text};

const NAMES: [&str; 6] =
    ["\"; DROP TABLE canary; --", "a.b\"c", "back\\slash % {0} $1", "UPPER and blank", "tab\tnew\nline", "ünï-cödé-ünï-cödé-ünï-cödé-ünï-cödé!"];
const VALUES: [&str; 6] = ["it's", "\\", "'); DELETE FROM canary; --", "{\"a\",NULL}", "NULL", "$$ü$$"];

#[test]
fn names_and_values_are_names_and_values() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage.sql("CREATE TABLE canary (n int); INSERT INTO canary VALUES (1)").await;
            let mut file = String::new();
            for (number, name) in NAMES.iter().enumerate() {
                assert!(name.len() <= 63);
                let quoted = identifier(name);
                let values: Vec<String> = VALUES.iter().map(|value| format!("({}, now(), 7)", literal(value))).collect();
                let (time, number_column) = (identifier(&format!("t{number}'\"")), identifier("n \" OR true"));
                stage
                    .sql(&format!("SET standard_conforming_strings = on; CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} text, {time} timestamptz, {number_column} int); INSERT INTO {quoted}.{quoted} VALUES {}", values.join(", ")))
                    .await;
                let table = text(&format!("{quoted}.{quoted}"));
                let accepted = toml::Value::Array(VALUES.iter().map(|value| text(value)).collect());
                let of = |kind: &str, column: &str, lines: &str| {
                    check(&format!("{kind} {number}"), kind, &format!("table = {table}\ncolumn = {}\n{lines}", text(column)))
                };
                file += &of("values", name, &format!("accepted = {accepted}\nshow-values = true"));
                file += &of("fresh", &format!("t{number}'\""), "max-age = \"1h\"");
                file += &of("not-null", name, &format!("where = {}", text(&format!("{quoted} <> ')' -- (")).to_string().as_str()));
                file += &of("range", "n \" OR true", "min = 7\nmax = 7");
                file += &of("pattern", name, &format!("regex = {}", text("^[^z]*$")));
                file += &check(&format!("unique {number}"), "unique", &format!("table = {table}\ncolumns = [{}]", text(name)));
                file += &check(
                    &format!("references {number}"),
                    "references",
                    &format!("table = {table}\ncolumns = [{0}]\nparent = {table}\nparent-columns = [{0}]", text(name)),
                );
                file += &check(
                    &format!("sql {number}"),
                    "sql",
                    &format!("sql = {}", text(&format!("SELECT FROM {quoted}.{quoted} WHERE {quoted} = 'z'"))),
                );
            }
            let clean = stage.night(&file).await;
            assert_eq!(clean.in_state(State::Ok).len(), 8 * NAMES.len(), "on {major}: {clean:#?}");
            for name in NAMES {
                let quoted = identifier(name);
                stage.sql(&format!("INSERT INTO {quoted}.{quoted} SELECT 'z''', now() - interval '1 day', 8 FROM generate_series(1, 2)")).await;
            }
            let broken = stage.night(&file).await;
            assert_eq!(broken.in_state(State::Failed).len(), 4 * NAMES.len(), "on {major}: {broken:#?}");
            assert!(broken.seen("values 0").contains("such as z'"), "{}", broken.seen("values 0"));
            let canary: i64 = sqlx::query_scalar("SELECT count(*) FROM canary").fetch_one(&mut stage.admin().await).await.expect("the canary");
            assert_eq!(canary, 1);
            stage.end().await;
        }
    });
}

#[test]
fn nothing_that_a_check_says_can_write_even_as_a_superuser() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql(
                    "CREATE TABLE canary (n int); INSERT INTO canary VALUES (1); CREATE SEQUENCE counted; CREATE TABLE words (word text); INSERT INTO words VALUES ('hunter2'); CREATE PROCEDURE wipe_all() LANGUAGE sql AS 'DELETE FROM canary';
                     CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM canary; RETURN 1; END $$;
                     CREATE FUNCTION unlock() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET LOCAL transaction_read_only = off; DELETE FROM canary; RETURN 1; END $$;
                     CREATE FUNCTION tell() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hunter2'; END $$;
                     CREATE FUNCTION tell_code() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hunter2' USING ERRCODE = '42601'; END $$;
                     CREATE FUNCTION commits() RETURNS int LANGUAGE plpgsql AS $$ BEGIN COMMIT; DELETE FROM canary; COMMIT; RETURN 1; END $$",
                )
                .await;
            let attacks = [
                "DELETE FROM canary",
                "WITH gone AS (DELETE FROM canary RETURNING n) SELECT * FROM gone",
                "SELECT wipe()",
                "SELECT unlock()",
                "SELECT commits()",
                "SELECT tell()",
                "SELECT tell_code()",
                "SELECT n FROM (SELECT word::regclass::oid::int8 AS n FROM words) AS q WHERE n > 0",
                "SELECT set_config('role', word, true) FROM words",
                "SELECT n FROM (SELECT word::int AS n FROM words) AS q WHERE n > 0",
                "SELECT nextval('counted')",
                "SELECT set_config('transaction_read_only', 'off', false), wipe()",
                "SELECT * FROM canary FOR UPDATE",
                "COMMIT",
                "ROLLBACK",
                "CALL wipe_all()",
                "DO 'BEGIN DELETE FROM canary; END'",
                "COPY canary TO PROGRAM 'true'",
                "SET ROLE postgres",
                "SELECT 1 AS a INTO stolen",
                "EXPLAIN ANALYZE DELETE FROM canary",
                "SELECT * FROM gone_table",
                "SELECT gone_column FROM canary",
                "SELECT 1 +",
            ];
            let mut file = check("before", "sql", "sql = \"SELECT FROM canary WHERE n <> 1\"");
            for (number, sql) in attacks.iter().enumerate() {
                file += &check(&format!("attack {number}"), "sql", &format!("sql = {}", text(sql)));
                file += &check(&format!("number {number}"), "sql", &format!("sql = {}\noperator = \"=\"\nvalue = -1", text(sql)));
                if !sql.contains(" FROM ") && !sql.starts_with("SELECT 1") {
                    file += &check(
                        &format!("where {number}"),
                        "not-null",
                        &format!("table = \"public.canary\"\ncolumn = \"n\"\nwhere = {}", text(&format!("({sql}) IS NOT NULL"))),
                    );
                }
            }
            file += &check(
                "setting",
                "sql",
                "sql = \"SELECT FROM (SELECT set_config('search_path', 'nowhere', false), set_config('default_transaction_read_only', 'off', false), pg_advisory_lock(7)) AS q WHERE false\"",
            );
            // Before 16 a read-only transaction makes large objects; but it is rolled back.
            file += &check("large object", "sql", "sql = \"SELECT FROM (SELECT lo_from_bytea(0, 'x')) AS q\"");
            file += &check("locks", "sql", "sql = \"SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()\"");
            file += &check("after", "not-null", "table = \"public.canary\"\ncolumn = \"n\"\nwhere = \"n = 1\"");
            file += &check("path", "sql", "sql = \"SELECT FROM canary WHERE current_setting('default_transaction_read_only') <> 'on'\"");
            let mut night = stage.night_of(&file, &stage.sessions_of(&stage.admin_url())).await;
            night.results.remove("large object");
            assert_eq!(night.in_state(State::Ok), ["after", "before", "locks", "path", "setting"], "on {major}: {night:#?}");
            assert_eq!((night.in_state(State::Failed).len(), night.in_state(State::NotChecked).len()), (0, 0), "on {major}: {night:#?}");
            assert!(!format!("{night:?}").contains("hunter2"), "on {major}: {night:#?}");
            let left: (i64, bool, bool, i64) =
                sqlx::query_as("SELECT (SELECT count(*) FROM canary), (SELECT is_called FROM counted), to_regclass('stolen') IS NULL, (SELECT count(*) FROM pg_largeobject_metadata)")
                    .fetch_one(&mut stage.admin().await)
                    .await
                    .expect("look");
            assert_eq!(left, (1, false, true, 0), "on {major}");
            stage.end().await;
        }
    });
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_the_others_go_on() {
    run(async {
        let stage = Stage::new(16).await;
        stage.sql("CREATE TABLE orders (id int, total numeric); INSERT INTO orders VALUES (1, 5)").await;
        let file = "[[check]]\nname = \"typo\"\nkind = \"sql\"\nsql = '''\nSELECT id\n  FROM orders\n WHERE totl < 0\n'''\n".to_owned()
            + &check("no table", "not-null", "table = \"public.order\"\ncolumn = \"id\"")
            + &check("no column", "not-null", "table = \"public.orders\"\ncolumn = \"ident\"")
            + &check("no type", "range", "table = \"public.orders\"\ncolumn = \"id\"\nmin = 2020-01-01")
            + &check("regex", "pattern", "table = \"public.orders\"\ncolumn = \"total\"\nregex = \"(\"")
            + &check("bad where", "range", "table = \"public.orders\"\ncolumn = \"total\"\nmin = 0\nwhere = \"ttl > 1\"")
            + &check("aggregate", "range", "table = \"public.orders\"\ncolumn = \"total\"\nmin = 0\nwhere = \"count(*) > 1\"")
            + &check("right", "range", "table = \"public.orders\"\ncolumn = \"total\"\nmin = 0\nwhere = \"orders.id = 1\"");
        let night = stage.night(&file).await;
        assert_eq!((night.in_state(State::Ok), night.in_state(State::Invalid).len()), (vec!["right"], 7), "{night:#?}");
        for (name, expected) in [
            ("typo", "line 7: the server refuses it: column \"totl\" does not exist (SQLSTATE 42703)"),
            ("no table", "line 9: there is no table public.order; did you mean `public.orders`?"),
            ("no column", "line 14: the server refuses it: column \"ident\" does not exist (SQLSTATE 42703)"),
            ("regex", "line 25: the server refuses it: invalid regular expression: parentheses () not balanced (SQLSTATE 2201B)"),
            ("bad where", "line 37: the server refuses it: column \"ttl\" does not exist (SQLSTATE 42703)"),
        ] {
            assert_eq!(night.seen(name), expected);
        }
        stage.end().await;
    });
}
