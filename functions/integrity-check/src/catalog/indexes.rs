//! Indexes that nobody needs, keys that run out or cannot hold what they refer to, triggers that are disabled, and how much space rows should need.

use shared::failure::Failure;
use shared_postgres::soundness::{bytes, lossy};
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use super::facts::{DuplicateIndex, Facts, KEPT_MAX, KeyColumn, NarrowKey, Server, Trigger, UnusedIndex, Widths};

/// An index smaller than this costs nobody anything: 1 MiB.
const INDEX_PAGES_MIN: i64 = 128;
/// A table smaller than this is not looked at for bloat: 128 MiB.
const BLOAT_PAGES_MIN: i64 = 16_384;
/// Largest tables that are.
const BLOAT_TABLES_MAX: i64 = 200;

/// Sizes are compared by their order of magnitude, so that the order stays the same from night to night.
const INDEXES: &str = "
WITH usable AS MATERIALIZED (
  SELECT i.*, c.relname, c.relam, c.relkind, c.relpages, c.relispartition, c.relnamespace, k.conindid IS NOT NULL AS of_constraint
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    LEFT JOIN (SELECT DISTINCT conindid FROM pg_catalog.pg_constraint WHERE contype IN ('p', 'u', 'x')) k ON k.conindid = i.indexrelid
   WHERE i.indisvalid AND i.indisready AND i.indislive AND c.relpersistence <> 't'
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = i.indrelid AND x.deptype = 'e')),
unused AS (
  SELECT CASE WHEN relispartition THEN pg_partition_root(indexrelid) ELSE indexrelid END AS oid, sum(greatest(relpages, 0)) AS pages
    FROM usable WHERE relkind = 'i' AND NOT (indisunique OR indisexclusion OR indisreplident OR of_constraint)
   GROUP BY 1 HAVING sum(pg_stat_get_numscans(indexrelid)) = 0 AND sum(relpages) >= $1),
alike AS (
  SELECT indexrelid AS oid, relpages AS pages, of_constraint, first_value(indexrelid) OVER same AS kept, row_number() OVER same AS place
    FROM usable WHERE NOT relispartition
  WINDOW same AS (PARTITION BY indrelid, relam, indkey::text, indnkeyatts, indclass::text, indcollation::text, indoption::text, indimmediate,
                               regexp_replace(indexprs::text, ':location -?\\d+', '', 'g'), regexp_replace(indpred::text, ':location -?\\d+', '', 'g')
                  ORDER BY indisprimary DESC, of_constraint DESC, indisreplident DESC, indisunique DESC, indexrelid)),
found AS (
  SELECT 'unused' AS what, oid, pages, NULL::oid AS kept, false AS of_constraint FROM unused
  UNION ALL SELECT 'duplicate', oid, pages, kept, of_constraint FROM alike WHERE place > 1),
named AS (
  SELECT f.what, n.nspname, c.relname, f.pages, f.of_constraint, tn.nspname AS table_schema, t.relname AS table_name, o.relname AS other, om.nspname AS other_schema,
         row_number() OVER (PARTITION BY f.what ORDER BY floor(log(greatest(f.pages, 1)::numeric)) DESC, n.nspname, c.relname) AS place,
         count(*) OVER (PARTITION BY f.what) AS total
    FROM found f JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_index i ON i.indexrelid = f.oid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    LEFT JOIN pg_catalog.pg_class o ON o.oid = f.kept LEFT JOIN pg_catalog.pg_namespace om ON om.oid = o.relnamespace)
SELECT what, NAME, TABLE, OTHER, pages::bigint, of_constraint, total FROM named WHERE place <= $2 ORDER BY what, place";

/// Gives the indexes that nobody needs.
pub(super) async fn look(connection: &mut Connection, facts: &mut Facts) -> Result<(), Failure> {
    let sql = INDEXES
        .replace("NAME", &bytes("format('%s.%s', nspname, relname)"))
        .replace("TABLE", &bytes("format('%s.%s', table_schema, table_name)"))
        .replace("OTHER", &bytes("format('%s.%s', other_schema, other)"));
    let kept = i64::try_from(KEPT_MAX).unwrap_or(i64::MAX);
    let asked = sqlx::query(AssertSqlSafe(sql)).bind(INDEX_PAGES_MIN).bind(kept);
    for row in asked.fetch_all(connection).await.context_sql("look for indexes that nobody needs")? {
        let (name, table, pages) = (lossy(row.get(1)), lossy(row.get(2)), u64::try_from(row.get::<i64, _>(4)).unwrap_or(0));
        let more = u64::try_from(row.get::<i64, _>(6) - kept).unwrap_or(0);
        if row.get::<&str, _>(0) == "unused" {
            facts.unused.items.push(UnusedIndex { name, table, pages });
            facts.unused.more = more;
        } else {
            facts.duplicates.items.push(DuplicateIndex { name, table, other: lossy(row.get(3)), pages, constraint: row.get(5) });
            facts.duplicates.more = more;
        }
    }
    Ok(())
}

