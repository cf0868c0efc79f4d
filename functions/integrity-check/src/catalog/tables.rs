//! Which tables there are, and their columns: one query each. A table whose lock excludes reading is only described, not touched.

use futures_util::TryStreamExt;
use shared::failure::{Failure, FailureKind};
use shared_postgres::soundness::{bytes, lossy};
use shared_postgres::{Connection, ContextSql};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::facts::{KEPT_MAX, Server, Stale, TableFacts};
use super::{ATTEMPTS_MAX, judge, met_a_lock};
use crate::model::{Column, Table, TypeClass};

/// `pg_relation_size` waits for locks: of a locked table the size is the one that the catalog remembers.
const TABLES: &str = "
WITH locked AS MATERIALIZED (
  SELECT DISTINCT relation FROM pg_catalog.pg_locks
   WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
SELECT c.oid::bigint, SCHEMA, NAME,
       CASE WHEN c.relispartition THEN (SELECT ROOT FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
                                         WHERE r.oid = pg_partition_root(c.oid)) END,
       coalesce(CASE WHEN l.relation IS NULL THEN SIZE END, c.relpages), c.reltuples::float8,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), l.relation IS NOT NULL,
       c.relkind = 'm' OR x.objid IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
       extract(epoch FROM now() - greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)))::float8 / 86400,
       pg_stat_get_mod_since_analyze(c.oid)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN locked l ON l.relation = c.oid
  LEFT JOIN pg_catalog.pg_depend x ON x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.objsubid = 0 AND x.deptype = 'e'
 WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY c.oid";

