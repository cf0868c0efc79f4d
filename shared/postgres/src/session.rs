//! The settings of a session whose text goes into a backup: pg_dump's own, so that our bytes equal its bytes, and those that pg_dump leaves to
//! the database's defaults, fixed.

use shared::failure::Failure;
use shared::manifest::Session;
use sqlx::Row;

use crate::Connection;
use crate::error::ContextSql;

/// What a session is told about waiting.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a statement may wait for a lock, in milliseconds.
    pub lock_wait_ms: u64,
    /// `server_version_num` / 10000.
    pub server_major: u32,
}

/// The major of the server: `server_version_num` / 10000.
///
/// # Errors
/// When the connection is gone.
pub async fn server_major(connection: &mut Connection) -> Result<u32, Failure> {
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(connection)
        .await
        .context_sql("ask for the server's version")?;
    Ok(u32::try_from(number / 10_000).unwrap_or(0))
}

/// Makes the settings. Source: `setup_connection` of `src/bin/pg_dump/pg_dump.c`, and for each line below that is not from there, its reason.
///
/// # Errors
/// When the connection is gone.
pub async fn prepare(connection: &mut Connection, limits: Limits) -> Result<(), Failure> {
    let encoding: String =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(&mut *connection).await.context_sql("ask for the encoding")?;
    // SQL_ASCII promises nothing about its bytes: asked for UTF8, the server would refuse what is not.
    let client_encoding = if encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" };
    let mut settings = vec![
        ("client_encoding", client_encoding.to_owned()),
        ("datestyle", "ISO, MDY".to_owned()),
        ("intervalstyle", "postgres".to_owned()),
        ("extra_float_digits", "3".to_owned()),
        ("synchronize_seqscans", "off".to_owned()),
        ("statement_timeout", "0".to_owned()),
        ("idle_in_transaction_session_timeout", "0".to_owned()),
        ("row_security", "off".to_owned()),
        ("search_path", String::new()),
        // pg_dump leaves these two to `ALTER DATABASE … SET`; the text would differ from one server to the next.
        ("timezone", "UTC".to_owned()),
        ("bytea_output", "hex".to_owned()),
        ("quote_all_identifiers", "off".to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
        ("lock_timeout", format!("{}ms", limits.lock_wait_ms)),
        // A slice keeps the order of its pages, and a range of ctid is read as a range.
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        ("jit", "off".to_owned()),
        // A function that was frozen or killed must not hold its snapshot until the operating system's two hours are over.
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ];
    if limits.server_major >= 14 {
        settings.push(("client_connection_check_interval", "5s".to_owned()));
        settings.push(("idle_session_timeout", "0".to_owned()));
    }
    if limits.server_major >= 17 {
        settings.push(("transaction_timeout", "0".to_owned()));
    }
    for (name, value) in settings {
        sqlx::query("SELECT pg_catalog.set_config($1, $2, false)")
            .bind(name)
            .bind(value)
            .execute(&mut *connection)
            .await
            .context_sql(format!("set {name}"))?;
    }
    Ok(())
}

/// The settings that the text depends on, as the server has them.
///
/// # Errors
/// When the connection is gone.
pub async fn describe(connection: &mut Connection) -> Result<Session, Failure> {
    let row = sqlx::query(
        "SELECT current_setting('client_encoding'), current_setting('timezone'), current_setting('datestyle'), current_setting('intervalstyle'),
                current_setting('extra_float_digits'), current_setting('bytea_output'), current_setting('lc_monetary')",
    )
    .fetch_one(connection)
    .await
    .context_sql("read the session's settings")?;
    let text = |index: usize| row.try_get::<String, _>(index).context_sql("read the session's settings");
    Ok(Session {
        client_encoding: text(0)?,
        time_zone: text(1)?,
        date_style: text(2)?,
        interval_style: text(3)?,
        extra_float_digits: text(4)?,
        bytea_output: text(5)?,
        lc_monetary: text(6)?,
    })
}
