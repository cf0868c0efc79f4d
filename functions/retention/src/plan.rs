//! What is kept and what is deleted, each with its reason: pure, and the same for the same backups, in whatever order they were seen.
//!
//! Every rule finds reasons to keep; only what no rule keeps is deleted. `now` is used for one thing: whether an archive without a manifest was left alone for
//! a day. How old a backup is decides nothing.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use shared::snapshot::{EXPIRY_CLASS_KEEP, Kind};

use crate::chain;
use crate::decision::{Action, Decision, Why};
use crate::model::{Archive, Observed, Place, Snapshot, Sort, State, Status, What};
use crate::policy::{Policy, Rule};

/// An incomplete archive that something was written to within this time may belong to a run that is still at work.
const LEFT_ALONE: TimeDelta = TimeDelta::hours(24);

/// The operator's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// Daily snapshots at home.
    pub daily: Policy,
    /// Snapshots before deployments, at home.
    pub pre_deploy: Policy,
    /// Copies of either, each kind for itself.
    pub copies: Policy,
    /// Archives of each database, in the bucket and in its replica.
    pub archives: Policy,
}

impl Policies {
    fn of(&self, place: Place, class: Sort<'_>) -> Option<&Policy> {
        match (place, class) {
            (_, Sort::None) => None,
            (Place::Home, Sort::Kind(Kind::Daily)) => Some(&self.daily),
            (Place::Home, _) => Some(&self.pre_deploy),
            (Place::Hop(_), _) => Some(&self.copies),
            (Place::Bucket | Place::Replica, _) => Some(&self.archives),
        }
    }
}

/// What bounds every run, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many of the newest good backups of each sort are always kept.
    pub floor: usize,
    /// So many are deleted in a run.
    pub deletions_max: usize,
    /// The time.
    pub now: DateTime<Utc>,
}

/// How far a backup can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Good,
    Unverified,
    Bad,
    Incomplete {
        changed_at: DateTime<Utc>,
        was_deleted: bool,
    },
    /// It is neither counted nor deleted.
    Apart,
}

struct Candidate<'a> {
    what: What<'a>,
    /// What must not run out of good ones.
    sort: Sort<'a>,
    /// What the policy counts: the sort, unless somebody changed the tag.
    class: Sort<'a>,
    slot: DateTime<Utc>,
    made_at: DateTime<Utc>,
    quality: Quality,
    /// Why it is kept for the copies' sake, if no rule keeps it.
    hold: Option<Why>,
    /// Why it is kept.
    kept: Option<Why>,
    /// Newer good ones of its sort; for what is not good, all of them.
    good: usize,
}

/// Decides about everything that was seen. First what is deleted, in the order in which it is to be done; then what is kept, by place and sort, the newest first.
pub fn plan<'a>(observed: &'a Observed, policies: &Policies, limits: &Limits) -> Vec<Decision<'a>> {
    let links = chain::links(observed);
    let snapshots = observed.snapshots.iter().zip(&links).map(|(snapshot, link)| of_snapshot(snapshot, link, &observed.unread));
    let mut all: Vec<Candidate<'a>> = snapshots.chain(observed.archives.iter().map(of_archive)).collect();

    all.sort_unstable_by(|a, b| (a.what.place(), a.class).cmp(&(b.what.place(), b.class)).then_with(|| newest_first(a, b)));
    for class in all.chunk_by_mut(|a, b| (a.what.place(), a.class) == (b.what.place(), b.class)) {
        if let Some(policy) = policies.of(class[0].what.place(), class[0].class) {
            for rule in Rule::LONGEST_FIRST {
                keep_by_rule(class, rule, policy.count(rule));
            }
        }
    }
    all.sort_unstable_by(|a, b| (a.what.place(), a.sort).cmp(&(b.what.place(), b.sort)).then_with(|| newest_first(a, b)));
    for sort in all.chunk_by_mut(|a, b| (a.what.place(), a.sort) == (b.what.place(), b.sort)) {
        if sort[0].sort != Sort::None {
            keep_enough(sort, limits);
        }
    }
    decide(all, limits.deletions_max)
}

fn newest_first(a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    (b.slot, b.made_at, b.what.id()).cmp(&(a.slot, a.made_at, a.what.id()))
}

fn of_snapshot<'a>(snapshot: &'a Snapshot, link: &chain::Link, unread: &[Place]) -> Candidate<'a> {
    let slot = snapshot.owned.as_ref().map(|owned| owned.slot).or(snapshot.created_at).unwrap_or_default();
    let apart = |why| Candidate {
        what: What::Snapshot(snapshot),
        sort: Sort::None,
        class: Sort::None,
        slot,
        made_at: snapshot.created_at.unwrap_or(slot),
        quality: Quality::Apart,
        hold: None,
        kept: Some(why),
        good: 0,
    };
    let Some(owned) = &snapshot.owned else { return apart(Why::NotOurs) };
    let quality = match snapshot.status {
        _ if link.is_strange => return apart(Why::StrangeCopy),
        _ if owned.expiry_class == EXPIRY_CLASS_KEEP => return apart(Why::KeepClass),
        Status::Changing => return apart(Why::Changing),
        Status::Available => Quality::Good,
        Status::Failed => Quality::Bad,
    };
    let Ok(class) = owned.expiry_class.parse::<Kind>() else { return apart(Why::UnknownClass) };
    let is_snapshots = |place: &&Place| matches!(place, Place::Home | Place::Hop(_));
    let kept = unread.iter().find(is_snapshots).map(|place| Why::PlaceUnread(*place));
    Candidate { sort: Sort::Kind(owned.kind), class: Sort::Kind(class), quality, hold: link.hold, kept, ..apart(Why::NotOurs) }
}

