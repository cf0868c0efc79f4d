//! What is wrong with the snapshots and the copies that there are: pure. What has to wait, and why, the plan says.

use chrono::{DateTime, Utc};
use shared::finding::{Finding, FindingKind};
use shared::human::duration;
use shared::snapshot::Kind;

use crate::config::Promise;
use crate::observed::{Observed, Quota, Snapshot, Status, effective_at};
use crate::plan::{Step, What};

/// What is wrong, given what is going to be done about it.
pub fn judge(observed: &Observed, promise: &Promise, steps: &[Step], now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = failed(observed, promise, now);
    let said = steps.iter().filter_map(|step| step.finding.as_ref()).any(|finding| finding.kind == FindingKind::InstanceMissing);
    if observed.instance.is_none() && !said {
        findings.push(crate::creation::instance_missing(&promise.owner));
    }
    findings.extend(stale_snapshot(observed, promise, steps, now));
    findings.extend((0..promise.destinations.hops.len()).filter_map(|index| stale_copy(observed, promise, index, now)));
    let names = std::iter::once(promise.home.clone()).chain(promise.destinations.hops.iter().map(shared::destination::Hop::name));
    findings.extend(names.zip(&observed.quotas).filter_map(|(name, quota)| full(&name, (*quota)?)));
    findings.extend(observed.keys.iter().filter_map(crate::posture::judge_key));
    findings
}

/// Failed snapshots that no good one has followed.
fn failed(observed: &Observed, promise: &Promise, now: DateTime<Utc>) -> Vec<Finding> {
    let own = observed.own(&promise.owner);
    let is_followed = |kind: Kind, at: DateTime<Utc>, snapshot: &Snapshot| {
        own.iter().any(|(other, owned)| {
            // A pipeline's request is its own: another's snapshot is no substitute.
            let is_same = kind == Kind::Daily || snapshot.tags.get(shared::snapshot::REQUEST_ID) == other.tags.get(shared::snapshot::REQUEST_ID);
            owned.kind == kind && is_same && other.status == Status::Available && effective_at(other, owned.slot, now) >= at
        })
    };
    let mut findings = Vec::new();
    for (snapshot, owned) in own.iter().filter(|(snapshot, _)| snapshot.status == Status::Failed) {
        if !is_followed(owned.kind, effective_at(snapshot, owned.slot, now), snapshot) {
            let seen = format!("RDS could not make the {} snapshot: its status is {}", owned.kind, snapshot.status_word);
            let hint = "see its event in RDS's console; up to three attempts are made, each with an id of its own; `retention` deletes the failed ones when a good one follows";
            findings.push(Finding::new(FindingKind::SnapshotFailed, &snapshot.id, seen).expected("available").hint(hint));
        }
    }
    findings
}

/// Whether the newest daily snapshot is too old, and no other is on its way.
fn stale_snapshot(observed: &Observed, promise: &Promise, steps: &[Step], now: DateTime<Utc>) -> Option<Finding> {
    let is_daily =
        |what: &What| matches!(what, What::Create { tags, .. } if tags.get(shared::snapshot::KIND).is_some_and(|kind| kind == Kind::Daily.name()));
    let newest = |status: &[Status]| {
        let daily =
            observed.own(&promise.owner).into_iter().filter(|(snapshot, owned)| owned.kind == Kind::Daily && status.contains(&snapshot.status));
        daily.map(|(snapshot, owned)| effective_at(snapshot, owned.slot, now)).max()
    };
    let is_fresh = |at: Option<DateTime<Utc>>| at.is_some_and(|at| now - at <= promise.snapshot_age_max);
    let good = newest(&[Status::Available]);
    if is_fresh(good) || is_fresh(newest(&[Status::UnderWay])) || steps.iter().any(|step| is_daily(&step.what)) {
        return None;
    }
    let seen = good.map_or_else(|| "there is no daily snapshot".to_owned(), |at| format!("the newest daily snapshot is {} old", duration(now - at)));
    let hint = "the other findings say what holds it up; the hourly run makes up for it";
    Some(
        Finding::new(FindingKind::SnapshotStale, &promise.owner.instance, seen)
            .expected(format!("at most {}", duration(promise.snapshot_age_max)))
            .hint(hint),
    )
}

/// Whether the newest copy of a daily snapshot is too old at a hop. Nothing is asked before the first promise is due.
fn stale_copy(observed: &Observed, promise: &Promise, index: usize, now: DateTime<Utc>) -> Option<Finding> {
    let name = promise.destinations.hops[index].name();
    let copies = observed.place(index + 1)?.iter().filter_map(|copy| Some((copy, copy.owned(&promise.owner)?)));
    let of_daily = copies.filter(|(copy, owned)| owned.kind == Kind::Daily && owned.copy_of.is_some() && copy.status == Status::Available);
    let newest = of_daily.map(|(copy, owned)| effective_at(copy, owned.slot, now)).max();
    let promised = observed.own(&promise.owner).into_iter().filter(|(_, owned)| owned.kind == Kind::Daily && owned.copy_to.contains(&name));
    let first_promise = promised.map(|(snapshot, owned)| effective_at(snapshot, owned.slot, now)).min()?;
    let is_old = |at: DateTime<Utc>| now - at > promise.copy_age_max;
    if !is_old(newest.unwrap_or(first_promise)) {
        return None;
    }
    let seen =
        newest.map_or_else(|| "there is no copy of a daily snapshot".to_owned(), |at| format!("the newest copy is of {} ago", duration(now - at)));
    let hint = "the other findings, and the lines `step` of the function's log, say what holds the copies up";
    Some(Finding::new(FindingKind::CopyStale, name, seen).expected(format!("at most {}", duration(promise.copy_age_max))).hint(hint))
}

