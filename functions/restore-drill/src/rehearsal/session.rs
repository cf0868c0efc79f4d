//! The sessions of a rehearsal: made to outlive the function that began them, found again by their name.
//!
//! A function ends after minutes, a migration when it is done. So a statement is sent, and if time is over the socket is closed: the backend goes on,
//! because nothing tells it to look whether somebody is listening, and nothing that it would say is sent before it has committed.

use std::time::Duration;

use shared::failure::{Failure, FailureKind};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::{AssertSqlSafe, Row};
use tokio::time::Instant;

/// PostgreSQL cuts `application_name` here.
const NAME_BYTES_MAX: usize = 63;

/// Between two looks at a backend.
const POLL: Duration = Duration::from_millis(100);

/// For a session to begin what it was told.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// `lifeboat drill DRILL migration 3`: the same in every invocation.
pub(super) fn name(drill: &str, what: &str) -> String {
    let tail = format!(" {what}");
    let head = format!("lifeboat drill {drill}");
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    let end = (0..=room.min(head.len())).rev().find(|end| head.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{tail}", &head[..end])
}

/// A session that goes on without us. An idle one whose function was frozen or killed is gone after a minute, and its lock with it.
pub(super) async fn connect(access: &Access, database: &str, name: &str) -> Result<Connection, Failure> {
    let mut connection = access.connect(database, name).await?;
    let sql = "SELECT pg_catalog.set_config(name, wanted, false)
                 FROM (VALUES ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),
                              ('transaction_timeout', '0'), ('client_connection_check_interval', '0'), ('client_min_messages', 'error'),
                              ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3')) AS wished (wished, wanted)
                 JOIN pg_catalog.pg_settings ON name = wished";
    sqlx::query(sql).execute(&mut connection).await.context_sql("make the session's settings")?;
    Ok(connection)
}

/// Runs text by the simple protocol.
pub(super) async fn run(connection: &mut Connection, sql: String) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|result| result.rows_affected())
}

/// Waits until no backend of this name is left; ends those that do nothing, whose function died before it gave them work. `false` when time is over.
pub(super) async fn until_gone(control: &mut Connection, name: &str, until: Instant) -> Result<bool, Failure> {
    loop {
        let sql = "SELECT pid, coalesce(state, '') FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND datname = pg_catalog.current_database()";
        let found = sqlx::query(sql).bind(name).fetch_all(&mut *control).await.context_sql("look for the migration's session")?;
        if found.is_empty() {
            return Ok(true);
        }
        for row in &found {
            let (pid, state): (i32, String) = (row.get(0), row.get(1));
            if state != "active" {
                sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)")
                    .bind(pid)
                    .execute(&mut *control)
                    .await
                    .context_sql("end an idle session")?;
            }
        }
        if Instant::now() + POLL >= until {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits, briefly, until the session of this name is at work.
pub(super) async fn until_active(control: &mut Connection, name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + BEGIN_MAX;
    while Instant::now() < deadline {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                                   WHERE application_name = $1 AND datname = pg_catalog.current_database() AND state = 'active' AND query LIKE 'DO %')";
        if sqlx::query_scalar(sql).bind(name).fetch_one(&mut *control).await.context_sql("look for the second session")? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(Failure::new(FailureKind::Unreachable, "the session that watches the migration did not begin its work"))
}

/// A string between dollars, with a tag that it does not contain.
pub(super) fn dollar_quoted(text: &str) -> String {
    // With the tag's first dollar behind it: the text's end must not become a tag either.
    let end = format!("{text}$");
    // So short a text cannot hold one tag more than it has bytes.
    let tag = (0..=text.len()).map(|number| format!("$lifeboat{number}$")).find(|tag| !end.contains(tag.as_str())).unwrap_or_default();
    format!("{tag}{text}{tag}")
}

/// A block that runs in the server, with its arguments as JSON in `job`.
pub(super) fn block(body: &str, job: &serde_json::Value) -> String {
    let body = body.replacen("DECLARE", &format!("DECLARE\n    job CONSTANT jsonb := {}::jsonb;", dollar_quoted(&job.to_string())), 1);
    format!("DO {}", dollar_quoted(&body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_end_and_fits() {
        assert_eq!(name("d1", "migration 3"), "lifeboat drill d1 migration 3");
        let long = name(&"ü".repeat(60), "migration 12345");
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with(" migration 12345"), "{long}");
    }

    #[test]
    fn no_text_ends_its_own_quotes() {
        for text in ["", "$lifeboat0$", "$lifeboat0$ $lifeboat1$", "$$", "'", "$lifeboat0"] {
            let quoted = dollar_quoted(text);
            let tag = &quoted[..quoted[1..].find('$').expect("a tag") + 2];
            assert_eq!(quoted.matches(tag).count(), 2, "{text}");
        }
    }
}