/// One row for each table: packed, for there may be a million columns. What a class is, stands at [`class`]. A type is what its domain is over.
const COLUMNS: &str = "
WITH RECURSIVE domains (oid, base) AS (
  SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'
  UNION ALL SELECT d.oid, t.typbasetype FROM domains d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd'),
hashable (oid) AS (
  SELECT DISTINCT o.opcintype FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'hash'
    JOIN pg_catalog.pg_amproc p ON p.amprocfamily = o.opcfamily AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype AND p.amprocnum = 2
   WHERE o.opcdefault),
classes (oid, class) AS (
  SELECT t.oid, CASE WHEN t.oid IN (20, 21, 23) THEN 'i' WHEN t.oid IN (1700, 700, 701) THEN 'n' WHEN t.oid IN (1082, 1114, 1184) THEN 't'
                     WHEN t.oid IN (25, 1042, 1043) THEN 's' WHEN t.oid = 17 THEN 'y' WHEN t.oid = 16 THEN 'b'
                     WHEN t.oid IN (114, 142, 3802, 4072) OR t.typcategory = 'A' OR t.typtype NOT IN ('b', 'e') THEN 'o'
                     WHEN t.typtype = 'e' OR t.oid = 650 OR h.oid IS NOT NULL THEN 'h' ELSE 'o' END
    FROM pg_catalog.pg_type t LEFT JOIN hashable h ON h.oid = t.oid WHERE t.typtype <> 'd'),
types (oid, class) AS (SELECT * FROM classes UNION ALL SELECT d.oid, c.class FROM domains d JOIN classes c ON c.oid = d.base)
SELECT c.oid::bigint, array_agg(NAME ORDER BY a.attnum),
       string_agg(CASE WHEN VIRTUAL THEN 'v' ELSE coalesce(t.class, 'o') END
                  || CASE WHEN a.attnotnull AND NOT UNPROVED THEN 'n' ELSE '-' END
                  || CASE WHEN g.may THEN 'r' WHEN g.may_enter AND has_column_privilege(c.oid, a.attnum, 'SELECT') THEN 'r' ELSE '-' END, '' ORDER BY a.attnum)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN types t ON t.oid = a.atttypid
  CROSS JOIN LATERAL (SELECT has_schema_privilege(n.oid, 'USAGE') AS may_enter, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS may
                      OFFSET 0) g
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 GROUP BY c.oid ORDER BY c.oid";

/// Since 18 a NOT NULL may be declared without a look at the rows that are there.
const UNPROVED: &str =
    "EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated AND k.conkey[1] = a.attnum)";

pub(super) async fn look(
    connection: &mut Connection,
    major: u32,
    server: &Server,
    facts: &mut TableFacts,
    statements: &mut u64,
) -> Result<Vec<Table>, Failure> {
    let mut attempts = 1;
    let (mut tables, seen) = loop {
        let with_sizes = attempts <= ATTEMPTS_MAX;
        match list(connection, server, with_sizes).await {
            Err(failure) if met_a_lock(&failure) && with_sizes => (attempts, *statements) = (attempts + 1, *statements + 1),
            listed => break listed?,
        }
    };
    *facts = seen;
    fill(connection, major, &mut tables).await?;
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    Ok(tables)
}

async fn list(connection: &mut Connection, server: &Server, with_sizes: bool) -> Result<(Vec<Table>, TableFacts), Failure> {
    let size = format!("pg_relation_size(c.oid) / {}", server.block_bytes.max(1));
    let sql = TABLES
        .replace("SCHEMA", &bytes("n.nspname::text"))
        .replace("NAME", &bytes("c.relname::text"))
        .replace("ROOT", &bytes("format('%s.%s', rn.nspname, r.relname)"))
        .replace("SIZE", if with_sizes { &size } else { "c.relpages" });
    let (mut tables, mut facts): (Vec<Table>, TableFacts) = (Vec::new(), TableFacts::default());
    let mut without_key = std::collections::BTreeSet::new();
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await.context_sql("list the tables")? {
        let table = table(&row);
        (facts.count, facts.pages) = (facts.count + 1, facts.pages + table.pages);
        if !table.may_select {
            facts.unreadable.insert(table.schema.clone());
            facts.unreadable_count += 1;
        }
        let subject = table.root.clone().unwrap_or_else(|| table.subject());
        if !row.get::<bool, _>(8) && table.pages > 0 {
            without_key.insert(subject);
        }
        let changed = u64::try_from(row.get::<i64, _>(10)).unwrap_or(0);
        let stale = Stale { table: table.subject(), days: row.get(9), changed, rows: table.tuples };
        // A replica counts nothing of this.
        if !server.is_replica && judge::is_stale(&stale, table.pages) {
            facts.stale.add(stale, KEPT_MAX);
        }
        tables.push(table);
    }
    for table in without_key {
        facts.without_key.add(table, KEPT_MAX);
    }
    Ok((tables, facts))
}

fn table(row: &PgRow) -> Table {
    let number = |place: usize| u64::try_from(row.get::<i64, _>(place)).unwrap_or(0);
    let tuples: f64 = row.get(5);
    Table {
        oid: u32::try_from(row.get::<i64, _>(0)).unwrap_or(0),
        schema: lossy(row.get(1)),
        name: lossy(row.get(2)),
        root: row.get::<Option<&[u8]>, _>(3).map(lossy),
        pages: number(4),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count that the server keeps as a float")]
        tuples: (tuples >= 0.0).then_some(tuples as u64),
        may_select: row.get(6),
        is_locked: row.get(7),
        columns: Vec::new(),
    }
}

/// Gives the tables, which are in the order of their oids, their columns.
async fn fill(connection: &mut Connection, major: u32, tables: &mut [Table]) -> Result<(), Failure> {
    let sql = COLUMNS
        .replace("NAME", &bytes("a.attname::text"))
        .replace("VIRTUAL", if major >= 18 { "a.attgenerated = 'v'" } else { "false" })
        .replace("UNPROVED", if major >= 18 { UNPROVED } else { "false" });
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await.context_sql("list the columns")? {
        let oid = u32::try_from(row.get::<i64, _>(0)).unwrap_or(0);
        // A table that was made in between is for another night.
        let Ok(place) = tables.binary_search_by_key(&oid, |table| table.oid) else { continue };
        let (names, marks): (Vec<Vec<u8>>, &str) = (row.get(1), row.get(2));
        if names.len() * 3 != marks.len() {
            return Err(Failure::new(FailureKind::Other, "the server's list of columns has another length than its names"));
        }
        let columns = names.iter().zip(marks.as_bytes().chunks_exact(3));
        tables[place].columns = columns.map(|(name, marks)| column(lossy(name), marks)).collect();
    }
    Ok(())
}

fn column(name: String, marks: &[u8]) -> Column {
    // A virtual column is an expression of the user's, which may fail, and is not stored: so that it is never evaluated, nothing is asked of it.
    let is_virtual = marks[0] == b'v';
    Column { name, class: class(marks[0]), not_null: is_virtual || marks[1] == b'n', may_select: marks[2] == b'r' }
}

fn class(mark: u8) -> TypeClass {
    match mark {
        b'i' => TypeClass::Integer,
        b'n' => TypeClass::Number,
        b't' => TypeClass::Time,
        b's' => TypeClass::Text,
        b'y' => TypeClass::Bytes,
        b'b' => TypeClass::Boolean,
        b'h' => TypeClass::Hashable,
        _ => TypeClass::Opaque,
    }
}
