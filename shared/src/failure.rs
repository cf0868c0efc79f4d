//! A job that could not be done: why, as one chain, and what to do about it.
//!
//! A *kind* exists only where somebody branches on it (the retry policy, the runbook, a test); everything else is context in
//! the imperative, added on the way up and printed once, at the edge. Secrets never enter a chain.

use std::error::Error;
use std::fmt;

/// What class of failure this is. Stable: its name is the `errorType` of the invocation and an alarm may match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request cannot be understood or asks for something that is not there.
    BadRequest,
    /// The settings of the function are wrong; every mistake is listed.
    BadSettings,
    /// An IAM policy, a key policy or a database privilege is missing; the message names the action or the GRANT.
    Denied,
    /// A service or the database could not be reached, or gave up in the middle.
    Unreachable,
    /// The versions of the client programs and the server do not fit.
    WrongVersion,
    /// An object exists already with other content.
    Conflict,
    /// The work would not finish before the function's deadline, so it was stopped while it could still clean up.
    Deadline,
    /// Somebody in production waited behind our locks, so the job gave way.
    GaveWay,
    /// What was read is not what was written.
    Corrupt,
    /// A defect of ours: a panic.
    Panic,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// The stable name, as `errorType` and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::BadSettings => "BadSettings",
            Self::Denied => "Denied",
            Self::Unreachable => "Unreachable",
            Self::WrongVersion => "WrongVersion",
            Self::Conflict => "Conflict",
            Self::Deadline => "Deadline",
            Self::GaveWay => "GaveWay",
            Self::Corrupt => "Corrupt",
            Self::Panic => "Panic",
            Self::Other => "Other",
        }
    }
}

/// A job that could not be done. `Display` is the whole chain, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class; see [`FailureKind`].
    pub kind: FailureKind,
    chain: Vec<String>,
    /// What the operator should do next, when it is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that begins here.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, chain: vec![message.into()], hint: None }
    }

    /// A failure from an error of a library: its whole `source()` chain, without repeating a cause that an outer message
    /// already contains.
    pub fn from_error(kind: FailureKind, error: &dyn Error) -> Self {
        let mut chain: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let message = error.to_string();
            if chain.last().is_none_or(|outer| !outer.contains(&message)) {
                chain.push(message);
            }
            next = error.source();
        }
        Self { kind, chain, hint: None }
    }

    /// Adds what was being attempted, in the imperative: `"describe snapshots"`.
    #[must_use]
    pub fn context(mut self, attempted: impl Into<String>) -> Self {
        self.chain.insert(0, attempted.into());
        self
    }

    /// Adds what the operator should do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.chain.join(": "))
    }
}

impl Error for Failure {}

/// `?` with context, for errors of libraries and for failures alike.
pub trait Context<T> {
    /// Turns an error into a [`Failure`] that says what was being attempted.
    fn context(self, attempted: impl Into<String>) -> Result<T, Failure>;
}

impl<T> Context<T> for Result<T, Failure> {
    fn context(self, attempted: impl Into<String>) -> Self {
        self.map_err(|failure| failure.context(attempted))
    }
}

impl<T> Context<T> for Result<T, std::io::Error> {
    fn context(self, attempted: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_error(FailureKind::Other, &error).context(attempted))
    }
}

impl<T> Context<T> for Result<T, serde_json::Error> {
    fn context(self, attempted: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_error(FailureKind::Other, &error).context(attempted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("connection reset")]
    struct Inner;

    #[test]
    fn the_chain_is_printed_once_and_whole() {
        let failure = Failure::from_error(FailureKind::Unreachable, &Outer(Inner)).context("copy table public.t");
        assert_eq!(failure.to_string(), "copy table public.t: outer: connection reset");
    }

    #[test]
    fn a_cause_that_the_outer_message_repeats_is_not_printed_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer: connection reset")]
        struct Repeating(#[source] Inner);
        assert_eq!(Failure::from_error(FailureKind::Other, &Repeating(Inner)).to_string(), "outer: connection reset");
    }
}