/// Whether a place takes no further snapshot. That it soon will not, `retention` says.
fn full(name: &str, quota: Quota) -> Option<Finding> {
    let hint =
        "ask for a higher quota (Service Quotas, Amazon RDS, \"Manual DB instance snapshots\"), or keep fewer: the stack's parameters for retention";
    (quota.used >= quota.max).then(|| {
        Finding::new(FindingKind::SnapshotQuota, name, format!("all {} manual snapshots that the region allows are there", quota.max)).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::samples::{account_hop, now, observed, pre_deploy, promise, region_hop, snapshot};

    fn kinds(observed: &Observed, promise: &Promise) -> Vec<FindingKind> {
        judge(observed, promise, &[], now()).into_iter().map(|finding| finding.kind).collect()
    }

    fn hours(hours: i64) -> TimeDelta {
        TimeDelta::hours(hours)
    }

    #[test]
    fn a_snapshot_is_stale_when_it_is_older_than_promised_and_none_is_on_its_way() {
        let promise = promise(Vec::new());
        let at = |age: i64| snapshot("", now() - hours(age));
        assert_eq!(kinds(&observed(vec![at(26)], vec![]), &promise), []);
        assert_eq!(kinds(&observed(vec![at(27)], vec![]), &promise), [FindingKind::SnapshotStale]);
        assert_eq!(kinds(&observed(vec![], vec![]), &promise), [FindingKind::SnapshotStale]);
        assert_eq!(kinds(&observed(vec![at(27), at(1).with_status("creating")], vec![]), &promise), []);
        // A pipeline's is no daily one, and what a wrong clock dated ahead is as old as RDS says.
        assert_eq!(kinds(&observed(vec![at(27), pre_deploy("7", now())], vec![]), &promise), [FindingKind::SnapshotStale]);
        let mut ahead = snapshot("", now() - hours(27) + hours(48));
        (ahead.created_at, ahead.original_created_at) = (Some(now() - hours(27)), Some(now() - hours(27)));
        assert_eq!(kinds(&observed(vec![ahead], vec![]), &promise), [FindingKind::SnapshotStale]);
        let create = Step::new(What::Create { id: "x".to_owned(), tags: at(0).tags }, "");
        assert_eq!(judge(&observed(vec![], vec![]), &promise, &[create], now()), []);
    }

    #[test]
    fn a_failed_snapshot_is_named_until_a_good_one_follows() {
        let promise = promise(Vec::new());
        let failed = snapshot("", now() - hours(2)).with_status("failed");
        let before = snapshot("", now() - hours(24));
        assert_eq!(kinds(&observed(vec![before.clone(), failed.clone()], vec![]), &promise), [FindingKind::SnapshotFailed]);
        let after = snapshot("2", now() - hours(2));
        assert_eq!(kinds(&observed(vec![before.clone(), failed, after], vec![]), &promise), []);
        let (of_seven, of_eight) = (pre_deploy("7", now() - hours(2)).with_status("failed"), pre_deploy("8", now() - hours(1)));
        assert_eq!(kinds(&observed(vec![before, of_seven, of_eight], vec![]), &promise), [FindingKind::SnapshotFailed]);
    }

    #[test]
    fn a_copy_is_stale_in_each_place_for_itself() {
        let hops = [region_hop(), account_hop("eu-west-1")];
        let promise = promise(hops.to_vec());
        let (old, new) = (snapshot("", now() - hours(31)).promised(&hops), snapshot("", now() - hours(7)).promised(&hops));
        let here = || vec![old.clone(), new.clone()];
        let first = |copy: &Snapshot| copy.copied(&hops[0]);
        assert_eq!(kinds(&observed(here(), vec![vec![first(&new)], vec![first(&new).copied(&hops[1])]]), &promise), []);
        assert_eq!(kinds(&observed(here(), vec![vec![first(&new)], vec![first(&old).copied(&hops[1])]]), &promise), [FindingKind::CopyStale]);
        assert_eq!(kinds(&observed(here(), vec![vec![], vec![]]), &promise), [FindingKind::CopyStale, FindingKind::CopyStale]);
        // Promised a little while ago: not yet due.
        assert_eq!(kinds(&observed(vec![new], vec![vec![], vec![]]), &promise), []);
    }

    #[test]
    fn an_instance_that_is_gone_is_said_once_whatever_is_due() {
        let promise = promise(Vec::new());
        for at in [now(), now() - hours(27)] {
            let mut seen = observed(vec![snapshot("", at)], vec![]);
            seen.instance = None;
            let steps = crate::plan::plan(&seen, &promise, &crate::request::Wish::Reconcile, now());
            let planned = steps.iter().filter_map(|step| step.finding.clone());
            let found: Vec<_> = judge(&seen, &promise, &steps, now()).into_iter().chain(planned).map(|finding| finding.kind).collect();
            assert_eq!(found.iter().filter(|kind| **kind == FindingKind::InstanceMissing).count(), 1, "{found:?}");
        }
    }

    #[test]
    fn a_full_quota_is_said_with_its_place() {
        let promise = promise(vec![region_hop()]);
        let mut seen = observed(vec![snapshot("", now())], vec![vec![]]);
        seen.quotas = vec![Some(Quota { used: 99, max: 100 }), Some(Quota { used: 100, max: 100 })];
        let findings = judge(&seen, &promise, &[], now());
        assert_eq!(
            findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect::<Vec<_>>(),
            [(FindingKind::SnapshotQuota, "eu-west-1")]
        );
    }
}
