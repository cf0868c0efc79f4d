//! What was done already, written where it was done: in the restored server itself, in the same transaction as the work where that is possible.
//!
//! A drill goes on over invocations, and any of them may be killed. A step that is in the ledger has happened, whole; one that is not is done (again).
//! The ledger lives in a schema of its own, which nothing that is compared looks into, and dies with the copy.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::failure::{Failure, FailureKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;

/// The schema of the ledger.
pub const SCHEMA: &str = "lifeboat_drill";

/// Says that the schema is ours.
const COMMENT: &str = "Ledger of a restore drill";

/// Makes the ledger, unless it is there.
///
/// # Errors
/// When a schema of that name is somebody else's, or when it cannot be made.
pub async fn open(connection: &mut Connection) -> Result<(), Failure> {
    let found: Option<Option<String>> =
        sqlx::query_scalar("SELECT pg_catalog.obj_description(oid, 'pg_namespace') FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind(SCHEMA)
            .fetch_optional(&mut *connection)
            .await
            .context_sql("look for the ledger")?;
    match found {
        Some(Some(comment)) if comment == COMMENT => Ok(()),
        Some(_) => Err(Failure::new(FailureKind::BadSettings, format!("the database has a schema {SCHEMA} that is not a drill's ledger"))
            .hint("the name is needed for the drill: rename the schema in production")),
        None => {
            let sql = "BEGIN;
                 CREATE SCHEMA lifeboat_drill;
                 COMMENT ON SCHEMA lifeboat_drill IS 'Ledger of a restore drill';
                 CREATE TABLE lifeboat_drill.done (step text PRIMARY KEY, at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), detail jsonb NOT NULL);
                 COMMIT";
            sqlx::raw_sql(sql).execute(connection).await.context_sql("make the ledger")?;
            Ok(())
        }
    }
}

/// Everything that was done, by step.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn read(connection: &mut Connection) -> Result<BTreeMap<String, Value>, Failure> {
    let rows = sqlx::query("SELECT step, detail::text FROM lifeboat_drill.done").fetch_all(connection).await.context_sql("read the ledger")?;
    rows.iter()
        .map(|row| {
            let (step, detail): (String, String) = (row.get(0), row.get(1));
            let detail = serde_json::from_str(&detail).map_err(|error| Failure::new(FailureKind::Corrupt, format!("ledger, {step}: {error}")))?;
            Ok((step, detail))
        })
        .collect()
}

/// Writes a step down; a step that is there stays as it is. Inside a transaction, it is part of it.
///
/// # Errors
/// When it cannot be written.
pub async fn record(connection: &mut Connection, step: &str, detail: &Value) -> Result<(), Failure> {
    sqlx::query("INSERT INTO lifeboat_drill.done (step, detail) VALUES ($1, $2::jsonb) ON CONFLICT (step) DO NOTHING")
        .bind(step)
        .bind(detail.to_string())
        .execute(connection)
        .await
        .context_sql(format!("write {step} into the ledger"))?;
    Ok(())
}
