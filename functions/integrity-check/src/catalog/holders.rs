//! What keeps old rows from being removed, and WAL from being given back: open and prepared transactions, slots, replicas. One query.
//!
//! No text of a query and no name of an application is read: they may hold values, and change every night.

use shared::failure::Failure;
use shared_postgres::soundness::{bytes, lossy};
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use super::facts::{Holders, Prepared, Slot, Transaction};

/// Rows of a sort that are read.
const READ_MAX: i64 = 200;

const HOLDERS: &str = "
WITH held AS (
  (SELECT DISTINCT ON (usename) 'transaction' AS what, usename::text AS name, extract(epoch FROM now() - xact_start)::float8 AS seconds,
          greatest(age(backend_xmin), age(backend_xid))::bigint AS age, pid::bigint AS number, state LIKE 'idle%' AS flag, false AS lost
     FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
      AND backend_type NOT LIKE 'autovacuum%' AND backend_type <> 'walsender'
    ORDER BY usename, xact_start, pid)
  UNION ALL
  (SELECT 'prepared', gid, extract(epoch FROM now() - prepared)::float8, age(transaction)::bigint, 0, false, false
     FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT $1)
  UNION ALL
  SELECT 'slot', slot_name::text, 0, greatest(age(xmin), age(catalog_xmin))::bigint,
         pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::bigint, active,
         coalesce(wal_status = 'lost', false) OR INVALID
    FROM pg_catalog.pg_replication_slots WHERE NOT temporary AND (database = current_database() OR database IS NULL)
  UNION ALL
  (SELECT 'replica', coalesce(nullif(application_name, ''), client_addr::text, '?'), 0, max(age(backend_xmin))::bigint, 0, false, false
     FROM pg_catalog.pg_stat_replication WHERE backend_xmin IS NOT NULL GROUP BY 2 LIMIT $1))
SELECT what, NAME, coalesce(seconds, 0), coalesce(age, 0), coalesce(number, 0), coalesce(flag, false), lost FROM held ORDER BY what, name";

pub(super) async fn look(connection: &mut Connection, major: u32, holders: &mut Holders) -> Result<(), Failure> {
    let sql = HOLDERS
        .replace("NAME", &bytes("coalesce(name, '?')"))
        // Since 16 a logical slot is also lost when the primary removed rows that it needs.
        .replace("INVALID", if major >= 16 { "coalesce(conflicting, false)" } else { "false" });
    for row in sqlx::query(AssertSqlSafe(sql)).bind(READ_MAX).fetch_all(connection).await.context_sql("look for what keeps old rows")? {
        let (name, seconds, age, number): (String, f64, i64, i64) = (lossy(row.get(1)), row.get(2), row.get(3), row.get(4));
        match row.get::<&str, _>(0) {
            "transaction" => {
                let pid = i32::try_from(number).unwrap_or(0);
                holders.transactions.push(Transaction { role: name, seconds, age, pid, is_idle: row.get(5) });
            }
            "prepared" => holders.prepared.push(Prepared { name, seconds, age }),
            "slot" => holders.slots.push(Slot { name, is_active: row.get(5), age, wal_bytes: number, is_lost: row.get(6) }),
            _ => holders.replicas.push((name, age)),
        }
    }
    Ok(())
}