/// Types are compared by what their domains are over; a chain of domains is rare, and then one that is not understood says nothing.
const KEYS: &str = "
WITH columns AS (
  SELECT a.attrelid, a.attnum, a.attname, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END AS type
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384),
found AS (
  SELECT 'key' AS what, i.indrelid AS oid, a.attname::text AS name, CASE a.type WHEN 21 THEN '2' ELSE '4' END AS detail, i.indnkeyatts = 1 AS flag,
         NULL::oid AS parent, NULL::text AS parent_column, NULL::text AS parent_type
    FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
    JOIN columns a ON a.attrelid = i.indrelid AND a.attnum = k.number AND a.type IN (21, 23)
   WHERE i.indisprimary AND k.place <= i.indnkeyatts
  UNION ALL
  SELECT 'narrow', f.conrelid, a.attname, format_type(a.type, NULL), false, f.confrelid, b.attname, format_type(b.type, NULL)
    FROM pg_catalog.pg_constraint f
    CROSS JOIN LATERAL unnest(f.conkey) WITH ORDINALITY AS k (number, place) CROSS JOIN LATERAL unnest(f.confkey) WITH ORDINALITY AS r (number, place)
    JOIN columns a ON a.attrelid = f.conrelid AND a.attnum = k.number JOIN columns b ON b.attrelid = f.confrelid AND b.attnum = r.number
   WHERE f.contype = 'f' AND f.conparentid = 0 AND r.place = k.place
     AND (a.type = 21 AND b.type IN (23, 20) OR a.type = 23 AND b.type = 20)
  UNION ALL
  SELECT 'trigger', g.tgrelid, g.tgname, NULL, false, NULL, NULL, NULL
    FROM pg_catalog.pg_trigger g WHERE g.tgenabled = 'D' AND NOT g.tgisinternal AND g.tgparentid = 0)
SELECT f.what, SCHEMA, TABLE, NAME, f.detail, f.flag, PARENT, f.parent_type
  FROM found f JOIN pg_catalog.pg_class c ON c.oid = f.oid AND c.relpersistence <> 't' AND NOT (c.relispartition AND f.what = 'key')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  LEFT JOIN pg_catalog.pg_class p ON p.oid = f.parent LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 ORDER BY n.nspname, c.relname, f.name";

/// Keys kept at most.
const KEYS_MAX: usize = 100_000;

/// Gives narrow keys, key columns that run out, and triggers that are disabled.
pub(super) async fn look_at_keys(connection: &mut Connection, facts: &mut Facts) -> Result<(), Failure> {
    let sql = KEYS
        .replace("SCHEMA", &bytes("n.nspname::text"))
        .replace("TABLE", &bytes("c.relname::text"))
        .replace("NAME", &bytes("f.name"))
        .replace("PARENT", &bytes("format('%s.%s.%s', pn.nspname, p.relname, f.parent_column)"));
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.context_sql("look at keys and triggers")? {
        let (table, name) = (format!("{}.{}", lossy(row.get(1)), lossy(row.get(2))), lossy(row.get(3)));
        match row.get::<&str, _>(0) {
            "key" if facts.ranges.keys.len() >= KEYS_MAX => {}
            "key" => {
                let bytes = if row.get::<&str, _>(4) == "2" { 2 } else { 4 };
                facts.ranges.keys.push(KeyColumn { table, column: name, bytes, is_alone: row.get(5) });
            }
            "narrow" => {
                let key = NarrowKey { column: format!("{table}.{name}"), type_name: row.get(4), parent: lossy(row.get(6)), parent_type: row.get(7) };
                facts.narrow.add(key, KEPT_MAX);
            }
            _ => facts.triggers.add(Trigger { table, name }, KEPT_MAX),
        }
    }
    Ok(())
}

/// A table with a column of which there are no statistics is not judged: its rows' width is not known.
const WIDTHS: &str = "
WITH large AS MATERIALIZED (
  SELECT c.oid, n.nspname, c.relname, c.relpages, c.reltuples, c.relnatts, c.reloptions
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relpages >= $1 AND c.reltuples >= 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   ORDER BY c.relpages DESC LIMIT $2)
SELECT NAME, l.relpages::bigint, l.reltuples::float8, s.width,
       coalesce((SELECT substr(o, 12)::float8 FROM unnest(l.reloptions) AS o WHERE o LIKE 'fillfactor=%'), 100), s.columns
  FROM large l
  CROSS JOIN LATERAL (SELECT count(*) AS columns, sum((1 - s.null_frac) * s.avg_width)::float8 AS width
                        FROM pg_catalog.pg_stats s WHERE s.schemaname = l.nspname AND s.tablename = l.relname AND NOT s.inherited) s
 WHERE s.columns > 0 AND s.columns = (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped)
 ORDER BY l.nspname, l.relname";

/// Gives the widths of rows of large tables.
pub(super) async fn look_at_widths(connection: &mut Connection, server: &Server, bloat: &mut Vec<Widths>) -> Result<(), Failure> {
    let sql = WIDTHS.replace("NAME", &bytes("format('%s.%s', l.nspname, l.relname)"));
    let least = BLOAT_PAGES_MIN * 8192 / i64::try_from(server.block_bytes.max(1)).unwrap_or(8192);
    let asked = sqlx::query(AssertSqlSafe(sql)).bind(least).bind(BLOAT_TABLES_MAX);
    for row in asked.fetch_all(connection).await.context_sql("look at the widths of rows")? {
        bloat.push(Widths {
            table: lossy(row.get(0)),
            pages: u64::try_from(row.get::<i64, _>(1)).unwrap_or(0),
            rows: row.get(2),
            bytes: row.get(3),
            fillfactor: row.get(4),
            columns: row.get(5),
        });
    }
    Ok(())
}
