//! A few figures of the server and the database for the digest: connections, size, temporary files, what grew. One statement, from catalogs and counters
//! only: it opens no table, so no lock of anybody's holds it up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;

/// Figures of a night.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Connections of clients, to all databases.
    pub connections: u64,
    /// How many clients may connect.
    pub connections_max: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of temporary files since the counters began.
    pub temporary_bytes: u64,
    /// Deadlocks since the counters began.
    pub deadlocks: u64,
    /// Transactions that were rolled back, and all, since the counters began.
    pub rolled_back: u64,
    /// Transactions since the counters began.
    pub transactions: u64,
    /// Bytes of the largest tables, with indexes and values stored elsewhere, as of their last VACUUM or ANALYZE.
    pub largest: BTreeMap<String, u64>,
}

/// Tables whose size is kept.
const LARGEST_MAX: usize = 100;

/// What sort of backend another role's session is, is shown to members of `pg_read_all_stats` only; whose it is, to everybody.
const LOOK: &str = "
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE coalesce(backend_type = 'client backend', usesysid IS NOT NULL AND datid IS NOT NULL)),
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true)::bigint, 0),
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) ELSE 0 END,
       s.temp_bytes, s.deadlocks, s.xact_rollback, s.xact_commit + s.xact_rollback,
       ARRAY(SELECT textsend(name) FROM largest ORDER BY bytes DESC, name), ARRAY(SELECT bytes::bigint FROM largest ORDER BY bytes DESC, name)
  FROM pg_catalog.pg_database d JOIN pg_catalog.pg_stat_database s ON s.datid = d.oid WHERE d.datname = current_database()";

const LARGEST: &str = "
WITH largest AS MATERIALIZED (
  SELECT format('%s.%s', n.nspname, t.relname) AS name, (sum(r.relpages::bigint) * current_setting('block_size')::bigint)::bigint AS bytes
    FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    JOIN (SELECT c.oid AS owner, c.relpages FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm')
          UNION ALL SELECT i.indrelid, c.relpages FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
          UNION ALL SELECT o.oid, c.relpages FROM pg_catalog.pg_class o JOIN pg_catalog.pg_class c ON c.oid = o.reltoastrelid) r ON r.owner = t.oid
   WHERE t.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
   GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ";

/// Looks.
///
/// # Errors
/// When the server cannot be asked.
pub async fn look(connection: &mut Connection) -> Result<Figures, Failure> {
    let sql = format!("{LARGEST}{LARGEST_MAX}){LOOK}");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await.context_sql("ask for connections and sizes")?;
    let number = |place: usize| u64::try_from(row.get::<i64, _>(place)).unwrap_or(0);
    let names: Vec<Vec<u8>> = row.try_get(7).context_sql("read names of tables")?;
    let bytes: Vec<i64> = row.try_get(8).context_sql("read sizes of tables")?;
    let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    Ok(Figures {
        connections: number(0),
        connections_max: number(1),
        database_bytes: number(2),
        temporary_bytes: number(3),
        deadlocks: number(4),
        rolled_back: number(5),
        transactions: number(6),
        largest: names.zip(bytes.iter().map(|bytes| u64::try_from(*bytes).unwrap_or(0))).collect(),
    })
}

/// What grew since an earlier night, most first. A table that was not among the largest then has no known growth.
pub fn growth(before: &Figures, now: &Figures, tables_max: usize) -> Vec<(String, u64)> {
    let grown = now.largest.iter().filter_map(|(name, bytes)| {
        let more = bytes.saturating_sub(*before.largest.get(name)?);
        (more > 0).then(|| (name.clone(), more))
    });
    let mut grown: Vec<(String, u64)> = grown.collect();
    grown.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    grown.truncate(tables_max);
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_of_tables_that_both_nights_know() {
        let figures = |sizes: &[(&str, u64)]| Figures {
            largest: sizes.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect(),
            ..Figures::default()
        };
        let (before, now) = (figures(&[("a", 10), ("b", 10), ("c", 10), ("d", 5)]), figures(&[("a", 30), ("b", 5), ("c", 11), ("new", 99)]));
        assert_eq!(growth(&before, &now, 5), [("a".to_owned(), 20), ("c".to_owned(), 1)]);
        assert_eq!(growth(&before, &now, 1).len(), 1);
    }
}
