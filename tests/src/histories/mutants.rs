//! Planners that are wrong in one way each: the real one, given something false to see, or its decisions changed on the way out. A check that lets one of
//! them pass checks nothing.

use retention::decision::{Action, Decision, Why};
use retention::model::{Observed, Place, State, Status, What};
use retention::plan::{Limits, Policies, plan};
use shared::snapshot::EXPIRY_CLASS_KEEP;

use super::world::DAY;

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The floor is one too low.
    FloorOneLow,
    /// The newest good one is not kept for its own sake, nor is the one made last.
    NewestGoes,
    /// The one made last goes when its slot is not the newest.
    MadeLastGoes,
    /// Nobody's verification is asked for.
    UnverifiedIsGood,
    /// Failed snapshots and damaged archives are good.
    BadIsGood,
    /// Tags make a snapshot ours, whatever its name.
    TagsAreEnough,
    /// `keep` is a class like any other.
    KeepIgnored,
    /// A class that is not known falls under the kind's policy.
    UnknownClassIgnored,
    /// What is being made is as good as failed.
    ChangingIsFailed,
    /// A promised copy need not be there.
    PromiseIgnored,
    /// A copy that failed is a copy.
    FailedCopyCounts,
    /// What the newest copy came from goes.
    SourceOfNewestGoes,
    /// A copy goes before its source, and is made again.
    CopyBeforeSource,
    /// A place that could not be read is one without snapshots.
    UnreadIsEmpty,
    /// What is not good goes although it is newer than all that is.
    NewerBadGoes,
    /// What is not good goes although too few are.
    BelowFloorGoes,
    /// An archive in the making goes.
    FreshIncompleteGoes,
    /// A run deletes as much as there is.
    NoMaximum,
    /// A run deletes one too many.
    MaximumOneHigh,
    /// The newest goes first.
    NewestFirst,
    /// The monthly rule is forgotten.
    MonthsForgotten,
    /// Age decides: what is older than 30 days goes.
    AgeDecides,
    /// Of two in a period, the older one stays.
    OlderOfPeriodStays,
    /// Nothing is ever deleted.
    NeverDeletes,
    /// Copies are never deleted.
    CopiesNeverGo,
    /// What nobody finished is never deleted.
    UnfinishedNeverGoes,
    /// The order in which backups are seen decides something.
    OrderDecides,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::FloorOneLow,
        Self::NewestGoes,
        Self::MadeLastGoes,
        Self::UnverifiedIsGood,
        Self::BadIsGood,
        Self::TagsAreEnough,
        Self::KeepIgnored,
        Self::UnknownClassIgnored,
        Self::ChangingIsFailed,
        Self::PromiseIgnored,
        Self::FailedCopyCounts,
        Self::SourceOfNewestGoes,
        Self::CopyBeforeSource,
        Self::UnreadIsEmpty,
        Self::NewerBadGoes,
        Self::BelowFloorGoes,
        Self::FreshIncompleteGoes,
        Self::NoMaximum,
        Self::MaximumOneHigh,
        Self::NewestFirst,
        Self::MonthsForgotten,
        Self::AgeDecides,
        Self::OlderOfPeriodStays,
        Self::NeverDeletes,
        Self::CopiesNeverGo,
        Self::UnfinishedNeverGoes,
        Self::OrderDecides,
    ];
}

