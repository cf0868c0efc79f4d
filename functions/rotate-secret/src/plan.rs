//! What is to be done next with a credential: from what is there, and the time. Pure; nothing is remembered from one step to the next.
//!
//! The order is the safety. A password reaches the database only after it was written down and read back; it is given out only after it was seen to work on
//! every server; the old one dies only when nobody uses it, and what decides whether a commit happened is the mark that was committed with it. What is not
//! known is asked for: no step rests on a guess.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::journal::{Outcome, Purpose};

/// How many times one invocation sets the same password again, when the server refuses it although the mark is ours: somebody else sets it too.
const ALTERATIONS_MAX: u32 = 2;

/// Which users there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Two users in turn: the one that nobody uses gets the new password.
    Pair,
    /// One user. Between the commit and the publication new logins fail.
    Single,
}

/// Whose credential the live value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// The one of before.
    Old,
    /// The new one.
    New,
    /// Neither: somebody wrote it.
    Foreign,
}

/// What the comment of the user that gets the new password says. Read under the session's lock only: then no transaction of a dead run can still commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Its password is the new one.
    New,
    /// It was the new one, and is the old one again.
    Undone,
    /// This rotation has not touched it.
    Before,
}

/// What logging in showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It works on every server, with all that the old one may do.
    Works,
    /// It works on the writer; a reader refuses it still, or cannot be asked. For so long that this invocation waits no longer.
    NotEverywhere(String),
    /// The writer says that the password is wrong.
    WrongPassword,
    /// The writer lets it in, or would, but it must not be given out: a privilege is missing, the user may not log in. Waiting does not help.
    Unfit(String),
    /// The writer cannot be asked.
    Unknown(String),
}

/// How far the consumers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Not told yet.
    NotBegun,
    /// Told; not seen to be done, this invocation.
    Begun,
    /// Told, looked at, not done.
    UnderWay,
    /// All done, or there are none.
    Done,
    /// One says that it failed.
    Failed(String),
}

/// Whether the old credential is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// Every server refuses it.
    Everywhere,
    /// The writer lets it in.
    AliveOnWriter,
    /// A reader lets it in, or a server cannot be asked.
    NotSeenEverywhere(String),
}

/// What is there. `None` where this invocation has not looked: [`next_step`] asks for what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which users there are.
    pub strategy: Strategy,
    /// What the rotation is for.
    pub purpose: Purpose,
    /// How long the old user may log in at least.
    pub grace: TimeDelta,
    /// Whose credential is live.
    pub live: Live,
    /// When the journal says that the new value was published.
    pub published_at: Option<DateTime<Utc>>,
    /// The mark of the user that gets the new password.
    pub mark: Mark,
    /// Whether the mark of the old user says that it is retired by this rotation.
    pub retired: bool,
    /// How far the consumers are.
    pub refresh: Refresh,
    /// What logging in with the new credential showed.
    pub proof: Option<Proof>,
    /// What logging in with a foreign live value, or with the old one after the new was published, showed.
    pub live_proof: Option<Proof>,
    /// Sessions that the old credential opened and that are still there, on all servers; who they are.
    pub old_sessions: Option<Vec<String>>,
    /// What logging in with the old credential showed.
    pub death: Option<Death>,
    /// How many times this invocation has set the password.
    pub alterations: u32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Set the new password and the mark in one transaction.
    Alter,
    /// Set the old password again, and say so in the mark.
    Undo,
    /// Take the right to log in from the old user, and its password.
    Retire,
    /// End the sessions that the old credential opened.
    EndSessions,
    /// Make the new credential the live one.
    Publish,
    /// Write down that it is live.
    NotePublished,
    /// Tell the consumers.
    BeginRefresh,
    /// Ask: how far are the consumers?
    LookAtRefresh,
    /// Ask: does the new credential work everywhere, with all that it needs?
    Prove,
    /// Ask: does the live value work?
    ProveLive,
    /// Ask: who uses the old credential?
    CountSessions,
    /// Ask: is the old credential dead?
    ProveDeath,
    /// Nothing more to do; the secrets leave the journal.
    Close(Outcome, String),
    /// Nothing can be done now; the next invocation goes on. With what it waits for.
    Wait(Waiting, String),
}

