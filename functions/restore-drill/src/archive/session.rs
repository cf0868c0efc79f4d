//! The sessions that load rows and build indexes: the settings of pg_restore, those that text is read back by as it was printed, and speed.

use shared::failure::Failure;
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::AssertSqlSafe;

use super::contents::Contents;
use crate::statement::{literal, session_name};

/// How such a session is made.
#[derive(Clone)]
pub(super) struct Sessions {
    access: Access,
    database: String,
    drill: String,
    settings: String,
}

impl Sessions {
    /// From the archive's own settings. Source: `_doSetFixedOutputState` of `pg_backup_archiver.c`; for the lines that are not from there, the reason.
    pub(super) fn new(access: &Access, database: &str, drill: &str, contents: &Contents, server_major: u32, maintenance_memory_mb: u32) -> Self {
        let encoding = contents.setting("ENCODING").unwrap_or_else(|| "UTF8".to_owned());
        let strings = contents.setting("STDSTRINGS").unwrap_or_else(|| "on".to_owned());
        let memory = format!("{maintenance_memory_mb}MB");
        let mut settings = vec![
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("client_encoding", &encoding),
            ("standard_conforming_strings", &strings),
            ("check_function_bodies", "false"),
            ("xmloption", "content"),
            ("row_security", "off"),
            ("search_path", ""),
            ("default_tablespace", ""),
            // A message would be sent at once, and a backend that nobody listens to would notice, and stop.
            ("client_min_messages", "error"),
            // The text in the archive was printed so, whatever the database's own settings say.
            ("datestyle", "ISO, MDY"),
            ("intervalstyle", "postgres"),
            ("timezone", "UTC"),
            ("bytea_output", "hex"),
            ("escape_string_warning", "off"),
            ("transform_null_equals", "off"),
            ("default_transaction_read_only", "off"),
            ("default_transaction_isolation", "read committed"),
            // A copy that is lost in a crash of the server is restored again; until then nothing need wait for its disk.
            ("synchronous_commit", "off"),
            ("maintenance_work_mem", &memory),
        ];
        if server_major >= 14 {
            settings.extend([("client_connection_check_interval", "0"), ("idle_session_timeout", "0")]);
        }
        if server_major >= 17 {
            settings.push(("transaction_timeout", "0"));
        }
        let calls: Vec<String> = settings.iter().map(|(name, value)| format!("pg_catalog.set_config('{name}', {}, false)", literal(value))).collect();
        Self { access: access.clone(), database: database.to_owned(), drill: drill.to_owned(), settings: format!("SELECT {}", calls.join(", ")) }
    }

    /// A session that is ready.
    pub(super) async fn open(&self, key: &str) -> Result<Connection, Failure> {
        let mut connection = self.access.connect(&self.database, &session_name(&self.drill, key)).await?;
        sqlx::raw_sql(AssertSqlSafe(self.settings.clone())).execute(&mut connection).await.context_sql("make the settings of a session")?;
        Ok(connection)
    }
}