/// Plans as the mutant does; without one, as retention does.
pub fn plan_as<'a>(
    mutant: Option<Mutant>,
    seen: &'a Observed,
    disturbed: &'a mut Observed,
    policies: &Policies,
    limits: &Limits,
) -> Vec<Decision<'a>> {
    let Some(mutant) = mutant else { return plan(seen, policies, limits) };
    disturbed.clone_from(seen);
    disturb(mutant, disturbed);
    let (mut policies, mut limits) = (*policies, *limits);
    match mutant {
        Mutant::FloorOneLow => limits.floor -= 1,
        Mutant::NoMaximum | Mutant::NewestFirst => limits.deletions_max = usize::MAX,
        Mutant::MaximumOneHigh => limits.deletions_max += 1,
        Mutant::MonthsForgotten => {
            for policy in [&mut policies.daily, &mut policies.pre_deploy, &mut policies.copies, &mut policies.archives] {
                let rest: Vec<String> = policy.to_string().split(',').filter(|part| !part.starts_with("monthly")).map(str::to_owned).collect();
                *policy = rest.join(",").parse().unwrap_or(*policy);
            }
        }
        _ => {}
    }
    let max = limits.deletions_max;
    let mut decisions = plan(disturbed, &policies, &limits);
    let deletes = |decision: &Decision<'_>| decision.action == Action::Delete;
    for decision in &mut decisions {
        if goes(mutant, decision, &limits) {
            decision.action = Action::Delete;
        }
        let is_kept = match mutant {
            Mutant::NeverDeletes => true,
            Mutant::CopiesNeverGo => matches!(decision.what.place(), Place::Hop(_)),
            Mutant::UnfinishedNeverGoes => matches!(decision.what, What::Archive(archive) if matches!(archive.state, State::Incomplete { .. })),
            _ => false,
        };
        if is_kept {
            decision.action = Action::Keep;
        }
    }
    decisions.sort_by_key(|decision| decision.action);
    let (first, count) = (decisions.first().map(|decision| decision.why), decisions.iter().filter(|decision| deletes(decision)).count());
    match mutant {
        Mutant::NewestFirst if count > 0 => {
            decisions[..count].reverse();
            decisions.iter_mut().skip(max.min(1)).take(count - 1).for_each(|decision| decision.action = Action::Keep);
        }
        Mutant::OrderDecides
            if count > 1 && first.is_some() && seen.snapshots.first().map(|one| &one.id) > seen.snapshots.last().map(|one| &one.id) =>
        {
            decisions[0].action = Action::Keep;
        }
        // Within what a run may, so that nothing but the mistake itself is found.
        Mutant::NoMaximum => {}
        _ => decisions.iter_mut().take(count).skip(max).for_each(|decision| decision.action = Action::Keep),
    }
    decisions
}

/// What the mutant sees instead.
fn disturb(mutant: Mutant, seen: &mut Observed) {
    if mutant == Mutant::UnreadIsEmpty {
        seen.unread.clear();
    }
    for snapshot in &mut seen.snapshots {
        match mutant {
            Mutant::BadIsGood if snapshot.status == Status::Failed => snapshot.status = Status::Available,
            Mutant::FailedCopyCounts if snapshot.status == Status::Failed && snapshot.place != Place::Home => snapshot.status = Status::Available,
            Mutant::ChangingIsFailed if snapshot.status == Status::Changing => snapshot.status = Status::Failed,
            _ => {}
        }
        let Some(owned) = &mut snapshot.owned else { continue };
        match mutant {
            Mutant::KeepIgnored if owned.expiry_class == EXPIRY_CLASS_KEEP => owned.kind.name().clone_into(&mut owned.expiry_class),
            Mutant::UnknownClassIgnored if owned.expiry_class == "forever" => owned.kind.name().clone_into(&mut owned.expiry_class),
            Mutant::PromiseIgnored => owned.copy_to.clear(),
            _ => {}
        }
    }
    for archive in &mut seen.archives {
        match (mutant, archive.state) {
            (Mutant::UnverifiedIsGood, State::Unverified) | (Mutant::BadIsGood, State::Bad) => archive.state = State::Good,
            _ => {}
        }
    }
    if mutant == Mutant::OlderOfPeriodStays {
        // Each day runs backwards, so the older of two in it looks newer.
        for archive in &mut seen.archives {
            let of_day = archive.key.slot.timestamp().rem_euclid(DAY);
            archive.key.slot += chrono::TimeDelta::seconds(DAY - 1 - 2 * of_day);
        }
    }
}

/// What the mutant deletes though the planner keeps it.
fn goes(mutant: Mutant, decision: &Decision<'_>, limits: &Limits) -> bool {
    match (mutant, decision.why) {
        (Mutant::NewestGoes, Why::NewestGood)
        | (Mutant::MadeLastGoes, Why::MadeLast)
        | (Mutant::SourceOfNewestGoes, Why::SourceOfNewest(_))
        | (Mutant::CopyBeforeSource, Why::SourceStands(_))
        | (Mutant::NewerBadGoes, Why::NotOlder)
        | (Mutant::BelowFloorGoes, Why::BelowFloor(..))
        | (Mutant::FreshIncompleteGoes, Why::ChangedLately) => true,
        (Mutant::TagsAreEnough, Why::NotOurs) => matches!(decision.what, What::Snapshot(snapshot) if snapshot.id.starts_with("my-copy")),
        (Mutant::AgeDecides, why) => {
            let made_at = match decision.what {
                What::Snapshot(snapshot) => snapshot.created_at.filter(|_| snapshot.owned.is_some()),
                What::Archive(archive) => Some(archive.written_at),
            };
            made_at.is_some_and(|made_at| limits.now - made_at > chrono::TimeDelta::days(30)) && why != Why::KeepClass
        }
        _ => false,
    }
}
