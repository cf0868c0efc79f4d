//! The session of a night: it can read, it cannot write, and it is always the one that gives way.

use std::time::Duration;

use shared::failure::{Failure, FailureKind};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::AssertSqlSafe;

/// Where a night's sessions go, and what they are told.
#[derive(Clone)]
pub struct Sessions {
    /// The server, or a replica of it.
    pub access: Access,
    /// The database.
    pub database: String,
    /// How long a statement may wait for a lock: so long does DDL of the team wait behind ours in the worst case, as ours holds locks no longer than a statement.
    pub lock_wait: Duration,
    /// How long a statement may take.
    pub statement: Duration,
}

impl Sessions {
    /// A new session, and the major of its server.
    ///
    /// # Errors
    /// When the server cannot be reached, or is older than 14.
    pub async fn connect(&self, what: &str) -> Result<(Connection, u32), Failure> {
        let mut connection = self.access.connect(&self.database, &format!("lifeboat integrity {what}")).await?;
        let settings = [
            ("default_transaction_read_only", "on".to_owned()),
            ("lock_timeout", format!("{}ms", self.lock_wait.as_millis())),
            ("statement_timeout", format!("{}ms", self.statement.as_millis())),
            ("idle_in_transaction_session_timeout", "60s".to_owned()),
            // A row that a policy hides is an error, never a smaller count.
            ("row_security", "off".to_owned()),
            ("search_path", "pg_catalog".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("datestyle", "ISO, MDY".to_owned()),
            ("extra_float_digits", "3".to_owned()),
            ("synchronize_seqscans", "off".to_owned()),
            // One process of the server for each of our sessions: never more load than was promised.
            ("max_parallel_workers_per_gather", "0".to_owned()),
            ("jit", "off".to_owned()),
            ("tcp_keepalives_idle", "30".to_owned()),
            ("tcp_keepalives_interval", "10".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ];
        // One statement: none of these values holds a quotation mark.
        // A server that promises nothing about its bytes would refuse those that are not UTF-8.
        let encoding = "pg_catalog.set_config('client_encoding', CASE pg_catalog.current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, false)";
        let list: Vec<String> = settings.iter().map(|(name, value)| format!("pg_catalog.set_config('{name}', '{value}', false)")).collect();
        // The last is there since 14.
        let sql = format!(
            "SELECT pg_catalog.current_setting('server_version_num')::int, {encoding}, {},
                    CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 140000 THEN pg_catalog.set_config('client_connection_check_interval', '5s', false) END",
            list.join(", ")
        );
        let number: i32 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.context_sql("make the settings of a session")?;
        let major = u32::try_from(number / 10_000).unwrap_or(0);
        if major < 14 {
            return Err(Failure::new(FailureKind::BadSettings, format!("the server is PostgreSQL {major}; at least 14 is needed"))
                .hint("only from 14 on can a range of pages be read without reading the whole table"));
        }
        Ok((connection, major))
    }
}
