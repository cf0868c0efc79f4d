//! One rotation of a credential, as far as one invocation gets: look, decide, do, again, until there is nothing to do or something to wait for.
//!
//! What touches the world is behind [`DatabaseHands`].

use chrono::TimeDelta;
use shared::failure::{Failure, FailureKind};

use crate::hands::{Credential, DatabaseHands, Fence, Hands, LiveValue};
use crate::identity::{self, RotationId};
use crate::journal::{Closed, Journal, Outcome, Purpose};
use crate::plan::{Death, Live, Mark, Observed, Proof, Refresh, Step, Strategy, Waiting, next_step};

/// Steps of one invocation. A rotation has about fifteen; more means that two rules undo each other's work.
const STEPS_MAX: u32 = 60;

/// How often a parameter is read again where nothing else tells a stale answer. Parameter Store's answers are late by less than a second, and seldom.
const LOOKS_AGAIN: u32 = 3;

/// What is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The definition's name.
    pub secret: String,
    /// The users: one, or a pair.
    pub users: Vec<String>,
    /// How long the old user of a pair may log in at least.
    pub grace: TimeDelta,
    /// Where this invocation stops, though it could go on: at a step of Secrets Manager's.
    pub stop: Option<Stop>,
}

/// Where an invocation stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Before the database is changed.
    BeforeChange,
    /// Before the new credential is tried.
    BeforeProof,
    /// Before it is given out.
    BeforePublication,
}

impl Stop {
    fn is_before(self, step: &Step) -> bool {
        let at = match step {
            Step::Alter | Step::Retire | Step::EndSessions => Self::BeforeChange,
            Step::Prove => Self::BeforeProof,
            Step::Publish => Self::BeforePublication,
            _ => return false,
        };
        at >= self
    }
}

impl Target {
    /// Which users there are.
    pub fn strategy(&self) -> Strategy {
        if self.users.len() == 1 { Strategy::Single } else { Strategy::Pair }
    }
}

/// What this invocation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A rotation; goes on with one that is open.
    Begin(RotationId, Purpose),
    /// Goes on with what is open, and begins nothing.
    GoOn,
}

/// How far it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is open, and nothing was asked for.
    #[default]
    Nothing,
    /// This very rotation has ended before.
    AlreadyEnded(Closed),
    /// Another invocation is at it.
    Busy(String),
    /// It may not begin; why, and what to do.
    Refused(String),
    /// It is under way.
    Open {
        /// What it waits for.
        waiting: Waiting,
        /// In words.
        why: String,
    },
    /// It ended in this invocation.
    Ended(Closed),
}

/// What one invocation did: of a credential, or of keys with their steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<S = Step> {
    /// How far it got.
    pub progress: Progress,
    /// What it did, in order.
    pub steps: Vec<S>,
    /// The journal at the end. Its secrets are dots when printed.
    pub journal: Option<Journal>,
    /// The version that somebody wrote while ours was being written.
    pub overtaken: Option<String>,
}

impl<S> Default for Run<S> {
    fn default() -> Self {
        Self { progress: Progress::default(), steps: Vec::new(), journal: None, overtaken: None }
    }
}

/// What there is to do, for a credential and for keys alike.
pub(crate) enum Found<'a> {
    /// Nothing; the run says why.
    Nothing,
    /// A rotation that is open.
    Open(Journal),
    /// One is to be begun.
    ToBegin {
        /// The one before it.
        last: Option<Journal>,
        /// Its name.
        rotation: &'a RotationId,
        /// What it is for.
        purpose: Purpose,
    },
}

