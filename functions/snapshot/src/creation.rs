//! Which snapshot is to be made, if any. Pure.
//!
//! The same wish has the same id, so that whoever comes second finds what the first one made. A failed snapshot keeps its id until somebody deletes
//! it: the next attempt has an id of its own.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use shared::finding::{Finding, FindingKind};
use shared::snapshot::{COPY_TO, CREATED_BY, GIT_SHA, INSTANCE, KIND, Kind, Owner, Purpose, RELEASE, REQUEST_ID, STAGE, tag_value};

use crate::config::Promise;
use crate::observed::{Instance, Observed, Snapshot, Status, effective_at};
use crate::plan::{Step, What};
use crate::request::Wish;

/// How often one purpose is tried. Each failed attempt takes a place of the quota.
pub const ATTEMPTS_MAX: u32 = 3;
/// After so many failed ones since the last good one, only the schedule itself tries again.
const FAILED_MAX: usize = 6;

/// The step that makes a snapshot, or why it has to wait; nothing when nothing is missing.
pub fn steps(observed: &Observed, promise: &Promise, wish: &Wish, now: DateTime<Utc>) -> Vec<Step> {
    match wish {
        Wish::Daily(slot) => attempt(observed, promise, &Purpose::Daily(*slot), *slot, BTreeMap::new(), "the schedule asks for it".to_owned()),
        Wish::PreDeploy { request_id, release, git_sha } => {
            let more = [(RELEASE, release), (GIT_SHA, git_sha)];
            let more = more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), tag_value(value.as_deref()?)))).collect();
            let purpose = Purpose::PreDeploy(request_id.clone());
            attempt(observed, promise, &purpose, now.trunc_subsecs(0), more, "a pipeline asks for it before it deploys".to_owned())
        }
        Wish::Reconcile => match missed(observed, promise, now) {
            Some((slot, why)) => attempt(observed, promise, &Purpose::Daily(slot), slot, BTreeMap::new(), why),
            None => Vec::new(),
        },
    }
}

/// The slot of a daily snapshot that is missing, and why it is.
fn missed(observed: &Observed, promise: &Promise, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
    let daily: Vec<_> = observed.own(&promise.owner).into_iter().filter(|(_, owned)| owned.kind == Kind::Daily).collect();
    let at = |status: &[Status]| {
        let of_status = daily.iter().filter(|(snapshot, _)| status.contains(&snapshot.status));
        of_status.map(|(snapshot, owned)| (effective_at(snapshot, owned.slot, now), owned.slot)).collect::<Vec<_>>()
    };
    let newest = at(&[Status::Available, Status::UnderWay]).into_iter().max();
    let is_after_newest = |at: DateTime<Utc>| newest.is_none_or(|(newest, _)| at > newest);
    let failed: Vec<_> = at(&[Status::Failed]).into_iter().filter(|(at, _)| is_after_newest(*at)).collect();
    if failed.len() >= FAILED_MAX {
        return None;
    }
    if let Some((_, slot)) = failed.iter().max().filter(|(at, _)| now - *at <= promise.snapshot_age_max) {
        let attempts = failed.iter().filter(|(_, failed)| failed == slot).count();
        if attempts < ATTEMPTS_MAX as usize {
            return Some((*slot, format!("{attempts} of its snapshots failed")));
        }
    }
    let hours = |age: TimeDelta| age.num_minutes() / 60;
    let why = match newest {
        None => "there is no daily snapshot yet".to_owned(),
        Some((at, _)) if now - at > promise.snapshot_age_max => {
            format!("the newest daily snapshot is {} h old, {} h are promised", hours(now - at), hours(promise.snapshot_age_max))
        }
        Some(_) => return None,
    };
    // Whoever looks again within the hour finds the same slot.
    Some((now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now), why))
}

