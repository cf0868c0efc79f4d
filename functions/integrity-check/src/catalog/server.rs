//! The server and the database as a whole, by one query.

use shared::failure::Failure;
use shared_postgres::soundness::{bytes, lossy};
use shared_postgres::{Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};

use super::facts::Server;

/// A statement may hold half of the locks that nobody holds, within bounds: another night, somebody else may need them.
const LOCKS_MIN: i64 = 100;
const LOCKS_MAX: i64 = 20_000;

const SERVER: &str = "
SELECT NAME, ROLE, pg_is_in_recovery(), EXISTS (SELECT FROM pg_catalog.pg_stat_replication), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       current_setting('block_size')::bigint,
       (current_setting('max_locks_per_transaction')::bigint
          * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint + current_setting('max_worker_processes')::bigint)
          - (SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT fastpath)) / 2,
       -- Without a date the counters began when the server did: after a crash they begin anew.
       extract(epoch FROM now() - coalesce(s.stats_reset, pg_postmaster_start_time()))::float8 / 86400,
       age(d.datfrozenxid)::bigint, mxid_age(d.datminmxid)::bigint,
       current_setting('autovacuum_freeze_max_age')::bigint, current_setting('autovacuum_multixact_freeze_max_age')::bigint,
       (SELECT OLDEST FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid AND c.reltoastrelid <> 0
         WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
         ORDER BY greatest(age(c.relfrozenxid), age(t.relfrozenxid)) DESC, c.oid LIMIT 1),
       ARRAY(SELECT format('%s', age(o.datfrozenxid)) FROM pg_catalog.pg_database o WHERE NOT o.datallowconn ORDER BY o.datname),
       ARRAY(SELECT CLOSED FROM pg_catalog.pg_database o WHERE NOT o.datallowconn ORDER BY o.datname)
  FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_stat_database s ON s.datid = d.oid WHERE d.datname = current_database()";

pub(super) async fn look(connection: &mut Connection) -> Result<Server, Failure> {
    let sql = SERVER
        .replace("NAME", &bytes("d.datname::text"))
        .replace("ROLE", &bytes("current_user::text"))
        .replace("OLDEST", &bytes("format('%s.%s', n.nspname, c.relname)"))
        .replace("CLOSED", &bytes("o.datname::text"));
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await.context_sql("ask for the server's state")?;
    let ages: Vec<String> = row.get(13);
    let names: Vec<Vec<u8>> = row.get(14);
    Ok(Server {
        database: lossy(row.get(0)),
        role: lossy(row.get(1)),
        is_replica: row.get(2),
        has_replicas: row.get(3),
        sees_sessions: row.get(4),
        block_bytes: u64::try_from(row.get::<i64, _>(5)).unwrap_or(8192),
        locks_max: row.get::<i64, _>(6).clamp(LOCKS_MIN, LOCKS_MAX),
        counted_days: row.get(7),
        xid_age: row.get(8),
        mxid_age: row.get(9),
        freeze_age_max: row.get(10),
        freeze_mxid_age_max: row.get(11),
        oldest_table: row.get::<Option<&[u8]>, _>(12).map(lossy),
        closed: names.iter().map(|name| lossy(name)).zip(ages.iter().map(|age| age.parse().unwrap_or(0))).collect(),
    })
}
