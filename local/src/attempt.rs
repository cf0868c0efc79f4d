//! Errors of every library become one [`Failure`] that says what was being attempted.

use std::error::Error;

use shared::failure::{Failure, FailureKind};

/// `?` with what was being attempted, in the imperative.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Error> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_error(FailureKind::Other, &error).context(what))
    }
}

/// A failure that begins here.
pub(crate) fn failed(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Other, message)
}