/// The next attempt for a purpose, unless one is there or under way.
fn attempt(observed: &Observed, promise: &Promise, purpose: &Purpose, slot: DateTime<Utc>, more: BTreeMap<String, String>, why: String) -> Vec<Step> {
    let owner = &promise.owner;
    let mut tags = owner.tags(purpose, slot);
    tags.extend(more);
    let names: Vec<String> = promise.destinations.hops.iter().map(shared::destination::Hop::name).collect();
    if !names.is_empty() {
        tags.insert(COPY_TO.to_owned(), names.join(" "));
    }
    let mut steps = Vec::new();
    let mut next = 1;
    for number in 1..=ATTEMPTS_MAX {
        let id = owner.id(purpose, number);
        let Some(seen) = observed.find(0, &id) else { continue };
        next = number + 1;
        if !is_the_same(&tags, &seen.tags) {
            steps.push(Step::wait_because(taken(&id)));
        } else if matches!(seen.status, Status::Available | Status::UnderWay) {
            steps.push(Step::wait(id, format!("it is there already ({})", seen.status_word)));
            return steps;
        }
    }
    let id = owner.id(purpose, next);
    match observed.instance.as_ref() {
        _ if next > ATTEMPTS_MAX => {
            steps.push(Step::wait(owner.id(purpose, 1), format!("{ATTEMPTS_MAX} attempts have not made it: somebody must look")));
        }
        None => steps.push(Step::wait_because(instance_missing(owner))),
        Some(instance) if !can_be_snapshotted(instance) => steps.push(Step::wait_because(not_available(instance))),
        Some(_) => steps.push(Step::new(What::Create { id, tags }, why)),
    }
    steps
}

/// The snapshot of a wish, if one is there: the newest attempt.
pub fn of_purpose<'a>(observed: &'a Observed, owner: &Owner, purpose: &Purpose) -> Option<&'a Snapshot> {
    let tags = owner.tags(purpose, DateTime::UNIX_EPOCH);
    let attempts = (1..=ATTEMPTS_MAX).rev().filter_map(|number| observed.find(0, &owner.id(purpose, number)));
    attempts.into_iter().find(|seen| is_the_same(&tags, &seen.tags))
}

/// Whether a snapshot that has the id is the one that was meant: ours, and of the same purpose; the id says the rest.
pub fn is_the_same(meant: &BTreeMap<String, String>, seen: &BTreeMap<String, String>) -> bool {
    [CREATED_BY, STAGE, INSTANCE, KIND, REQUEST_ID, shared::snapshot::COPY_OF].iter().all(|name| meant.get(*name) == seen.get(*name))
}

/// The states in which RDS takes a snapshot (API reference, CreateDBSnapshot).
fn can_be_snapshotted(instance: &Instance) -> bool {
    matches!(instance.status.as_str(), "available" | "storage-optimization")
}

/// There is something else of that id.
pub fn taken(id: &str) -> Finding {
    Finding::new(FindingKind::SnapshotIdTaken, id, "a snapshot of that id is there, and is not the one that was meant: its tags are others")
        .hint("look whose it is; rename what it is for, or delete it by hand: Lifeboat touches nothing that it did not make")
}

/// There is nothing to make a snapshot of.
pub fn instance_missing(owner: &Owner) -> Finding {
    Finding::new(FindingKind::InstanceMissing, &owner.instance, "there is no RDS instance of this name in the region of the stack")
        .hint("if it was renamed or restored under another name, set the stack's parameter Instance; if it was deleted, restore it")
}

fn not_available(instance: &Instance) -> Finding {
    let hint = match instance.status.as_str() {
        "stopped" | "stopping" => "start the instance: of a stopped one no snapshot is made",
        "storage-full" => "give the instance more storage at once: PostgreSQL has stopped writing",
        _ => "nothing, if it passes: the next run tries again",
    };
    Finding::new(FindingKind::InstanceNotAvailable, &instance.id, format!("its status is {}", instance.status)).expected("available").hint(hint)
}
