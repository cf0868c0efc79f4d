//! A connection of the rotator, with an end to everything it waits for. A connection whose answer did not come is not used again: nobody knows what it would
//! say next.

use std::future::Future;
use std::time::Duration;

use shared::failure::{Failure, FailureKind};
use shared_postgres::{Access, Connection, error};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};
use tokio::time::timeout;

/// The server ends a statement after 15 s (below); we give up on the server a little later.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Settings of every session. `client_connection_check_interval` and `tcp_*`: a client that vanished is noticed within about a minute.
const SETTINGS: [(&str, &str); 14] = [
    ("statement_timeout", "15s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("client_connection_check_interval", "5s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
    ("standard_conforming_strings", "on"),
    ("search_path", "pg_catalog"),
    ("client_min_messages", "error"),
    // Where the role may: verifiers are of no use to a thief for a password of this length, but a log is no place for them.
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_error_statement", "panic"),
];

/// A question with its parameters.
pub(super) type Asked<'q> = Query<'q, Postgres, PgArguments>;

/// A connection with limits.
pub struct Server {
    connection: Connection,
    /// `server_version_num` / 10000.
    pub major: u32,
    lost: bool,
}

/// Why a round trip has no result.
pub(super) enum Trouble {
    /// The server refused and keeps the connection: nothing happened.
    Refused(Failure),
    /// No answer, or a farewell: it may have happened.
    InDoubt(Failure),
}

impl Server {
    /// Connects to a database and makes the settings.
    ///
    /// # Errors
    /// When it is not there, or refuses.
    pub async fn connect(access: &Access, database: &str, application_name: &str) -> Result<Self, Failure> {
        let connection = access.connect(database, application_name).await?;
        let mut server = Self { connection, major: 0, lost: false };
        let row = server.row("ask for the version", sqlx::query("SELECT pg_catalog.current_setting('server_version_num')::int / 10000")).await?;
        server.major = u32::try_from(row.get::<i32, _>(0)).unwrap_or_default();
        let (names, values): (Vec<&str>, Vec<&str>) = SETTINGS.iter().copied().unzip();
        let sql = "SELECT pg_catalog.count(pg_catalog.set_config(s.name, wanted, false))
                     FROM unnest($1::text[], $2::text[]) AS wished (wish, wanted) JOIN pg_catalog.pg_settings s ON s.name = wish
                    WHERE s.context = 'user' OR (s.context = 'superuser' AND pg_catalog.has_parameter_privilege(s.name, 'SET'))";
        server.row("make the session's settings", sqlx::query(sql).bind(names).bind(values)).await?;
        Ok(server)
    }

    /// The rows of a question.
    pub(super) async fn rows(&mut self, what: &str, query: Asked<'_>) -> Result<Vec<PgRow>, Failure> {
        self.usable().map_err(|failure| failure.context(what))?;
        // Also when nobody waits for this to its end.
        self.lost = true;
        let answer = limit(query.fetch_all(&mut self.connection)).await;
        self.lost = answer.as_ref().is_err_and(|failed| !keeps_connection(failed));
        answer.map_err(|failed| error::failure(&failed).context(what))
    }

    /// The one row of a question.
    pub(super) async fn row(&mut self, what: &str, query: Asked<'_>) -> Result<PgRow, Failure> {
        let row = self.rows(what, query).await?.into_iter().next();
        row.ok_or_else(|| Failure::new(FailureKind::Other, "the server gave no answer").context(what))
    }

    /// A change: statements sent in one message, which the server runs as one transaction that needs nothing more from us.
    ///
    /// # Errors
    /// [`Trouble`] says whether it may have happened all the same.
    pub(super) async fn change(&mut self, what: &str, sql: String) -> Result<(), Trouble> {
        self.usable().map_err(|failure| Trouble::Refused(failure.context(what)))?;
        self.lost = true;
        let answer = limit(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection)).await;
        self.lost = answer.as_ref().is_err_and(|failed| !keeps_connection(failed));
        answer.map(|_| ()).map_err(|failed| {
            let failure = error::failure(&failed).context(what);
            if self.lost { Trouble::InDoubt(failure) } else { Trouble::Refused(failure) }
        })
    }

    /// Whether answers may still be believed.
    fn usable(&self) -> Result<(), Failure> {
        if self.lost { Err(Failure::new(FailureKind::Unreachable, "the session was lost before")) } else { Ok(()) }
    }

    /// Says farewell. The server ends the session also when this is lost.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(2), sqlx::Connection::close(self.connection)).await;
    }
}

/// No answer in time is an error of the network.
async fn limit<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = || sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {} s", ANSWER_MAX.as_secs())));
    timeout(ANSWER_MAX, work).await.unwrap_or_else(|_| Err(late()))
}

/// An error of severity ERROR rolled the transaction back. FATAL and PANIC can follow a commit: a session that waits for a standby is ended after it has
/// committed on the writer.
fn keeps_connection(error: &sqlx::Error) -> bool {
    use sqlx::postgres::{PgDatabaseError, PgSeverity};
    let server = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    server.is_some_and(|server| server.severity() == PgSeverity::Error && !server.code().starts_with("57P"))
}
