//! Whether a credential works: by logging in with it, as whoever uses it will. A server that says no is told apart from one that says nothing.
//!
//! Never falls back to anything: not to plain text, not to another password, not to a guess.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;
use shared_postgres::{Access, NoConnection, error};
use sqlx::{Connection as _, Row};
use tokio::time::timeout;

/// For one login with its one question.
const LOGIN_MAX: Duration = Duration::from_secs(10);
/// Logins at the same time.
const PARALLEL_MAX: usize = 8;

/// A database of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Certificates that the server's must descend from. `None` only for a server on this machine.
    pub ca_file: Option<PathBuf>,
}

impl Place {
    /// Where an access leads.
    pub fn of(access: &Access) -> Self {
        Self { host: access.host.clone(), port: access.port, database: access.database.clone(), ca_file: access.ca_file.clone() }
    }

    /// The same database on another server.
    #[must_use]
    pub fn at(&self, host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..self.clone() }
    }

    /// How a role gets there.
    ///
    /// # Errors
    /// When it is on another machine and there is no CA file.
    pub fn access(&self, user: &str, password: &SecretString) -> Result<Access, Failure> {
        Access::new(&self.host, self.port, &self.database, self.ca_file.clone(), user, password.clone())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// What came of logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The credential works.
    Accepted(Seen),
    /// The server says that it does not: 28P01 (also for a user that does not exist), or 28000 (may not log in, or not from here).
    Refused {
        /// SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// It is not known: no answer, no TLS, no room, or the password was right and something else is wrong. The hint says what to do.
    CannotTell(Failure),
}

/// What a session sees of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose rights it has: another than `session_user` where the role has `SET role`.
    pub current_user: String,
    /// Who logged in.
    pub session_user: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// `server_version_num`.
    pub server_version: i32,
}

/// Logs in once, and out again.
pub async fn log_in(place: &Place, user: &str, password: &SecretString, application_name: &str) -> Login {
    let access = match place.access(user, password) {
        Ok(access) => access,
        Err(failure) => return Login::CannotTell(failure),
    };
    let mut connection = match access.attempt(&access.database, application_name, LOGIN_MAX).await {
        Ok(connection) => connection,
        Err(not_connected) => return refusal(not_connected.cause, not_connected.failure),
    };
    let question = sqlx::query(
        "SELECT current_user::text, session_user::text, pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version_num')::int",
    );
    let answer = timeout(LOGIN_MAX, question.fetch_one(&mut connection)).await;
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
    match answer {
        Ok(Ok(row)) => {
            Login::Accepted(Seen { current_user: row.get(0), session_user: row.get(1), in_recovery: row.get(2), server_version: row.get(3) })
        }
        Ok(Err(failed)) => Login::CannotTell(error::failure(&failed).context(format!("ask {place} after logging in"))),
        Err(_) => Login::CannotTell(Failure::new(FailureKind::Unreachable, format!("{place} let {user:?} in and did not answer after that"))),
    }
}

/// What it means that there is no connection.
pub(super) fn refusal(cause: NoConnection, failure: Failure) -> Login {
    let (sqlstate, message) = match cause {
        NoConnection::Server { sqlstate, message } => (sqlstate, message),
        NoConnection::Tls => {
            let mut failure = failure;
            failure.kind = FailureKind::BadSettings;
            return Login::CannotTell(failure.hint(
                "the host in the value must be one that the server's certificate names, and the CA file the bundle of RDS; TLS is not given up",
            ));
        }
        NoConnection::Network | NoConnection::Settings => return Login::CannotTell(failure),
    };
    let hint = match sqlstate.as_str() {
        "28P01" | "28000" => return Login::Refused { sqlstate, message },
        "53300" => {
            "the server, the database or the role has no connection left: raise the role's CONNECTION LIMIT, or close some; nothing is known of the password"
        }
        "57P03" => "the server is starting up or shutting down: it is tried again",
        "57P01" | "57P02" => "the server is going down: it is tried again",
        "3D000" => "the database of the value does not exist; the password was right",
        "42501" => "GRANT CONNECT ON DATABASE … TO the user; the password was right",
        "55000" => "the database takes no connections; the password was right",
        _ => return Login::CannotTell(failure),
    };
    Login::CannotTell(failure.hint(hint))
}

/// Logs in at each place, several at a time; in the order of the places.
pub async fn everywhere(places: &[Place], user: &str, password: &SecretString, application_name: &str) -> Vec<(Place, Login)> {
    // Owned: a future over borrowed places is not `Send` for every lifetime, in the compiler's eyes.
    let places = places.to_vec();
    let logins = places.into_iter().map(|place| async move {
        let login = log_in(&place, user, password, application_name).await;
        (place, login)
    });
    stream::iter(logins).buffered(PARALLEL_MAX).collect().await
}
