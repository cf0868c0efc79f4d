//! Scratch databases on an existing server: signed, so that the sweeper knows them, and removed. Nothing without a drill's name *and* signature is touched.

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::store::Store;
use shared_postgres::proof::quote;
use shared_postgres::{Access, Connection, ContextSql};

use crate::identity::{DrillId, SCRATCH_DATABASE};
use crate::observe;
use crate::plan::Plan;
use crate::step::Milestone;
use crate::work::{close, execute};

/// Says on the database itself whose it is, and until when.
///
/// # Errors
/// When it is not ours to comment on.
pub(super) async fn sign(access: &Access, database: &str, plan: &Plan) -> Result<(), Failure> {
    let mut connection = access.connect(&access.database, &plan.drill.application_name()).await?;
    let comment = json!({"lifeboat": "drill", "drill": plan.drill, "expiresAt": plan.expires_at}).to_string();
    let sql = format!("COMMENT ON DATABASE {} IS '{}'", quote(database), comment.replace('\'', "''"));
    let signed = execute(&mut connection, sql, "sign the scratch database").await;
    close(connection).await;
    signed
}

/// The drill that a database's name says.
fn drill_of(database: &str) -> Option<DrillId> {
    database.strip_prefix(SCRATCH_DATABASE)?.rsplit_once('_')?.0.parse().ok()
}

/// Removes the databases of a drill, whoever is connected to them.
///
/// # Errors
/// When one cannot be removed.
pub(super) async fn drop_of(access: &Access, drill: &DrillId) -> Result<(), Failure> {
    let mut connection = access.connect(&access.database, &drill.application_name()).await?;
    for database in ours(&mut connection).await? {
        if drill_of(&database).as_ref() == Some(drill) {
            remove(&mut connection, &database).await?;
        }
    }
    close(connection).await;
    Ok(())
}

/// Databases whose name is a drill's and that belong to our role.
async fn ours(connection: &mut Connection) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, $1) AND pg_catalog.pg_get_userbyid(datdba) = current_user ORDER BY datname",
    )
    .bind(SCRATCH_DATABASE)
    .fetch_all(connection)
    .await
    .context_sql("list scratch databases")?;
    Ok(names.into_iter().filter(|name| drill_of(name).is_some()).collect())
}

async fn remove(connection: &mut Connection, database: &str) -> Result<(), Failure> {
    execute(connection, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(database)), "drop a scratch database").await?;
    tracing::info!(database, "dropped the scratch database");
    Ok(())
}

/// Removes databases of drills that are over, or that expired.
///
/// # Errors
/// When the server or the bucket cannot be reached. What cannot be removed is a finding.
pub(super) async fn sweep(access: &Access, store: &Store, dry_run: bool, now: DateTime<Utc>) -> Result<Vec<Finding>, Failure> {
    let mut connection = access.connect(&access.database, "lifeboat drill sweep").await?;
    let mut swept = Vec::new();
    for database in ours(&mut connection).await? {
        let Some(drill) = drill_of(&database) else { continue };
        let is_over = observe::reached(store, &drill).await?.contains(&Milestone::Closed);
        let has_expired = match observe::plan(store, &drill).await {
            Ok(plan) => plan.expires_at <= now,
            // No plan, no drill: whatever made this left nothing else.
            Err(_) => drill.slot() + chrono::TimeDelta::hours(36) <= now,
        };
        if !is_over && !has_expired {
            continue;
        }
        let seen = format!("the database {database} of drill {drill} should have been gone by now");
        let removed = if dry_run { Ok(()) } else { remove(&mut connection, &database).await };
        swept.push(match removed {
            Ok(()) => Finding::new(FindingKind::ScratchSwept, &database, seen),
            Err(failure) => Finding::new(FindingKind::ScratchLeftBehind, &database, format!("{seen}, and could not be removed: {failure}"))
                .hint(format!("remove it by hand: DROP DATABASE {} WITH (FORCE)", quote(&database))),
        });
    }
    close(connection).await;
    Ok(swept)
}