/// Takes the lock, and reads what there is to do.
pub(crate) async fn found<'a, H: Hands, S>(hands: &mut H, ask: &'a Ask, run: &mut Run<S>) -> Result<Found<'a>, Failure> {
    if let Fence::Busy(who) = hands.fence().await? {
        run.progress = Progress::Busy(who);
        return Ok(Found::Nothing);
    }
    Ok(match (hands.journal().await?, ask) {
        (Some(open), Ask::GoOn) if open.is_open() => Found::Open(open),
        (journal, Ask::GoOn) => {
            run.journal = journal;
            Found::Nothing
        }
        (Some(open), Ask::Begin(_, purpose)) if open.is_open() => Found::Open(taken_up(hands, open, *purpose).await?),
        (Some(Journal { rotation, closed: Some(closed), .. }), Ask::Begin(id, _)) if rotation == *id => {
            run.progress = Progress::AlreadyEnded(closed);
            Found::Nothing
        }
        (last, Ask::Begin(rotation, purpose)) => Found::ToBegin { last, rotation, purpose: *purpose },
    })
}

/// Rotates, as far as one invocation gets.
///
/// # Errors
/// When something could not be done or seen. Calling again goes on from what is there; nothing is lost and nothing is guessed.
pub async fn rotate<H: DatabaseHands>(hands: &mut H, target: &Target, ask: &Ask) -> Result<Run, Failure> {
    let mut run = Run::default();
    let journal = match found(hands, ask, &mut run).await? {
        Found::Nothing => return Ok(run),
        Found::Open(journal) => journal,
        Found::ToBegin { last, rotation, purpose } => match opened(hands, target, last.as_ref(), rotation, purpose).await? {
            Ok(journal) => journal,
            Err(why) => {
                run.progress = Progress::Refused(why);
                return Ok(run);
            }
        },
    };
    go_on(hands, target, journal, &mut run).await?;
    Ok(run)
}

/// A person asks for a rotation while one is open: that one goes on, as an incident if they say so, and consumers that failed are told once more.
async fn taken_up<H: Hands>(hands: &mut H, mut journal: Journal, purpose: Purpose) -> Result<Journal, Failure> {
    let mut changed = false;
    if journal.purpose == Purpose::Rotation && purpose != Purpose::Rotation {
        journal.purpose = purpose;
        changed = true;
    }
    if journal.refreshed_at.is_none() && !journal.refreshes.is_empty() {
        journal.refreshes.clear();
        changed = true;
    }
    if changed {
        hands.write_journal(&journal).await?;
    }
    Ok(journal)
}

/// Opens a rotation: everything that could be in its way is looked at first, and it is written down and read back before anything is done.
async fn opened<H: DatabaseHands>(
    hands: &mut H,
    target: &Target,
    last: Option<&Journal>,
    rotation: &RotationId,
    purpose: Purpose,
) -> Result<Result<Journal, String>, Failure> {
    let live = hands.live(last.and_then(|last| last.published_version.as_deref())).await?;
    let old_user = live.credential.user.clone();
    let Some(user) = next_user(target, &old_user) else {
        return Ok(Err(format!("the live value names the user {old_user:?}, which is not one of {}", target.users.join(", "))));
    };
    if hands.role(user).await?.is_none() {
        return Ok(Err(format!("the database has no user {user:?}: `{{\"kind\":\"rotate\",\"dryRun\":true}}` prints the statements that create it")));
    }
    if purpose == Purpose::Rotation {
        // Also what tells a stale journal: after a rotation that this look does not see, one user's live value would not work.
        match hands.prove(&live.credential, None).await? {
            Proof::Works | Proof::NotEverywhere(_) => {}
            Proof::Unknown(why) => return Err(Failure::new(FailureKind::Unreachable, why)),
            Proof::WrongPassword | Proof::Unfit(_) => {
                return Ok(Err("the live value cannot log in: `{\"kind\":\"reconcile\"}` makes the database and the value agree again".to_owned()));
            }
        }
        let in_use = if target.strategy() == Strategy::Pair { hands.sessions(user, None).await? } else { Vec::new() };
        if !in_use.is_empty() {
            return Ok(Err(format!("the user {user:?}, whose turn it is, is in use: {}", in_use.join(", "))));
        }
    } else {
        // A thief may have changed the password, so that the live value proves nothing: then a stale journal shows only by looking again.
        for _ in 0..LOOKS_AGAIN {
            if hands.journal().await?.is_some_and(|journal| journal.is_open()) {
                let failure = Failure::new(FailureKind::Conflict, "an older journal was read first, and another rotation is open");
                return Err(failure.hint("call again: that rotation goes on"));
            }
        }
    }
    let journal = Journal {
        user: Some(user.to_owned()),
        old_user: Some(old_user),
        phase: 1,
        ..Journal::new(hands, &target.secret, rotation, purpose, live.version, live.credential.password)?
    };
    hands.write_journal(&journal).await?;
    Ok(Ok(journal))
}

