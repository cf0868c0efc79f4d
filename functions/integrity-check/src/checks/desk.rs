//! Where a check's statement runs: alone, in a read-only transaction that is rolled back, with the search path that the team expects for its SQL and the
//! server's own for ours. A connection that is lost is made again; nothing that a statement did to its session outlives it.

use std::time::Duration;

use shared::failure::Failure;
use shared_postgres::trouble::{Trouble, sort};
use shared_postgres::{Connection, ContextSql as _, error};
use sqlx::postgres::{PgDatabaseError, PgErrorPosition, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};
use tokio::time::{Instant, timeout_at};

use super::watch;
use crate::session::Sessions;

/// Why a statement gave nothing.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The server said no.
    Server(Box<Said>),
    /// It was ended because somebody waited behind it.
    GaveWay,
    /// The time of the invocation is over; it may be tried again in the next.
    TimeIsOver,
    /// The connection or the server is gone.
    Lost(Failure),
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct Said {
    /// SQLSTATE.
    pub code: String,
    /// Its message, where that can hold no value of a row.
    pub message: Option<String>,
    /// Where in the statement, in characters from 0.
    pub position: Option<usize>,
    /// What it says about the data.
    pub trouble: Trouble,
}

/// Who wrote a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// We, whole.
    Ours,
    /// The team, whole or in part: it finds what the team's search path finds.
    Team,
}

/// The sessions of an invocation's checks.
pub struct Desk<'a> {
    sessions: &'a Sessions,
    /// The session, and the number of its backend.
    first: Option<(Connection, i32)>,
    /// The time limit of the first session's statements, in milliseconds, once we made it.
    limit: Option<u128>,
    /// The one that looks whether the first is in the way.
    second: Option<Connection>,
    /// Until when.
    pub until: Instant,
    /// Statements that were sent on behalf of checks.
    pub statements: u64,
}

/// Longest message that is shown, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 300;

impl<'a> Desk<'a> {
    /// Nothing is connected before it is needed.
    pub fn new(sessions: &'a Sessions, until: Instant) -> Self {
        Self { sessions, first: None, limit: None, second: None, until, statements: 0 }
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.sessions.database
    }

    /// Who we are to the server.
    pub fn role(&self) -> &str {
        &self.sessions.access.user
    }

    /// Runs one statement, for so long at most, and gives its rows.
    pub async fn ask(&mut self, sql: &str, author: Author, timeout: Duration) -> Result<Vec<PgRow>, Refusal> {
        if Instant::now() >= self.until {
            return Err(Refusal::TimeIsOver);
        }
        let (mut connection, backend) = match self.first.take() {
            Some(first) => first,
            None => match timeout_at(self.until, connect(self.sessions)).await {
                Ok(connected) => {
                    self.limit = None;
                    connected.map_err(Refusal::Lost)?
                }
                Err(_) => return Err(Refusal::TimeIsOver),
            },
        };
        self.statements += 1;
        let left = self.until.saturating_duration_since(Instant::now()) + Duration::from_secs(1);
        let work = run(&mut connection, &mut self.limit, sql, author, timeout.min(left));
        let Ok((result, was_told)) = timeout_at(self.until, watch::over(&mut self.second, self.sessions, backend, work)).await else {
            // The server ends it too, by its own limit or when it finds nobody there; the look may have been cut in the middle.
            self.second = None;
            return Err(Refusal::TimeIsOver);
        };
        let refusal = match result {
            Ok(rows) => {
                self.first = Some((connection, backend));
                return Ok(rows);
            }
            Err(error) => refused(&error),
        };
        // After an error a transaction waits for its end; where that fails, so does the session.
        if matches!(refusal, Refusal::Server(_)) && timeout_at(self.until, end(&mut connection)).await.is_ok_and(|ended| ended.is_ok()) {
            self.first = Some((connection, backend));
        }
        let is_cancelled = matches!(&refusal, Refusal::Server(said) if said.code == "57014");
        Err(if was_told && is_cancelled { Refusal::GaveWay } else { refusal })
    }

    /// Says goodbye.
    pub async fn close(self) {
        for connection in [self.first.map(|(connection, _)| connection), self.second].into_iter().flatten() {
            // The server notices by itself if this fails.
            let _ = timeout_at(self.until + Duration::from_secs(1), connection.close()).await;
        }
    }
}

async fn connect(sessions: &Sessions) -> Result<(Connection, i32), Failure> {
    let (mut connection, _) = sessions.connect("checks").await?;
    let backend = sqlx::query_scalar("SELECT pg_catalog.pg_backend_pid()").fetch_one(&mut connection).await.context_sql("ask for the backend")?;
    Ok((connection, backend))
}

async fn run(connection: &mut Connection, limit: &mut Option<u128>, sql: &str, author: Author, timeout: Duration) -> Result<Vec<PgRow>, sqlx::Error> {
    let milliseconds = timeout.as_millis().max(1);
    if author == Author::Ours {
        // The session only reads, and a statement of ours changes nothing in it: it needs no transaction around it, but its time.
        if *limit != Some(milliseconds) {
            sqlx::query(AssertSqlSafe(format!("SET statement_timeout = {milliseconds}"))).execute(&mut *connection).await?;
            *limit = Some(milliseconds);
        }
        return sqlx::query(AssertSqlSafe(sql.to_owned()).into_sql_str()).persistent(false).fetch_all(&mut *connection).await;
    }
    let begin = format!(
        "BEGIN READ ONLY; SELECT pg_catalog.set_config('search_path', '\"$user\", public', true), pg_catalog.set_config('statement_timeout', '{milliseconds}ms', true),
                                 pg_catalog.set_config('standard_conforming_strings', 'on', true)"
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    // The extended protocol takes one statement, whatever the text says.
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned()).into_sql_str()).persistent(false).fetch_all(&mut *connection).await?;
    end(connection).await?;
    Ok(rows)
}

/// Locks of a session are not those of a transaction.
async fn end(connection: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()").execute(connection).await.map(|_| ())
}

fn refused(cause: &sqlx::Error) -> Refusal {
    let Some(server) = cause.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return Refusal::Lost(error::failure(cause));
    };
    let trouble = sort(cause);
    if let Trouble::Lost(failure) = trouble {
        return Refusal::Lost(failure);
    }
    let code = server.code().to_owned();
    let position = match server.position() {
        Some(PgErrorPosition::Original(position)) => position.checked_sub(1),
        _ => None,
    };
    let message = is_about_the_text(server).then(|| {
        let line = server.message().lines().next().unwrap_or_default();
        line.chars().take(MESSAGE_CHARACTERS_MAX).collect()
    });
    Refusal::Server(Box::new(Said { code, message, position, trouble }))
}

/// Whether a message is about the text of a statement, and not about a value of a row. Of class 42 are also casts of a value to the name of a table, but
/// only what is said of the text itself has a place in it. A missing privilege has no place; it names what it is missing for. What is said inside a
/// function is about whatever that made of rows.
fn is_about_the_text(server: &PgDatabaseError) -> bool {
    let has_place = matches!(server.position(), Some(PgErrorPosition::Original(_)));
    server.r#where().is_none()
        && match server.code() {
            "2201B" => true,
            "42501" => matches!(server.routine(), Some("aclcheck_error" | "check_enable_rls")),
            code => code.starts_with("42") && has_place,
        }
}