impl Step {
    /// Whether it changes something, and does not only look or wait.
    pub const fn acts(&self) -> bool {
        !matches!(self, Self::LookAtRefresh | Self::Prove | Self::ProveLive | Self::CountSessions | Self::ProveDeath | Self::Wait(..))
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Waiting {
    /// Time, as planned.
    Time,
    /// Users of the old credential, beyond the planned time.
    Stragglers,
    /// A server that does not answer or lags behind.
    Server,
    /// Consumers that are being refreshed.
    Consumers,
    /// A person: it does not get better by itself.
    Person,
}

/// The next step of an open rotation.
pub fn next_step(observed: &Observed, now: DateTime<Utc>) -> Step {
    match observed.live {
        Live::New => after_publication(observed, now),
        Live::Foreign => foreign(observed),
        // Somebody put the old value back after it had been replaced: their decision, as long as it works.
        Live::Old if observed.published_at.is_some() => foreign(observed),
        Live::Old => before_publication(observed),
    }
}

/// The live value is one that this rotation did not write.
fn foreign(observed: &Observed) -> Step {
    match &observed.live_proof {
        None => Step::ProveLive,
        Some(Proof::Works | Proof::NotEverywhere(_)) => Step::Close(
            Outcome::Superseded,
            "somebody wrote another value that works; it stays, and nothing was retired because of this rotation".to_owned(),
        ),
        Some(Proof::WrongPassword | Proof::Unfit(_)) => before_publication(observed),
        Some(Proof::Unknown(why)) => Step::Wait(Waiting::Server, why.clone()),
    }
}

fn before_publication(observed: &Observed) -> Step {
    if observed.purpose == Purpose::IncidentNow && observed.strategy == Strategy::Pair {
        if !observed.retired {
            return Step::Retire;
        }
        match &observed.old_sessions {
            None => return Step::CountSessions,
            Some(sessions) if !sessions.is_empty() => return Step::EndSessions,
            Some(_) => {}
        }
    }
    match observed.mark {
        Mark::Before => Step::Alter,
        Mark::Undone => Step::Close(Outcome::GivenUp, "the new password could not be proved to work; the old one was set again".to_owned()),
        Mark::New => given_to_the_database(observed),
    }
}

/// The database has the new password, and nobody was told.
fn given_to_the_database(observed: &Observed) -> Step {
    let planned = observed.purpose == Purpose::Rotation;
    match &observed.proof {
        None => Step::Prove,
        Some(Proof::Works) => Step::Publish,
        Some(Proof::WrongPassword) if observed.alterations < ALTERATIONS_MAX => Step::Alter,
        Some(Proof::WrongPassword) => Step::Wait(
            Waiting::Person,
            "the server refuses the password that was just set: somebody else sets it too, or it is not the writer".to_owned(),
        ),
        // One user: nobody can log in with the live value until this is decided, and it will not be better in a moment.
        Some(Proof::NotEverywhere(_) | Proof::Unfit(_)) if observed.strategy == Strategy::Single && planned => Step::Undo,
        // A pair: the old one works as before.
        Some(Proof::Unfit(why)) if planned => Step::Close(Outcome::GivenUp, why.clone()),
        Some(Proof::Unfit(why)) => Step::Wait(Waiting::Person, why.clone()),
        Some(Proof::NotEverywhere(why) | Proof::Unknown(why)) => Step::Wait(Waiting::Server, why.clone()),
    }
}

fn after_publication(observed: &Observed, now: DateTime<Utc>) -> Step {
    let Some(published_at) = observed.published_at else { return Step::NotePublished };
    // The database may have been restored to before; then what everybody was told does not work.
    if observed.mark != Mark::New {
        return Step::Alter;
    }
    let incident = observed.purpose != Purpose::Rotation;
    if incident && let Some(step) = lock_out(observed) {
        return step;
    }
    match &observed.refresh {
        Refresh::NotBegun => return Step::BeginRefresh,
        Refresh::Begun => return Step::LookAtRefresh,
        Refresh::UnderWay => return Step::Wait(Waiting::Consumers, "consumers are being refreshed".to_owned()),
        Refresh::Failed(why) => return Step::Wait(Waiting::Person, why.clone()),
        Refresh::Done => {}
    }
    if observed.strategy == Strategy::Pair && !observed.retired {
        let retire_at = published_at + observed.grace;
        if now < retire_at {
            return Step::Wait(Waiting::Time, format!("the old user may log in until {}", retire_at.format("%Y-%m-%d %H:%M UTC")));
        }
        return match &observed.old_sessions {
            None => Step::CountSessions,
            Some(sessions) if sessions.is_empty() => Step::Retire,
            Some(sessions) => Step::Wait(Waiting::Stragglers, format!("still logged in with the old credential: {}", sessions.join(", "))),
        };
    }
    prove_death(observed).unwrap_or_else(|| Step::Close(Outcome::Done, "the new credential is in use, and the old one is dead".to_owned()))
}

/// What an incident wants before anything else: the old user locked, its sessions ended, its death seen.
fn lock_out(observed: &Observed) -> Option<Step> {
    if observed.strategy == Strategy::Pair && !observed.retired {
        return Some(Step::Retire);
    }
    match &observed.old_sessions {
        None => Some(Step::CountSessions),
        Some(sessions) if !sessions.is_empty() => Some(Step::EndSessions),
        // What cannot be seen on a reader now must not keep the consumers from the new credential.
        Some(_) => prove_death(observed).filter(|step| !matches!(step, Step::Wait(..)) || observed.refresh == Refresh::Done),
    }
}

fn prove_death(observed: &Observed) -> Option<Step> {
    match &observed.death {
        None => Some(Step::ProveDeath),
        Some(Death::Everywhere) => None,
        Some(Death::AliveOnWriter) if observed.alterations >= ALTERATIONS_MAX => {
            Some(Step::Wait(Waiting::Person, "the old credential still works on the writer: somebody sets it again".to_owned()))
        }
        Some(Death::AliveOnWriter) if observed.strategy == Strategy::Pair => Some(Step::Retire),
        Some(Death::AliveOnWriter) => Some(Step::Alter),
        Some(Death::NotSeenEverywhere(why)) => Some(Step::Wait(Waiting::Server, why.clone())),
    }
}
