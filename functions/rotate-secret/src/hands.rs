//! What a rotation needs from the world. There are two worlds: the real one, and a model of servers, parameters, crashes and late commits, in which the very
//! code of the rotation is driven through millions of histories.
//!
//! Each call is one effect or one look; a process can be ended before, in and after each.

use std::future::Future;

use chrono::{DateTime, Utc};
use shared::failure::Failure;
use shared::secrets::{ExposeSecret, SecretString};

use crate::identity::RotationId;
use crate::journal::{Journal, Kept, Refresh as Begun};
use crate::plan::{Death, Proof};

/// A user's password.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

impl Credential {
    /// Whether it is this one.
    pub fn is(&self, user: Option<&str>, password: Option<&Kept>) -> bool {
        user == Some(self.user.as_str()) && password.is_some_and(|kept| kept.0.expose_secret() == self.password.expose_secret())
    }
}

/// The live value, as far as it is a credential.
#[derive(Clone, Debug)]
pub struct LiveValue {
    /// Its credential.
    pub credential: Credential,
    /// Its version.
    pub version: String,
}

/// A user, as the database shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its comment.
    pub comment: Option<String>,
}

/// Whether this invocation is the one that may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nobody else acts, and nothing of an earlier run can still commit.
    Ours,
    /// Another invocation is at it; who.
    Busy(String),
}

/// What a publication returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The version.
    pub version: String,
    /// Whether somebody else wrote between our look and our writing, or after it. Their value is among the recent ones, and has to be judged.
    pub overtaken: bool,
}

/// What every rotation needs.
pub trait Hands: Send {
    /// The time.
    fn now(&self) -> DateTime<Utc>;
    /// Whether the invocation has time for one more step, whatever it is.
    fn has_time(&self) -> bool;
    /// A new password or key; never the same again.
    fn new_secret(&mut self) -> Result<SecretString, Failure>;
    /// The version id that the new value will have, where the store lets us choose it: in Secrets Manager.
    fn token(&self, _: &RotationId) -> Option<String> {
        None
    }
    /// Makes sure that nobody else acts on this secret, as long as this lasts.
    fn fence(&mut self) -> impl Future<Output = Result<Fence, Failure>> + Send;
    /// The journal, if there ever was one.
    fn journal(&mut self) -> impl Future<Output = Result<Option<Journal>, Failure>> + Send;
    /// Writes the journal, and reads it back until it is what was written. Parameter Store has no compare-and-swap: where the returned version shows that
    /// another journal was covered, that one is put back, and this fails.
    fn write_journal(&mut self, journal: &Journal) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Tells the consumers; what it gives back is written to the journal.
    fn begin_refresh(&mut self, journal: &Journal) -> impl Future<Output = Result<Vec<Begun>, Failure>> + Send;
    /// Looks at what was begun: marks what is done; says what failed.
    fn look_at_refresh(&mut self, begun: &mut [Begun]) -> impl Future<Output = Result<Option<String>, Failure>> + Send;
}

/// What the rotation of a PostgreSQL credential needs besides.
pub trait DatabaseHands: Hands {
    /// The live value; never one that is older than this version.
    fn live(&mut self, not_before: Option<&str>) -> impl Future<Output = Result<LiveValue, Failure>> + Send;
    /// Looks up and stages what the publication will need, so that little is left to do between the commit and it.
    fn prepare(&mut self, credential: &Credential, journal: &Journal) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Writes the live value with this credential in place of the one that it has, and reads it back.
    fn publish(&mut self, credential: &Credential, from: &LiveValue, journal: &Journal) -> impl Future<Output = Result<Published, Failure>> + Send;
    /// A user; `None` where the server has none of that name.
    fn role(&mut self, user: &str) -> impl Future<Output = Result<Option<Role>, Failure>> + Send;
    /// Sets password, right to log in, and comment, in one transaction. A failure does not say that nothing happened.
    fn set_password(&mut self, credential: &Credential, comment: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Takes the right to log in and the password from a user, and sets the comment, in one transaction.
    fn retire(&mut self, user: &str, comment: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Who has sessions that the old credential opened: all of the old user's; where there is one user, those from before this moment.
    fn sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;
    /// Ends these sessions.
    fn end_sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Logs in everywhere; where a user is given that it takes over from, compares what they may do.
    fn prove(&mut self, credential: &Credential, takes_over_from: Option<&str>) -> impl Future<Output = Result<Proof, Failure>> + Send;
    /// Tries to log in everywhere with what must be dead.
    fn prove_death(&mut self, credential: &Credential) -> impl Future<Output = Result<Death, Failure>> + Send;
}
