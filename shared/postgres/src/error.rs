//! Errors of the database as failures: classified by SQLSTATE, never by the words of a message.

use shared::failure::{Failure, FailureKind};
use sqlx::postgres::PgDatabaseError;

/// What went wrong, with the server's detail and hint, and without anything of the connection string.
pub fn failure(error: &sqlx::Error) -> Failure {
    let Some(server) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return Failure::from_error(kind_of_client_error(error), error);
    };
    let mut message = format!("{} (SQLSTATE {})", server.message(), server.code());
    if let Some(detail) = server.detail() {
        message = format!("{message}; {detail}");
    }
    let failure = Failure::new(kind_of(server.code()), message);
    match server.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// SQLSTATE of an error of the server.
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// SQLSTATEs of the PostgreSQL manual, appendix "PostgreSQL Error Codes".
fn kind_of(sqlstate: &str) -> FailureKind {
    match sqlstate {
        "42501" | "28000" | "28P01" => FailureKind::Denied,
        // lock_not_available: somebody holds, or waits for, a lock that excludes reading.
        "55P03" => FailureKind::GaveWay,
        "57P01" | "57P02" | "57P03" | "53300" => FailureKind::Unreachable,
        _ if sqlstate.starts_with("08") => FailureKind::Unreachable,
        _ => FailureKind::Other,
    }
}

fn kind_of_client_error(error: &sqlx::Error) -> FailureKind {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => FailureKind::Unreachable,
        _ => FailureKind::Other,
    }
}

/// `?` with context for errors of the database.
pub trait ContextSql<T> {
    /// Turns an error into a [`Failure`] that says what was being attempted.
    ///
    /// # Errors
    /// The failure.
    fn context_sql(self, attempted: impl Into<String>) -> Result<T, Failure>;
}

impl<T> ContextSql<T> for Result<T, sqlx::Error> {
    fn context_sql(self, attempted: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| failure(&error).context(attempted))
    }
}