fn next_user<'a>(target: &'a Target, live_user: &str) -> Option<&'a str> {
    let at = target.users.iter().position(|user| user == live_user)?;
    target.users.get((at + 1) % target.users.len()).map(String::as_str)
}

/// What this invocation has asked for and was told; a step that changes something makes it forget what that may have changed.
#[derive(Default)]
struct Seen {
    proof: Option<Proof>,
    live_proof: Option<Proof>,
    old_sessions: Option<Vec<String>>,
    death: Option<Death>,
    refresh: Option<Refresh>,
    alterations: u32,
}

async fn go_on<H: DatabaseHands>(hands: &mut H, target: &Target, mut journal: Journal, run: &mut Run) -> Result<(), Failure> {
    let missing = || Failure::new(FailureKind::Corrupt, "the open journal lacks its users or its secrets");
    let new = Credential { user: journal.user.clone().ok_or_else(missing)?, password: journal.pending.clone().ok_or_else(missing)?.0 };
    let old = Credential { user: journal.old_user.clone().ok_or_else(missing)?, password: journal.previous.clone().ok_or_else(missing)?.0 };
    let pair = new.user != old.user;
    let mut seen = Seen::default();
    let mut live = hands.live(journal.published_version.as_deref()).await?;
    let mut comment = comment_of(hands, &new.user).await?;
    let mut old_comment = if pair { comment_of(hands, &old.user).await? } else { None };
    for _ in 0..STEPS_MAX {
        let observed = observed(target, &journal, &live, comment.as_deref(), old_comment.as_deref(), &seen);
        let step = match next_step(&observed, hands.now()) {
            step if target.stop.is_some_and(|stop| stop.is_before(&step)) => {
                Step::Wait(Waiting::Time, "the next step is not asked for yet".to_owned())
            }
            _ if !hands.has_time() => Step::Wait(Waiting::Time, "the invocation's time is over".to_owned()),
            step => step,
        };
        run.steps.push(step.clone());
        // One user: what was opened with the old password was opened before the new value was given out.
        let before = if pair { None } else { journal.published_at };
        match step {
            Step::Alter => {
                hands.prepare(&new, &journal).await?;
                hands.set_password(&new, &identity::marked(comment.as_deref(), &journal.rotation)).await?;
                comment = comment_of(hands, &new.user).await?;
                seen = Seen { alterations: seen.alterations + 1, refresh: seen.refresh, ..Seen::default() };
            }
            Step::Undo => {
                hands.set_password(&old, &identity::undone(comment.as_deref(), &journal.rotation)).await?;
                comment = comment_of(hands, &new.user).await?;
            }
            Step::Retire => {
                hands.retire(&old.user, &identity::retired(old_comment.as_deref(), &journal.rotation)).await?;
                old_comment = comment_of(hands, &old.user).await?;
                seen = Seen { alterations: seen.alterations + 1, refresh: seen.refresh, proof: seen.proof, ..Seen::default() };
            }
            Step::EndSessions => {
                hands.end_sessions(&old.user, before).await?;
                seen.old_sessions = None;
            }
            Step::Publish => {
                let published = hands.publish(&new, &live, &journal).await?;
                if published.overtaken {
                    run.overtaken = Some(published.version.clone());
                }
                live = hands.live(Some(&published.version)).await?;
            }
            Step::NotePublished => {
                journal.published_at = Some(hands.now());
                journal.published_version = Some(live.version.clone());
                hands.write_journal(&journal).await?;
            }
            Step::BeginRefresh => journal.begin_refresh(hands).await?,
            Step::LookAtRefresh => seen.refresh = Some(journal.look_at_refresh(hands).await?),
            Step::Prove => seen.proof = Some(hands.prove(&new, pair.then_some(old.user.as_str())).await?),
            Step::ProveLive => seen.live_proof = Some(hands.prove(&live.credential, None).await?),
            Step::CountSessions => seen.old_sessions = Some(hands.sessions(&old.user, before).await?),
            Step::ProveDeath => seen.death = Some(hands.prove_death(&old).await?),
            // Somebody's value ends this rotation, and the new password with it: not by a stale look.
            Step::Close(Outcome::Superseded, _) if newer(hands, &mut live).await? => seen = Seen { alterations: seen.alterations, ..Seen::default() },
            Step::Close(outcome, reason) => {
                let closed = close(hands, &mut journal, outcome, reason).await?;
                run.progress = Progress::Ended(closed);
                run.journal = Some(journal);
                return Ok(());
            }
            Step::Wait(waiting, why) => {
                run.progress = Progress::Open { waiting, why };
                run.journal = Some(journal);
                return Ok(());
            }
        }
    }
    Err(Failure::new(FailureKind::Other, format!("no end after {STEPS_MAX} steps: {:?}", run.steps)))
}

