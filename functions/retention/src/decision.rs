//! A decision, and its reason in words. Pure.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::model::{Observed, Place, What};
use crate::policy::Rule;

/// What is done with a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is deleted.
    Delete,
    /// It stays.
    Keep,
}

impl Action {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Keep => "keep",
        }
    }
}

/// Why a backup is kept or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    // Kept, whatever the policy says.
    /// Its name or its tags are not ours.
    NotOurs,
    /// It is no copy that Lifeboat made.
    StrangeCopy,
    /// Somebody marked it.
    KeepClass,
    /// Its class names no policy.
    UnknownClass,
    /// RDS is at work on it.
    Changing,
    /// A place of the snapshots could not be read.
    PlaceUnread(Place),
    /// The newest good one, by its slot.
    NewestGood,
    /// The good one that was made last.
    MadeLast,
    /// One of the newest good ones, of which so many are always kept.
    Floor(usize),
    // Kept by the policy.
    /// The newest of a period.
    Newest(Rule, DateTime<Utc>),
    /// One of the last so many.
    OneOfLast(u32),
    /// The newest of a period that nobody has verified yet.
    NewestUnverified(Rule, DateTime<Utc>),
    // Kept for the copies.
    /// What the newest copy there was made from.
    SourceOfNewest(Place),
    /// A copy to there is under way.
    BeingCopied(Place),
    /// Its copy there is promised and not available.
    CopyMissing(Place),
    /// What it was made from still stands, and would be copied again.
    SourceStands(Place),
    // Not good, and kept all the same.
    /// There is no good one.
    NoGoodOne,
    /// It is not older than the newest good one.
    NotOlder,
    /// There are only so many good ones, fewer than this.
    BelowFloor(usize, usize),
    /// Something in it changed within a day.
    ChangedLately,
    // To be deleted, but not now.
    /// A run deletes so many at most.
    PutOff(usize),
    // Deleted.
    /// No rule keeps it; so many newer good ones are there.
    NoRule(usize),
    /// It failed or is damaged; so many good ones are there.
    NotGood(usize),
    /// Nobody finished it; so many good ones are there.
    Unfinished(usize),
    /// Its deletion was begun.
    HalfDeleted,
}

/// What is done with one backup, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Which.
    pub what: What<'a>,
    /// What is done.
    pub action: Action,
    /// Why.
    pub why: Why,
}

impl Decision<'_> {
    /// The reason for a person: `kept: newest of week 2026-W47`.
    pub fn reason(&self, observed: &Observed) -> String {
        let verb = match self.action {
            Action::Delete => "deleted",
            Action::Keep => "kept",
        };
        format!("{verb}: {}", Reason { why: self.why, observed })
    }
}

struct Reason<'a> {
    why: Why,
    observed: &'a Observed,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place| self.observed.place_name(place);
        match self.why {
            Why::NotOurs => to.write_str("not ours, by its name or its tags"),
            Why::StrangeCopy => to.write_str("it is not a copy that Lifeboat made"),
            Why::KeepClass => to.write_str("its tag lifeboat:expiry-class is `keep`, or is missing"),
            Why::UnknownClass => to.write_str("its tag lifeboat:expiry-class names no policy"),
            Why::Changing => to.write_str("it is being made, copied or deleted"),
            Why::PlaceUnread(unread) => write!(to, "the snapshots in {} could not be read, so its copies are not known", place(unread)),
            Why::NewestGood => to.write_str("the newest good one"),
            Why::MadeLast => to.write_str("the good one that was made last, though not for the newest slot"),
            Why::Floor(floor) => write!(to, "one of the {floor} newest good ones (floor)"),
            Why::Newest(rule, slot) => write!(to, "newest of {}", rule.label(slot)),
            Why::OneOfLast(count) => write!(to, "one of the last {count}"),
            Why::NewestUnverified(rule, slot) => write!(to, "newest of {} that is not verified yet", rule.label(slot)),
            Why::SourceOfNewest(at) => write!(to, "the newest copy in {} was made from it", place(at)),
            Why::BeingCopied(at) => write!(to, "its copy to {} is under way", place(at)),
            Why::CopyMissing(at) => write!(to, "its copy in {} is promised and not available", place(at)),
            Why::SourceStands(at) => write!(to, "what it was copied from is still in {}, and would be copied again", place(at)),
            Why::NoGoodOne => to.write_str("there is no good one beside it"),
            Why::NotOlder => to.write_str("not older than the newest good one"),
            Why::BelowFloor(good, floor) => write!(to, "only {good} good, fewer than the floor of {floor}: nothing is deleted"),
            Why::ChangedLately => to.write_str("incomplete, and something in it changed within 24 hours"),
            Why::PutOff(max) => write!(to, "to be deleted by a later run: a run deletes {max} at most, the oldest first"),
            Why::NoRule(newer) => write!(to, "no rule keeps it; {newer} newer good ones"),
            Why::NotGood(good) => write!(to, "failed or damaged, and older than the newest of {good} good ones"),
            Why::Unfinished(good) => write!(to, "never finished, and older than the newest of {good} good ones"),
            Why::HalfDeleted => to.write_str("the rest of one whose deletion was begun"),
        }
    }
}
