//! One statement that may take longer than a function lives: it is sent together with its line in the ledger as one message, so that its backend finishes
//! both without us; it is left running when our time is over, and found again by the name of its session.
//!
//! What became of it is never guessed: it is running (`pg_stat_activity`), or it is in the ledger, or it has not happened. Nothing here decides what runs next.

use shared::failure::Failure;
use shared_postgres::{Connection, ContextSql};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, timeout_at};

use crate::ledger;

/// PostgreSQL cuts the name of a session here (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;
/// How long a session that is ended may take to be gone, in milliseconds.
const END_WAIT_MS: i64 = 10_000;

/// A statement and where it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Short name within the drill, by which its session is found.
    pub key: String,
    /// Its line in the ledger.
    pub step: String,
    /// Statements that precede it in its transaction, each ended by a semicolon: `SET LOCAL …`.
    pub before: String,
    /// The statement.
    pub sql: String,
}

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, and is in the ledger.
    Done,
    /// The server refused it; nothing happened.
    Refused(Refusal),
    /// It goes on in its backend.
    Running,
    /// The connection was lost: it may go on, or have happened, or not.
    Lost,
}

/// Why the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub sqlstate: String,
    /// For a person: never a value of a row.
    pub message: String,
}

/// A session of the drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its process.
    pub pid: i32,
    /// The key of its statement.
    pub key: String,
    /// Whether a statement is being run.
    pub is_active: bool,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// Name of a session: `lifeboat drill DRILL KEY`. A long id is cut, never the key.
pub fn session_name(drill: &str, key: &str) -> String {
    format!("{}{key}", name_prefix(drill, key.len()))
}

fn name_prefix(drill: &str, key_bytes: usize) -> String {
    let room = NAME_BYTES_MAX.saturating_sub("lifeboat drill  ".len() + key_bytes.max(KEY_BYTES));
    let end = (0..=room.min(drill.len())).rev().find(|end| drill.is_char_boundary(*end)).unwrap_or(0);
    format!("lifeboat drill {} ", &drill[..end])
}

/// Room that every key gets, so that all sessions of a drill begin alike.
const KEY_BYTES: usize = 16;

/// Runs a statement and its line in the ledger in one transaction, on a connection of its own that was made ready for it: no time-outs, no messages below
/// an error, no look at the client while it runs. Gives the connection back where it can be used again.
///
/// # Errors
/// Never for what the server says about the statement.
pub async fn run(mut connection: Connection, drill: &str, statement: &Statement, until: Instant) -> (Option<Connection>, Outcome) {
    let text = format!(
        "SET application_name = {}; BEGIN; {}{}\n; INSERT INTO lifeboat_drill.done (step, detail) VALUES ({}, \
         pg_catalog.jsonb_build_object('ms', (1000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp()))::bigint)); COMMIT",
        literal(&session_name(drill, &statement.key)),
        statement.before,
        statement.sql.trim_end().trim_end_matches(';'),
        literal(&statement.step),
    );
    let ended = timeout_at(until, sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection)).await;
    match ended {
        // Dropping the connection closes the socket; the backend looks there when it has committed.
        Err(_) => (None, Outcome::Running),
        Ok(Ok(_)) => (Some(connection), Outcome::Done),
        Ok(Err(error)) => {
            let Some(server) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
                return (None, Outcome::Lost);
            };
            if server.code().starts_with("57P") || server.code().starts_with("08") {
                return (None, Outcome::Lost);
            }
            // Somebody else was quicker: then all of ours is undone, and theirs stands.
            let outcome = if server.code() == "23505" && server.schema() == Some(ledger::SCHEMA) {
                Outcome::Done
            } else {
                Outcome::Refused(Refusal { sqlstate: server.code().to_owned(), message: refusal_text(server) })
            };
            let ready = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.is_ok();
            (ready.then_some(connection), outcome)
        }
    }
}

/// What the server said, as far as it cannot be a value of a row: classes whose messages quote data (22, and what functions raise themselves) are told
/// by their SQLSTATE only, and the detail never is.
fn refusal_text(error: &PgDatabaseError) -> String {
    let quotes_no_data = ["0A", "23", "25", "2B", "40", "42", "53", "54", "55", "57", "58", "XX"].iter().any(|class| error.code().starts_with(class));
    if quotes_no_data { format!("{} (SQLSTATE {})", error.message(), error.code()) } else { format!("SQLSTATE {}", error.code()) }
}

/// The refusal in an error, if it is one of the server's.
pub fn refusal(error: &sqlx::Error) -> Option<Refusal> {
    let server = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(Refusal { sqlstate: server.code().to_owned(), message: refusal_text(server) })
}

/// The sessions of a drill, but this one.
///
/// # Errors
/// When the server cannot be asked.
pub async fn sessions(connection: &mut Connection, drill: &str) -> Result<Vec<Session>, Failure> {
    let rows = sqlx::query(
        "SELECT pid, substr(application_name, length($1) + 1), state IS DISTINCT FROM 'idle', coalesce(extract(epoch FROM clock_timestamp() - query_start), 0)::float8
           FROM pg_catalog.pg_stat_activity WHERE starts_with(application_name, $1) AND pid <> pg_backend_pid() AND datname = current_database()",
    )
    .bind(name_prefix(drill, 0))
    .fetch_all(connection)
    .await
    .context_sql("list the sessions of the drill")?;
    Ok(rows.iter().map(|row| Session { pid: row.get(0), key: row.get(1), is_active: row.get(2), seconds: row.get(3) }).collect())
}

/// Ends sessions of a drill, and waits until they are gone. Gives how many.
///
/// # Errors
/// When one cannot be ended.
pub async fn end(connection: &mut Connection, drill: &str, which: impl Fn(&Session) -> bool) -> Result<usize, Failure> {
    let pids: Vec<i32> = sessions(connection, drill).await?.into_iter().filter(|session| which(session)).map(|session| session.pid).collect();
    for pid in &pids {
        // The name is compared once more: a process id may be another's by now.
        sqlx::query(
            "SELECT pg_catalog.pg_terminate_backend(pid, $3) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND starts_with(application_name, $2)",
        )
        .bind(pid)
        .bind(name_prefix(drill, 0))
        .bind(END_WAIT_MS)
        .execute(&mut *connection)
        .await
        .context_sql("end a session of the drill")?;
    }
    Ok(pids.len())
}

/// A string in quotes, whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// An identifier in quotes.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_and_keeps_its_key() {
        for drill in ["d1", "", &"x".repeat(100), &"ü".repeat(40)] {
            for key in ["s1", "control", "s2147483647"] {
                let name = session_name(drill, key);
                assert!(name.len() <= NAME_BYTES_MAX && name.ends_with(&format!(" {key}")), "{name}");
                assert!(name.starts_with(&name_prefix(drill, 0)), "{name}");
            }
        }
    }

    #[test]
    fn quotes_hold() {
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