/// Whether there is a newer live value than the one that was seen, which is then taken.
async fn newer<H: DatabaseHands>(hands: &mut H, live: &mut LiveValue) -> Result<bool, Failure> {
    for _ in 0..LOOKS_AGAIN {
        let again = hands.live(Some(&live.version)).await?;
        if again.version != live.version {
            *live = again;
            return Ok(true);
        }
    }
    Ok(false)
}

async fn comment_of<H: DatabaseHands>(hands: &mut H, user: &str) -> Result<Option<String>, Failure> {
    let role = hands.role(user).await?;
    role.map(|role| role.comment).ok_or_else(|| Failure::new(FailureKind::BadSettings, format!("the database has no user {user:?} any more")))
}

pub(crate) async fn close<H: Hands>(hands: &mut H, journal: &mut Journal, outcome: Outcome, reason: String) -> Result<Closed, Failure> {
    let closed = Closed { at: hands.now(), outcome, reason };
    journal.closed = Some(closed.clone());
    journal.pending = None;
    journal.previous = None;
    hands.write_journal(journal).await?;
    Ok(closed)
}

fn observed(target: &Target, journal: &Journal, live: &LiveValue, comment: Option<&str>, old_comment: Option<&str>, seen: &Seen) -> Observed {
    let rotation = &journal.rotation;
    let mark = match comment.and_then(identity::mark) {
        Some(identity::Mark::Set(id)) if id == *rotation => Mark::New,
        Some(identity::Mark::Undone(id)) if id == *rotation => Mark::Undone,
        _ => Mark::Before,
    };
    Observed {
        strategy: if journal.user == journal.old_user { Strategy::Single } else { Strategy::Pair },
        purpose: journal.purpose,
        grace: target.grace,
        live: if live.credential.is(journal.user.as_deref(), journal.pending.as_ref()) {
            Live::New
        } else if live.credential.is(journal.old_user.as_deref(), journal.previous.as_ref()) {
            Live::Old
        } else {
            Live::Foreign
        },
        published_at: journal.published_at,
        mark,
        retired: matches!(old_comment.and_then(identity::mark), Some(identity::Mark::Retired(id)) if id == *rotation),
        refresh: journal.refresh(seen.refresh.as_ref()),
        proof: seen.proof.clone(),
        live_proof: seen.live_proof.clone(),
        old_sessions: seen.old_sessions.clone(),
        death: seen.death.clone(),
        alterations: seen.alterations,
    }
}
