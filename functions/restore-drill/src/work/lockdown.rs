//! A restored server still has production's roles with their passwords, its subscriptions and its cron jobs. The network and the parameter group keep them in;
//! this is the second wall: nobody but the drill may log in, no subscription is enabled, and the settings that hold the workers are seen to be as they must be.

use serde_json::json;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::proof::quote;
use shared_postgres::{Access, ContextSql, error};

use crate::identity::DrillId;
use crate::ledger;
use crate::work::places::Places;
use crate::work::{close, execute};

/// Takes LOGIN from every role but the drill's own and RDS's, and disables subscriptions. What could not be locked is said.
///
/// # Errors
/// When the server has workers that it must not have: then nothing is done with it.
pub(super) async fn lock(access: &Access, places: &Places, drill: &DrillId) -> Result<Vec<Finding>, Failure> {
    let mut connection = access.connect(&access.database, &drill.application_name()).await?;
    let workers: String = sqlx::query_scalar("SELECT current_setting('max_logical_replication_workers')")
        .fetch_one(&mut connection)
        .await
        .context_sql("ask for the replication workers")?;
    let preloaded: String = sqlx::query_scalar("SELECT current_setting('shared_preload_libraries')")
        .fetch_one(&mut connection)
        .await
        .context_sql("ask for the preloaded libraries")?;
    if workers != "0" || preloaded.contains("pg_cron") {
        let seen = format!("the restored server has max_logical_replication_workers = {workers} and shared_preload_libraries = '{preloaded}'");
        return Err(Failure::new(FailureKind::BadSettings, seen)
            .hint("its parameter group must have max_logical_replication_workers = 0 and no pg_cron: it would otherwise act as production does"));
    }
    // `rdsadmin` and its like are RDS's own; their passwords are nobody's.
    let roles: Vec<String> = sqlx::query_scalar(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin AND rolname <> current_user AND rolname !~ '^(pg_|rds)' ORDER BY rolname",
    )
    .fetch_all(&mut connection)
    .await
    .context_sql("list the roles")?;
    let (mut locked, mut open, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for role in roles {
        match sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER ROLE {} NOLOGIN", quote(&role)))).execute(&mut connection).await {
            Ok(_) => locked.push(role),
            Err(failed) if error::sqlstate(&failed).as_deref() == Some("42501") => open.push(role),
            Err(failed) => return Err(error::failure(&failed).context(format!("take LOGIN from {role}"))),
        }
    }
    if !open.is_empty() {
        findings.push(
            Finding::new(FindingKind::RoleNotLocked, drill.as_str(), format!("roles that can still log in to the copy, with production's passwords: {}", open.join(", ")))
                .hint("only the network keeps them out. In production, GRANT each of them to the master user WITH ADMIN OPTION (PostgreSQL 16 and newer ask for that)"),
        );
    }
    close(connection).await;
    let mut connection = access.connect(&places.ledger, &drill.application_name()).await?;
    for role in &locked {
        ledger::record(&mut connection, &format!("locked {role}"), &json!({"role": role})).await?;
    }
    close(connection).await;
    for database in places.of_copy(access, None).await? {
        findings.extend(disable_subscriptions(access, &database.database, drill).await?);
    }
    Ok(findings)
}

async fn disable_subscriptions(access: &Access, database: &str, drill: &DrillId) -> Result<Option<Finding>, Failure> {
    let mut connection = access.connect(database, &drill.application_name()).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() AND s.subenabled",
    )
    .fetch_all(&mut connection)
    .await
    .context_sql("list the subscriptions")?;
    let mut open = Vec::new();
    for name in names {
        if execute(&mut connection, format!("ALTER SUBSCRIPTION {} DISABLE", quote(&name)), "disable a subscription").await.is_err() {
            open.push(name);
        }
    }
    close(connection).await;
    Ok((!open.is_empty()).then(|| {
        Finding::new(FindingKind::RoleNotLocked, database, format!("subscriptions that could not be disabled: {}", open.join(", ")))
            .hint("they have no worker on this server, and no way out; make the master user their owner in production to have them disabled here")
    }))
}

/// Gives LOGIN back to the roles that it was taken from: a real restore.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn unlock(access: &Access, places: &Places, drill: &DrillId) -> Result<(), Failure> {
    let mut connection = access.connect(&places.ledger, &drill.application_name()).await?;
    let done = ledger::read(&mut connection).await?;
    for role in done.iter().filter(|(step, _)| step.starts_with("locked ")).filter_map(|(_, detail)| detail["role"].as_str()) {
        execute(&mut connection, format!("ALTER ROLE {} LOGIN", quote(role)), "give LOGIN back").await?;
    }
    close(connection).await;
    Ok(())
}
