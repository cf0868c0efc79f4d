//! One rotation of an application's signing keys, as far as one invocation gets.
//!
//! A plain swap makes the instances of an application refuse each other's signatures while some have the old value and some the new. So there are three values,
//! each given out only when every consumer has the one before: first the new key is accepted, then it signs, then the old one is no longer accepted, when nothing
//! that it signed is still valid. One parameter holds it all, for Parameter Store writes no two at once.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;

use crate::hands::{Hands, Published};
use crate::identity::RotationId;
use crate::journal::{Journal, Outcome, Purpose};
use crate::plan::{Refresh, Waiting};
use crate::rotation::{Ask, Found, Progress, Run, close, found};

/// Steps of one invocation; a phase has four.
const STEPS_MAX: u32 = 20;

/// The new key is accepted.
pub const ACCEPTED: u8 = 1;
/// The new key signs, the old one is accepted.
pub const SIGNS: u8 = 2;
/// The old key is accepted no longer.
pub const ALONE: u8 = 3;

/// The live value, as far as it is keys.
#[derive(Clone, Debug)]
pub struct LiveKeys {
    /// The key that signs.
    pub sign: SecretString,
    /// Its version.
    pub version: String,
}

/// What the rotation of keys needs besides.
pub trait KeyHands: Hands {
    /// The live value; never one that is older than this version.
    fn live(&mut self, not_before: Option<&str>) -> impl Future<Output = Result<LiveKeys, Failure>> + Send;
    /// Which phase the live value is in: 0 before the first, `None` when it is of neither key. Looks at the value that `live` returned last.
    fn phase(&self, old: &SecretString, new: &SecretString) -> Option<u8>;
    /// Writes the live value of this phase, and reads it back.
    fn publish(
        &mut self,
        phase: u8,
        old: &SecretString,
        new: &SecretString,
        rotation: &RotationId,
    ) -> impl Future<Output = Result<Published, Failure>> + Send;
}

/// Keys that are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The definition's name.
    pub secret: String,
    /// How long until every consumer has read a new value at the latest.
    pub settle: TimeDelta,
    /// How long what was signed is valid.
    pub lifetime: TimeDelta,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the rotation is for.
    pub purpose: Purpose,
    /// The phase of the live value; `None`: somebody wrote another key.
    pub live: Option<u8>,
    /// The phase that the journal speaks of.
    pub noted: u8,
    /// When that phase's value was published.
    pub published_at: Option<DateTime<Utc>>,
    /// How far the consumers are with it.
    pub refresh: Refresh,
    /// See [`Target::settle`].
    pub settle: TimeDelta,
    /// See [`Target::lifetime`].
    pub lifetime: TimeDelta,
    /// When the consumers were seen to be told.
    pub refreshed_at: Option<DateTime<Utc>>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Give out the value of this phase.
    Publish(u8),
    /// Write down that the value of this phase is live.
    NotePublished(u8),
    /// Tell the consumers.
    BeginRefresh,
    /// Ask: how far are the consumers?
    LookAtRefresh,
    /// Nothing more to do.
    Close(Outcome, String),
    /// Nothing can be done now.
    Wait(Waiting, String),
}

impl Step {
    /// Whether it changes something, and does not only look or wait.
    pub const fn acts(&self) -> bool {
        !matches!(self, Self::LookAtRefresh | Self::Wait(..))
    }
}