fn of_archive(archive: &Archive) -> Candidate<'_> {
    let sort = Sort::Database(&archive.key.database);
    let quality = match archive.state {
        State::Good => Quality::Good,
        State::Unverified => Quality::Unverified,
        State::Bad => Quality::Bad,
        State::Incomplete { changed_at, was_deleted } => Quality::Incomplete { changed_at, was_deleted },
    };
    let (slot, made_at) = (archive.key.slot, archive.written_at);
    Candidate { what: What::Archive(archive), sort, class: sort, slot, made_at, quality, hold: None, kept: None, good: 0 }
}

impl Candidate<'_> {
    fn keep(&mut self, why: Why) {
        self.kept.get_or_insert(why);
    }
}

/// The newest of each of the last so many periods that have one. What nobody has verified never takes the place of a good one: it is kept beside it, as the
/// newest of its own in a period.
fn keep_by_rule(class: &mut [Candidate<'_>], rule: Rule, count: u32) {
    let mut good = Periods::new(count);
    let mut any = Periods::new(count);
    let mut unverified = None;
    for one in class {
        let period = rule.period(one.slot);
        match one.quality {
            Quality::Good => {
                any.is_among_the_last(period);
                if good.is_among_the_last(period) == Some(true) {
                    one.keep(if rule == Rule::Last { Why::OneOfLast(count) } else { Why::Newest(rule, one.slot) });
                }
            }
            Quality::Unverified => {
                let is_first = period.is_none() || unverified != Some(period);
                if any.is_among_the_last(period).is_some() && is_first {
                    one.keep(if rule == Rule::Last { Why::OneOfLast(count) } else { Why::NewestUnverified(rule, one.slot) });
                }
                unverified = Some(period);
            }
            Quality::Bad | Quality::Incomplete { .. } | Quality::Apart => {}
        }
    }
}

/// Counts distinct periods, from the newest on.
struct Periods {
    left: u32,
    last: Option<i64>,
    ended: bool,
}

impl Periods {
    fn new(count: u32) -> Self {
        Self { left: count, last: None, ended: count == 0 }
    }

    /// `None` beyond the last of them; else whether this is the first that was seen of its period.
    fn is_among_the_last(&mut self, period: Option<i64>) -> Option<bool> {
        if self.ended {
            return None;
        }
        if period.is_some() && period == self.last {
            return Some(false);
        }
        if self.left == 0 {
            self.ended = true;
            return None;
        }
        self.left -= 1;
        self.last = period;
        Some(true)
    }
}

/// The newest good ones of a sort, whatever the policy says; and of what is not good, all that is not safely behind a good one.
fn keep_enough(sort: &mut [Candidate<'_>], limits: &Limits) {
    let is_good = |one: &&Candidate<'_>| one.quality == Quality::Good;
    let good = sort.iter().filter(is_good).count();
    let newest = sort.iter().filter(is_good).map(|one| one.slot).max();
    let made_last = sort.iter().filter(is_good).map(|one| one.made_at).max();
    let mut newer = 0;
    for one in sort {
        one.good = good;
        if one.quality == Quality::Good {
            one.good = newer;
            newer += 1;
            // Stronger than a rule's reason.
            if one.good == 0 {
                one.kept = Some(Why::NewestGood);
            } else if one.good < limits.floor {
                one.keep(Why::Floor(limits.floor));
            } else if Some(one.made_at) == made_last {
                one.keep(Why::MadeLast);
            }
            if let Some(why) = one.hold {
                one.keep(why);
            }
            continue;
        }
        let is_older = newest.is_some_and(|newest| one.slot < newest) && made_last.is_some_and(|made_last| one.made_at < made_last);
        match one.quality {
            _ if good == 0 => one.keep(Why::NoGoodOne),
            _ if !is_older => one.keep(Why::NotOlder),
            _ if good < limits.floor => one.keep(Why::BelowFloor(good, limits.floor)),
            Quality::Incomplete { changed_at, was_deleted: false } if limits.now - changed_at < LEFT_ALONE => one.keep(Why::ChangedLately),
            _ => {}
        }
    }
}

/// What nothing keeps is deleted, the oldest first, as many as a run may.
fn decide(all: Vec<Candidate<'_>>, deletions_max: usize) -> Vec<Decision<'_>> {
    let (kept, mut deleted): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.kept.is_some());
    deleted.sort_unstable_by(|a, b| newest_first(b, a).then_with(|| (a.what.place(), a.sort).cmp(&(b.what.place(), b.sort))));
    let put_off = deleted.split_off(deletions_max.min(deleted.len()));
    let deletions = deleted.iter().map(|one| Decision { what: one.what, action: Action::Delete, why: why_deleted(one) });
    let later = put_off.iter().map(|one| Decision { what: one.what, action: Action::Keep, why: Why::PutOff(deletions_max) });
    let keeps = kept.iter().map(|one| Decision { what: one.what, action: Action::Keep, why: one.kept.unwrap_or(Why::NotOurs) });
    deletions.chain(later).chain(keeps).collect()
}

fn why_deleted(one: &Candidate<'_>) -> Why {
    match one.quality {
        Quality::Good | Quality::Unverified | Quality::Apart => Why::NoRule(one.good),
        Quality::Bad => Why::NotGood(one.good),
        Quality::Incomplete { was_deleted: true, .. } => Why::HalfDeleted,
        Quality::Incomplete { was_deleted: false, .. } => Why::Unfinished(one.good),
    }
}
