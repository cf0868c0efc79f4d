//! Sequences, as far as they can run out, and how far they are.
//!
//! The server keeps a lock on each sequence that is read until the statement ends: so they are read a few thousand at a time, and one that counts through
//! eight bytes is not read at all: at a million values a second it lasts for 290,000 years.

use shared::failure::Failure;
use shared_postgres::soundness::{bytes, lossy};
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use super::facts::{Ranges, Sequence, Server};
use super::{ATTEMPTS_MAX, met_a_lock};

/// Statements at most: beyond, the rest is not known, and that is said.
const BATCHES_MAX: u64 = 40;

/// `s.bound`: the last value that the sequence can give and the column that it fills can hold.
const SEQUENCES: &str = "
WITH locked AS MATERIALIZED (
  SELECT DISTINCT relation FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
     AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
narrow AS MATERIALIZED (
  SELECT c.oid, NAME AS name, SCHEMA AS schema, CASE WHEN a.attnum > 0 THEN OWNED END AS owned, s.seqstart AS start, s.seqincrement AS increment, b.bound,
         b.bound <> CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END AS by_column,
         has_sequence_privilege(c.oid, 'SELECT') OR has_sequence_privilege(c.oid, 'USAGE') AS may, l.relation IS NOT NULL AS is_locked
    FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN locked l ON l.relation = c.oid
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    CROSS JOIN LATERAL (SELECT CASE WHEN a.atttypid = 'int2'::regtype THEN 32767 WHEN a.atttypid = 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END AS most) w
    CROSS JOIN LATERAL (SELECT CASE WHEN s.seqincrement > 0 THEN least(s.seqmax, w.most) ELSE greatest(s.seqmin, -w.most - 1) END AS bound) b
   WHERE c.oid > $1::bigint::oid AND NOT s.seqcycle AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
     AND abs(b.bound::numeric - s.seqstart) < 4611686018427387904
   ORDER BY c.oid LIMIT $2)
SELECT oid::bigint, name, schema, owned, start, increment, bound, by_column, may, is_locked, CASE WHEN may AND NOT is_locked THEN pg_sequence_last_value(oid) END
  FROM narrow ORDER BY oid";

/// Gives the number of statements.
pub(super) async fn look(connection: &mut Connection, server: &Server, ranges: &mut Ranges) -> Result<u64, Failure> {
    let sql = SEQUENCES
        .replace("NAME", &bytes("format('%s.%s', n.nspname, c.relname)"))
        .replace("SCHEMA", &bytes("n.nspname::text"))
        .replace("OWNED", &bytes("format('%s.%s.%s', tn.nspname, t.relname, a.attname)"));
    let (mut after, mut statements, mut attempts) = (0_i64, 0, 0);
    while statements < BATCHES_MAX {
        statements += 1;
        let asked = sqlx::query(AssertSqlSafe(sql.clone())).bind(after).bind(server.locks_max).fetch_all(&mut *connection).await;
        let rows = match asked.context_sql("read the sequences") {
            Err(failure) if met_a_lock(&failure) && attempts < ATTEMPTS_MAX => {
                attempts += 1;
                continue;
            }
            Err(failure) if met_a_lock(&failure) => {
                ranges.locked += 1;
                return Ok(statements);
            }
            rows => rows?,
        };
        for row in &rows {
            after = row.get(0);
            if !row.get::<bool, _>(8) {
                ranges.unreadable.insert(lossy(row.get(2)));
                ranges.unreadable_count += 1;
            } else if row.get(9) {
                ranges.locked += 1;
            } else {
                ranges.read += 1;
                // One that never gave a value has used up nothing.
                let Some(last) = row.get::<Option<i64>, _>(10) else { continue };
                let sequence = Sequence {
                    name: lossy(row.get(1)),
                    column: row.get::<Option<&[u8]>, _>(3).map(lossy),
                    start: row.get(4),
                    increment: row.get(5),
                    bound: row.get(6),
                    is_bound_by_column: row.get(7),
                    last,
                };
                // What is far from its end is not kept: there may be a million.
                if sequence.used() >= 0.25 {
                    ranges.sequences.push(sequence);
                }
            }
        }
        if i64::try_from(rows.len()).unwrap_or(0) < server.locks_max {
            break;
        }
    }
    Ok(statements)
}