/// The next step of an open rotation of keys. Pure.
pub fn next_step(observed: &Observed, now: DateTime<Utc>) -> Step {
    let incident = observed.purpose != Purpose::Rotation;
    let Some(live) = observed.live else {
        return Step::Close(Outcome::Superseded, "somebody wrote another key; it stays".to_owned());
    };
    // A key that is known to others is accepted no longer, from the first value on: whoever was logged in must log in again.
    if incident && live < ALONE {
        return Step::Publish(ALONE);
    }
    if live == 0 {
        return Step::Publish(ACCEPTED);
    }
    let Some(published_at) = observed.published_at.filter(|_| observed.noted == live) else { return Step::NotePublished(live) };
    match &observed.refresh {
        Refresh::NotBegun => return Step::BeginRefresh,
        Refresh::Begun => return Step::LookAtRefresh,
        Refresh::UnderWay => return Step::Wait(Waiting::Consumers, "consumers are being refreshed".to_owned()),
        Refresh::Failed(why) => return Step::Wait(Waiting::Person, why.clone()),
        Refresh::Done => {}
    }
    if live == ALONE {
        return Step::Close(Outcome::Done, "the new key signs, and the old one is accepted no longer".to_owned());
    }
    let told = observed.refreshed_at.unwrap_or(now).max(published_at + observed.settle);
    // What the last consumer signed with the old key, a moment before it was told, is valid for so long.
    let next_at = if live == SIGNS { told + observed.lifetime } else { told };
    if now < next_at {
        return Step::Wait(Waiting::Time, format!("the next value is given out at {}", next_at.format("%Y-%m-%d %H:%M UTC")));
    }
    Step::Publish(live + 1)
}

/// Rotates keys, as far as one invocation gets.
///
/// # Errors
/// When something could not be done or seen. Calling again goes on from what is there.
pub async fn rotate<H: KeyHands>(hands: &mut H, target: &Target, ask: &Ask) -> Result<Run<Step>, Failure> {
    let mut run = Run::default();
    let journal = match found(hands, ask, &mut run).await? {
        Found::Nothing => return Ok(run),
        Found::Open(journal) => journal,
        Found::ToBegin { last, rotation, purpose } => {
            let live = hands.live(last.as_ref().and_then(|last| last.published_version.as_deref())).await?;
            let journal = Journal::new(hands, &target.secret, rotation, purpose, live.version, live.sign)?;
            hands.write_journal(&journal).await?;
            journal
        }
    };
    go_on(hands, target, journal, &mut run).await?;
    Ok(run)
}

async fn go_on<H: KeyHands>(hands: &mut H, target: &Target, mut journal: Journal, run: &mut Run<Step>) -> Result<(), Failure> {
    let missing = || Failure::new(FailureKind::Corrupt, "the open journal lacks its keys");
    let new = journal.pending.clone().ok_or_else(missing)?.0;
    let old = journal.previous.clone().ok_or_else(missing)?.0;
    let mut live = hands.live(journal.published_version.as_deref()).await?;
    let mut looked: Option<Refresh> = None;
    for _ in 0..STEPS_MAX {
        let observed = Observed {
            purpose: journal.purpose,
            live: hands.phase(&old, &new),
            noted: journal.phase,
            published_at: journal.published_at,
            refresh: journal.refresh(looked.as_ref()),
            settle: target.settle,
            lifetime: target.lifetime,
            refreshed_at: journal.refreshed_at,
        };
        let step =
            if hands.has_time() { next_step(&observed, hands.now()) } else { Step::Wait(Waiting::Time, "the invocation's time is over".to_owned()) };
        run.steps.push(step.clone());
        match step {
            Step::Publish(phase) => {
                let published = hands.publish(phase, &old, &new, &journal.rotation).await?;
                if published.overtaken {
                    run.overtaken = Some(published.version.clone());
                }
                live = hands.live(Some(&published.version)).await?;
            }
            Step::NotePublished(phase) => {
                journal.phase = phase;
                journal.published_at = Some(hands.now());
                journal.published_version = Some(live.version.clone());
                journal.refreshes.clear();
                journal.refreshed_at = None;
                looked = None;
                hands.write_journal(&journal).await?;
            }
            Step::BeginRefresh => journal.begin_refresh(hands).await?,
            Step::LookAtRefresh => looked = Some(journal.look_at_refresh(hands).await?),
            Step::Close(outcome, reason) => {
                run.progress = Progress::Ended(close(hands, &mut journal, outcome, reason).await?);
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
