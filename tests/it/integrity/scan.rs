//! The scan of tables, against real servers: its numbers are those of plain SQL, whatever the values, the names and the cuts.

mod harmless;
mod partly;

use std::time::Duration;

use integrity_check::model::{Column, ColumnMetrics, Table, TableMetrics, TypeClass};
use integrity_check::pace::Pace;
use integrity_check::scan::{Cut, Limits, Progress, Scanned, Scanner, Totals, merge};
use integrity_check::session::Sessions;
use local::Instance;
use local::database::{self, with_database, with_user};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::finding::Finding;
use shared_postgres::Connection;
use sqlx::{AssertSqlSafe, Row};
use tests::drills::copy::access;
use tests::world::{run, unique, world};
use tokio::time::Instant;

const LONG: Duration = Duration::from_mins(2);

/// A database of a test's own.
struct Bed {
    instance: Instance,
    database: String,
}

impl Bed {
    async fn new(major: u32, sql: &str) -> Self {
        let (instance, database) = (world().await.server(major).await, format!("scan_{}", unique()));
        database::create(&instance, &database).await.expect("create");
        let bed = Self { instance, database };
        bed.sql(sql).await;
        bed
    }

    async fn sql(&self, sql: &str) {
        database::run_as_admin(&self.instance, &self.database, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    }

    async fn connection(&self) -> Connection {
        let url = with_database(&self.instance.admin_url, &self.database).expect("a URL");
        database::connect(&self.instance, &url).await.expect("connect")
    }

    fn sessions(&self, role: Option<&str>) -> Sessions {
        let url = with_database(&self.instance.admin_url, &self.database).expect("a URL");
        let url = role.map_or_else(|| url.clone(), |role| with_user(&url, role, "scan").expect("a URL"));
        let access = access(&self.instance, &url);
        Sessions { access, database: self.database.clone(), lock_wait: Duration::from_millis(300), statement: Duration::from_secs(30) }
    }

    /// A table as the catalogs describe it.
    async fn table(&self, name: &str) -> Table {
        let mut connection = self.connection().await;
        let sql = "SELECT c.oid::int8, a.attname::text, a.attnotnull, coalesce(d.typbasetype, t.oid)::int8, pg_relation_size(c.oid) / 8192, n.nspname::text, c.relname::text
                     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                     LEFT JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type d ON d.oid = t.oid AND d.typtype = 'd' WHERE c.oid = $1::regclass ORDER BY attnum";
        let rows = sqlx::query(sql).bind(name).fetch_all(&mut connection).await.expect("describe");
        let column = |row: &sqlx::postgres::PgRow| {
            Some(Column { name: row.get::<Option<String>, _>(1)?, class: class(row.get(3)), not_null: row.get(2), may_select: true })
        };
        Table {
            oid: u32::try_from(rows[0].get::<i64, _>(0)).expect("an oid"),
            schema: rows[0].get(5),
            name: rows[0].get(6),
            root: None,
            pages: u64::try_from(rows[0].get::<i64, _>(4)).expect("pages"),
            tuples: None,
            may_select: true,
            is_locked: false,
            columns: rows.iter().filter_map(column).collect(),
        }
    }

    /// Scans a table until it ends, in one go.
    async fn scan(&self, table: &Table, limits: &Limits) -> Scanned {
        let (mut connection, _) = self.sessions(None).connect("scan").await.expect("connect");
        let scanner = Scanner::new(&mut connection, &[table], limits.clone(), "monitor").await.expect("ask");
        scanner.scan(&mut connection, table, None, &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan")
    }

    async fn number(&self, sql: String) -> Option<f64> {
        let mut connection = self.connection().await;
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({sql})::float8")))
            .fetch_one(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
    }
}

fn class(oid: i64) -> TypeClass {
    match oid {
        20 | 21 | 23 => TypeClass::Integer,
        700 | 701 | 1700 => TypeClass::Number,
        1082 | 1114 | 1184 => TypeClass::Time,
        25 | 1042 | 1043 => TypeClass::Text,
        17 => TypeClass::Bytes,
        16 => TypeClass::Boolean,
        114 | 1007 | 600 => TypeClass::Opaque,
        _ => TypeClass::Hashable,
    }
}

fn done(scanned: Scanned) -> (TableMetrics, Totals, Vec<Finding>) {
    match scanned {
        Scanned::Done { metrics, totals, findings } => (metrics, *totals, findings),
        other => panic!("not done: {other:?}"),
    }
}

fn close(seen: Option<f64>, expected: Option<f64>, tolerance: f64) -> bool {
    match (seen, expected) {
        (Some(seen), Some(expected)) => (seen - expected).abs() <= tolerance * expected.abs().max(1.0),
        (None, None) => true,
        _ => false,
    }
}

const EVERY: &str = r#"
CREATE DOMAIN "int4" AS numeric; CREATE DOMAIN code AS varchar(20); CREATE DOMAIN deep AS code; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
DO $$ BEGIN CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  -- Not every server was built with ICU.
  EXCEPTION WHEN feature_not_supported THEN CREATE COLLATION loose FROM "C"; END $$;
CREATE TABLE every (small smallint NOT NULL, int integer, big bigint NOT NULL, num numeric, amount numeric(12, 2), flo real, dou double precision, d date, ts timestamp,
  tz timestamptz, t text, v varchar(30), c char(10), de public.deep, own public."int4", b bytea, yes boolean, u uuid, m mood, j json, a int[], addr inet, i interval,
  lax text COLLATE loose, none int, "; DROP TABLE every; --" int, "é'\""" text, "a234567890123456789012345678901234567890123456789012345678901xy" int,
  made int GENERATED ALWAYS AS (big % 7) STORED) WITH (fillfactor = 40);
INSERT INTO every SELECT n % 100, CASE WHEN n % 10 > 0 THEN n % 5000 END, n, CASE n WHEN 50 THEN 1e400 WHEN 51 THEN -1e400 WHEN 52 THEN 'NaN' WHEN 53 THEN 1e-300 ELSE n / 7.0 END,
  n % 1000 / 100.0, CASE n WHEN 5 THEN 'Infinity' WHEN 6 THEN '-Infinity' ELSE (n % 77)::float8 END, CASE n WHEN 7 THEN 'NaN' WHEN 8 THEN 1e308 ELSE n * 1.5 END,
  CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '0044-03-15 BC' WHEN 3 THEN '294277-01-01' ELSE date '2000-01-01' + n % 3000 END,
  CASE n WHEN 2 THEN '0044-03-15 BC' ELSE timestamp '2000-01-01' + n * interval '1 hour' END,
  CASE n WHEN 9 THEN '-infinity' WHEN 10 THEN '4713-11-24 BC' WHEN 11 THEN '294276-12-31' ELSE timestamptz '2020-01-01Z' + n % 900 * interval '1 day' END,
  CASE WHEN n % 11 = 0 THEN '' WHEN n % 12 > 0 THEN md5((n % 600)::text) END, repeat('ä', n % 30), CASE WHEN n % 3 > 0 THEN 'k' || n % 40 ELSE '' END, 'x' || n % 9, n % 13,
  decode(md5((n % 50)::text), 'hex'), CASE WHEN n % 4 > 0 THEN n % 3 = 0 END, md5((n % 2000)::text)::uuid, (enum_range(NULL::mood))[1 + n % 2], '{}', ARRAY[n],
  '10.0.0.0'::inet + n % 300, n % 60 * interval '1 minute', CASE WHEN n % 2 = 0 THEN 'Abc' ELSE 'aBC' END, NULL, n % 8, 'v' || n % 21, -n
  FROM generate_series(1, 20000) n;
INSERT INTO every (small, big, t, b) SELECT 1, n, string_agg(md5((n * k)::text), ''), convert_to(repeat('long', 3000), 'UTF8') FROM generate_series(20001, 20040) n, generate_series(1, 300) k GROUP BY n;
DELETE FROM every WHERE big % 9 = 0"#;

/// The numbers of plain SQL for a column, held against what a scan came to.
async fn equals_plain_sql(bed: &Bed, table: &str, column: &ColumnMetrics, class: TypeClass) {
    let (quoted, what) = (database::identifier(&column.column), format!("{:?} on {}", column, bed.instance.major));
    let of = |expression: String, filter: &str| format!("SELECT {expression} FROM {table}{filter}");
    let ask = async |expression: String, filter: &str| bed.number(of(expression, filter)).await;
    let nulls = ask("count(*)".to_owned(), &format!(" WHERE {quoted} IS NULL")).await;
    assert!(close(Some(f64::from(u32::try_from(column.nulls).expect("small"))), nulls, 0.0), "nulls {nulls:?}: {what}");
    let range = match class {
        TypeClass::Integer | TypeClass::Number => Some(quoted.clone()),
        TypeClass::Time => Some(format!("extract(epoch FROM {quoted})")),
        TypeClass::Text | TypeClass::Bytes => Some(format!("octet_length({quoted})")),
        _ => None,
    };
    for (aggregate, seen) in [("min", column.min), ("max", column.max)] {
        let Some(range) = &range else { continue };
        let expected = if class == TypeClass::Number {
            // Beyond a double, infinite or no number at all: nothing is said. What is largest is decided before that.
            let sql =
                format!("SELECT CASE WHEN abs(x::numeric) < 1e308 THEN x::float8 END FROM (SELECT {aggregate}({quoted}) AS x FROM {table}) AS s");
            bed.number(sql).await
        } else {
            ask(format!("{aggregate}({range})"), "").await
        };
        assert!(close(seen, expected.filter(|number| number.is_finite()), 1e-12), "{aggregate} {expected:?}: {what}");
    }
    let empty = if class == TypeClass::Text { ask("count(*)".to_owned(), &format!(" WHERE {quoted} = ''")).await } else { None };
    assert!(close(column.empty.map(|count| f64::from(u32::try_from(count).expect("small"))), empty, 0.0), "empty {empty:?}: {what}");
    let trues = if class == TypeClass::Boolean { ask("count(*)".to_owned(), &format!(" WHERE {quoted}")).await } else { None };
    assert!(close(column.trues.map(|count| f64::from(u32::try_from(count).expect("small"))), trues, 0.0), "trues {trues:?}: {what}");
    let distinct = match class {
        TypeClass::Opaque => None,
        TypeClass::Text => ask(format!("count(DISTINCT {quoted}::text COLLATE \"C\")"), "").await,
        _ => ask(format!("count(DISTINCT {quoted})"), "").await,
    };
    assert!(close(column.distinct, distinct, if distinct > Some(100.0) { 0.1 } else { 0.05 }), "distinct {distinct:?}: {what}");
}

#[test]
fn a_scan_says_what_plain_sql_says_of_every_class_and_of_hostile_names_and_values() {
    run(async {
        for major in [15, 16, 17, 18] {
            let bed = Bed::new(major, EVERY).await;
            if major >= 18 {
                // Computed whenever it is read, and then it fails.
                bed.sql("ALTER TABLE every ADD COLUMN lazy int GENERATED ALWAYS AS (1 / (small - small)) VIRTUAL; ALTER TABLE every ADD CONSTRAINT late NOT NULL int NOT VALID").await;
            }
            let table = bed.table("every").await;
            let (metrics, _, findings) = done(bed.scan(&table, &Limits::default()).await);
            assert!(findings.is_empty() && metrics.partial.is_none(), "{findings:#?}");
            let rows = bed.number("SELECT count(*) FROM every".to_owned()).await;
            assert!(
                close(Some(f64::from(u32::try_from(metrics.rows).expect("small"))), rows, 0.0) && metrics.seen == metrics.rows,
                "{rows:?} {metrics:?}"
            );
            assert_eq!(metrics.pages, table.pages);
            assert_eq!(metrics.columns.len(), 29, "the column that is computed when it is read is left alone");
            for column in &metrics.columns {
                let class = table.columns.iter().find(|known| known.name == column.column).expect("a column").class;
                // A domain over a domain is what that one is over.
                let class = if column.column == "de" { TypeClass::Text } else { class };
                equals_plain_sql(&bed, "every", column, class).await;
            }
            bed.end().await;
        }
    });
}

#[test]
fn a_scan_that_is_interrupted_anywhere_comes_to_what_one_in_one_go_comes_to() {
    run(async {
        let mut invocations = 0;
        for (seed, major) in [(1, 15), (2, 16), (3, 17), (4, 18)] {
            let bed = Bed::new(major, EVERY).await;
            let table = bed.table("every").await;
            let whole = done(bed.scan(&table, &Limits::default()).await);
            let mut rng = StdRng::seed_from_u64(seed);
            let limits = Limits { window: Duration::from_millis(rng.random_range(5..80)), ..Limits::default() };
            let (mut progress, mut time) = (None, 20.0);
            let ended = loop {
                invocations += 1;
                time = f64::min(time * 1.05, 5_000.0);
                let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
                let scanner = Scanner::new(&mut connection, &[&table], limits.clone(), "monitor").await.expect("ask");
                let until = Instant::now() + Duration::from_secs_f64(time * rng.random_range(0.2..2.0) / 1000.0);
                // Between invocations it is text in an object.
                let text = serde_json::to_string(&progress).expect("JSON");
                let resumed: Option<Progress> = serde_json::from_str(&text).expect("a progress");
                match scanner.scan(&mut connection, &table, resumed, &mut Pace::new(4_000), until).await.expect("scan") {
                    Scanned::Unfinished(next, Cut::Deadline) => progress = Some(*next),
                    other => break done(other),
                }
            };
            // As text, for one of the numbers is none, and that equals nothing.
            let written = |(metrics, totals, _): &(TableMetrics, Totals, Vec<Finding>)| serde_json::to_string(&(metrics, totals)).expect("JSON");
            assert_eq!(written(&ended), written(&whole), "seed {seed} on {major}");
            bed.end().await;
        }
        assert!(invocations > 12, "the scans were not interrupted: {invocations}");
    });
}

#[test]
fn tables_of_1600_columns_of_none_and_of_no_rows_are_read_too() {
    run(async {
        for major in [15, 18] {
            let columns =
                |of: &str| (1..=1600).map(|number| format!("c{number} {}", if number % 3 == 0 { "text" } else { of })).collect::<Vec<_>>().join(", ");
            let values = (1..=1600)
                .map(|number| if number % 3 == 0 { "left('word', n % 4)".to_owned() } else { format!("CASE WHEN n % 5 > 0 THEN n % {number} END") });
            let values = values.collect::<Vec<_>>().join(", ");
            let sql = format!(
                "CREATE TABLE wide ({}); INSERT INTO wide SELECT {values} FROM generate_series(1, 600) n; CREATE TABLE bare (); INSERT INTO bare SELECT FROM generate_series(1, 1000);
                 CREATE TABLE nothing (n int, t text); CREATE TABLE gone (n int NOT NULL, t text); INSERT INTO gone SELECT n, 'x' FROM generate_series(1, 5000) n; DELETE FROM gone",
                columns("int2")
            );
            let bed = Bed::new(major, &sql).await;
            let (wide, _, _) = done(bed.scan(&bed.table("wide").await, &Limits::default()).await);
            assert_eq!((wide.rows, wide.columns.len()), (600, 1600));
            for (place, column) in wide.columns.iter().enumerate() {
                let number = place + 1;
                if number % 3 == 0 {
                    assert!(
                        (column.nulls, column.empty, column.min, column.max) == (0, Some(150), Some(0.0), Some(3.0)) && column.distinct == Some(4.0),
                        "{column:?}"
                    );
                } else {
                    let mut expected: Vec<usize> = (1..=600).filter(|n| n % 5 > 0).map(|n| n % number).collect();
                    expected.sort_unstable();
                    expected.dedup();
                    let largest = *expected.last().expect("values");
                    let count = |number: usize| Some(f64::from(u32::try_from(number).expect("small")));
                    assert!(column.nulls == 120 && column.max == count(largest) && close(column.distinct, count(expected.len()), 0.08), "{column:?}");
                }
            }
            let (bare, _, _) = done(bed.scan(&bed.table("bare").await, &Limits::default()).await);
            assert!(bare.rows == 1000 && bare.columns.is_empty() && bare.pages == bed.table("bare").await.pages, "{bare:?}");
            // Statistics claim 100 GB.
            bed.sql("UPDATE pg_class SET reltuples = 1e9, relpages = 13107200 WHERE relname IN ('nothing', 'gone')").await;
            for (name, pages) in [("nothing", 0), ("gone", bed.table("gone").await.pages)] {
                let table = Table { tuples: Some(1_000_000_000), ..bed.table(name).await };
                for limits in [Limits::default(), Limits { table_pages_max: 1, sample_pages: 5, ..Limits::default() }] {
                    let (metrics, _, findings) = done(bed.scan(&table, &limits).await);
                    assert_eq!((metrics.rows, metrics.seen, findings.len()), (0, 0, 0), "{name}");
                    assert!(metrics.pages == pages || limits.table_pages_max == 1, "{metrics:?}");
                    assert!(
                        metrics.columns.iter().all(|column| column.nulls == 0 && column.min.is_none() && column.distinct == Some(0.0)),
                        "{metrics:?}"
                    );
                }
            }
            bed.end().await;
        }
    });
}

#[test]
fn leaves_are_summed_into_their_root() {
    run(async {
        let bed = Bed::new(
            17,
            "CREATE TABLE root (id int PRIMARY KEY, kind text, amount numeric) PARTITION BY RANGE (id); CREATE TABLE one PARTITION OF root FOR VALUES FROM (0) TO (5000);
             CREATE TABLE two PARTITION OF root FOR VALUES FROM (5000) TO (99999); CREATE TABLE three PARTITION OF root DEFAULT;
             INSERT INTO root SELECT n, 'k' || n % 300, n / 10.0 FROM generate_series(1, 20000) n",
        )
        .await;
        let mut totals = Vec::new();
        for leaf in ["one", "two", "three"] {
            totals.push(done(bed.scan(&bed.table(leaf).await, &Limits::default()).await).1);
        }
        // As they are kept between invocations.
        let kept: Vec<Totals> = serde_json::from_str(&serde_json::to_string(&totals).expect("JSON")).expect("totals");
        assert_eq!(kept, totals);
        let root = merge("public.root", &kept);
        let distinct = |place: usize| root.columns[place].distinct;
        assert_eq!((root.rows, root.seen, root.columns[0].max, distinct(0)), (20_000, 20_000, Some(20_000.0), Some(20_000.0)));
        assert!(close(distinct(1), Some(300.0), 0.05) && close(distinct(2), Some(20_000.0), 0.12), "{root:?}");
        bed.end().await;
    });
}
