//! Whose turn it is: one invocation at a time works at a part of a drill, and only that one writes down what was done.
//!
//! The lock belongs to the session that writes the ledger. Whoever lost the lock has lost that session, so nothing is ever written by two.

use serde_json::Value;
use shared::failure::Failure;
use shared_postgres::session::{self, Limits};
use shared_postgres::{Access, Connection, ContextSql};

use crate::ledger;

/// How long a statement of a drill waits for a lock.
pub(crate) const LOCK_WAIT_MS: u64 = 30_000;

/// The session that has the turn.
pub struct Turn {
    connection: Connection,
}

impl Turn {
    /// Takes the turn for a part of a drill; `None` when somebody else has it.
    ///
    /// # Errors
    /// When the ledger's database cannot be reached, or the ledger not be made.
    pub async fn take(access: &Access, ledger_database: &str, application_name: &str, part: &str) -> Result<Option<Self>, Failure> {
        let mut connection = access.connect(ledger_database, application_name).await?;
        let server_major = session::server_major(&mut connection).await?;
        session::prepare(&mut connection, Limits { lock_wait_ms: LOCK_WAIT_MS, server_major }).await?;
        let is_ours: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))")
            .bind(format!("lifeboat drill: {part}"))
            .fetch_one(&mut connection)
            .await
            .context_sql("take the turn")?;
        if !is_ours {
            return Ok(None);
        }
        // Parts have turns of their own; the ledger is made by one of them.
        sqlx::query("SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('lifeboat drill: ledger', 0))")
            .execute(&mut connection)
            .await
            .context_sql("wait for the ledger")?;
        ledger::open(&mut connection).await?;
        sqlx::query("SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('lifeboat drill: ledger', 0))")
            .execute(&mut connection)
            .await
            .context_sql("let the ledger go")?;
        Ok(Some(Self { connection }))
    }

    /// What was done so far: the details of the steps whose names are lists that begin with these words.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn done(&mut self, begins: &[&str]) -> Result<Vec<(Vec<Value>, Value)>, Failure> {
        let mut done = Vec::new();
        for (step, detail) in ledger::read(&mut self.connection).await? {
            // Other parts of a drill name their steps as they like.
            let Ok(name) = serde_json::from_str::<Vec<Value>>(&step) else { continue };
            if name.len() >= begins.len() && name.iter().zip(begins).all(|(name, word)| name == word) {
                done.push((name[begins.len()..].to_vec(), detail));
            }
        }
        Ok(done)
    }

    /// Writes a step down.
    ///
    /// # Errors
    /// When the turn is lost, which is when the session is.
    pub async fn record(&mut self, step: &Value, detail: &Value) -> Result<(), Failure> {
        ledger::record(&mut self.connection, &step.to_string(), detail).await
    }
}
