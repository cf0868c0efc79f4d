//! The database that an archive is restored into: made like the one that was dumped, and known again by its ledger. One that is somebody else's is never
//! touched.

use serde_json::json;
use shared::failure::{Failure, FailureKind};
use shared::manifest::Manifest;
use shared_postgres::{Access, Connection, ContextSql, session};
use sqlx::AssertSqlSafe;

use crate::ledger;
use crate::statement::{identifier, literal, session_name};

/// The step in the ledger that names its drill.
const STEP: &str = "drill";

/// Makes a database with the encoding and collation of the one that was dumped, and its ledger. Called again by the same drill, it changes nothing.
///
/// # Errors
/// [`FailureKind::BadRequest`] when a database of that name is there and is not this drill's; when the server refuses, for want of a locale, say.
pub async fn create_database(access: &Access, name: &str, manifest: &Manifest, drill: &str) -> Result<(), Failure> {
    let mut connection = access.connect(&access.database, &session_name(drill, "create")).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .context_sql("look for the database")?;
    if !exists {
        let server = &manifest.server;
        let provider = if session::server_major(&mut connection).await? >= 15 { " LOCALE_PROVIDER libc" } else { "" };
        let sql = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {}{provider} LC_COLLATE {} LC_CTYPE {}",
            identifier(name),
            literal(&server.encoding),
            literal(&server.collate),
            literal(&server.ctype)
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.context_sql(format!("create the database {name}")).map_err(|failure| {
            if failure.hint.is_some() {
                failure
            } else {
                failure.hint("the role needs CREATEDB, and the server the locale of the database that was dumped")
            }
        })?;
    }
    let _ = sqlx::Connection::close(connection).await;
    let mut connection = access.connect(name, &session_name(drill, "create")).await?;
    // A kill between the making of the database and that of its ledger leaves one that is empty, and has the drill in its name.
    if exists && !has_ledger(&mut connection).await? && !(name.contains(drill) && is_empty_and_ours(&mut connection).await?) {
        return Err(Failure::new(FailureKind::BadRequest, format!("the database {name} exists, and is not of this drill"))
            .hint("a drill restores into a database that it makes itself: choose another name"));
    }
    ledger::open(&mut connection).await?;
    ledger::record(&mut connection, STEP, &json!({"drill": drill})).await?;
    check_drill(&mut connection, name, drill).await?;
    let _ = sqlx::Connection::close(connection).await;
    Ok(())
}

/// Whether the database is this drill's.
///
/// # Errors
/// When it is not.
pub(super) async fn check_drill(connection: &mut Connection, name: &str, drill: &str) -> Result<(), Failure> {
    if !has_ledger(connection).await? || ledger::read(connection).await?.get(STEP).is_none_or(|detail| detail["drill"] != drill) {
        return Err(Failure::new(FailureKind::BadRequest, format!("the database {name} is not of the drill {drill}"))
            .hint("a drill restores into a database that it makes itself: choose another name"));
    }
    Ok(())
}

async fn has_ledger(connection: &mut Connection) -> Result<bool, Failure> {
    sqlx::query_scalar("SELECT to_regclass('lifeboat_drill.done') IS NOT NULL").fetch_one(connection).await.context_sql("look for the ledger")
}

async fn is_empty_and_ours(connection: &mut Connection) -> Result<bool, Failure> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384)
            AND EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = current_database() AND pg_get_userbyid(datdba) = current_user)",
    )
    .fetch_one(connection)
    .await
    .context_sql("look into the database")
}
