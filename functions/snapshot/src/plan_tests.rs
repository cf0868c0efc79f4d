//! The planner, on what it may see.

use chrono::{DateTime, TimeDelta, Utc};
use shared::destination::Hop;
use shared::finding::FindingKind;
use shared::snapshot::{COPIED_TO, COPY_OF, COPY_TO};

use crate::observed::{Observed, Snapshot};
use crate::plan::{Step, What, plan};
use crate::request::Wish;
use crate::samples::{HOME, OTHER_ACCOUNT, REGION, account_hop, now, observed, owner, pre_deploy, promise, region_hop, snapshot};

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

fn slot() -> DateTime<Utc> {
    "2026-11-23T03:00:00Z".parse().expect("a time")
}

fn daily(observed: &Observed, hops: &[Hop]) -> Vec<Step> {
    plan(observed, &promise(hops.to_vec()), &Wish::Daily(slot()), now())
}

fn reconcile(observed: &Observed, hops: &[Hop]) -> Vec<Step> {
    plan(observed, &promise(hops.to_vec()), &Wish::Reconcile, now())
}

/// The steps that change something: `create ID`, `copy ID from ARN`, …
fn changes(steps: &[Step]) -> Vec<String> {
    steps.iter().filter(|step| step.changes()).map(|step| format!("{} {}", step.what.action(), step.what)).collect()
}

fn actions(steps: &[Step]) -> Vec<&str> {
    steps.iter().filter(|step| step.changes()).map(|step| step.what.action()).collect()
}

fn findings(steps: &[Step]) -> Vec<FindingKind> {
    steps.iter().filter_map(|step| step.finding.as_ref()).map(|finding| finding.kind).collect()
}

fn noted(mut snapshot: Snapshot, hops: &[&Hop]) -> Snapshot {
    snapshot.tags.insert(COPIED_TO.to_owned(), hops.iter().map(|hop| hop.name()).collect::<Vec<_>>().join(" "));
    snapshot
}

fn under_way(mut copy: Snapshot) -> Snapshot {
    copy.percent = 7;
    copy.with_status("creating")
}

/// A fresh daily snapshot, so that a reconcile has only copies to think of.
fn fresh(hops: &[Hop]) -> Snapshot {
    snapshot("", now() - hours(2)).promised(hops)
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------------------------------------------------------

#[test]
fn the_schedule_makes_the_snapshot_of_its_slot_once() {
    let steps = daily(&observed(vec![], vec![]), &[]);
    assert_eq!(changes(&steps), ["create lifeboat-prod-app-db-daily-20261123t030000z"]);
    for word in ["creating", "available"] {
        assert_eq!(changes(&daily(&observed(vec![snapshot("", slot()).with_status(word)], vec![]), &[])), [""; 0], "{word}");
    }
}

#[test]
fn the_promise_of_copies_is_written_down_when_it_is_made() {
    let hops = [region_hop(), account_hop(REGION)];
    let steps = daily(&observed(vec![], vec![vec![], vec![]]), &hops);
    let Some(Step { what: What::Create { tags, .. }, .. }) = steps.first() else { panic!("{steps:?}") };
    assert_eq!(tags.get(COPY_TO).map(String::as_str), Some("eu-west-1 222222222222/eu-west-1"));
}

#[test]
fn a_failed_attempt_is_followed_by_the_next_until_there_were_three() {
    let failed = |attempt: &str| snapshot(attempt, slot()).with_status("failed");
    let next = |home: Vec<Snapshot>| changes(&daily(&observed(home, vec![]), &[]));
    assert_eq!(next(vec![failed("")]), ["create lifeboat-prod-app-db-daily-20261123t030000z-a2"]);
    // The first was deleted meanwhile: the second keeps its id.
    assert_eq!(next(vec![failed("2")]), ["create lifeboat-prod-app-db-daily-20261123t030000z-a3"]);
    assert_eq!(next(vec![failed(""), failed("2"), failed("3")]), [""; 0]);
    assert_eq!(next(vec![failed(""), snapshot("2", slot())]), [""; 0]);
}

#[test]
fn another_snapshot_of_that_id_is_named_and_left_alone() {
    let mut foreign = snapshot("", slot());
    foreign.tags.clear();
    let steps = daily(&observed(vec![foreign], vec![]), &[]);
    assert_eq!(findings(&steps), [FindingKind::SnapshotIdTaken]);
    assert_eq!(changes(&steps), ["create lifeboat-prod-app-db-daily-20261123t030000z-a2"]);
}

#[test]
fn an_instance_that_cannot_be_snapshotted_is_waited_for() {
    let mut seen = observed(vec![], vec![]);
    for (status, makes) in [("available", true), ("storage-optimization", true), ("stopped", false), ("backing-up", false), ("modifying", false)] {
        status.clone_into(&mut seen.instance.as_mut().expect("an instance").status);
        let steps = daily(&seen, &[]);
        assert_eq!(changes(&steps).len(), usize::from(makes), "{status}");
        assert_eq!(findings(&steps), if makes { vec![] } else { vec![FindingKind::InstanceNotAvailable] }, "{status}");
    }
    seen.instance = None;
    assert_eq!(findings(&daily(&seen, &[])), [FindingKind::InstanceMissing]);
}

#[test]
fn a_pipelines_request_has_its_own_snapshot_and_nothing_else_is_done_for_it() {
    let hops = [region_hop()];
    let wish = |id: &str| Wish::PreDeploy { request_id: id.to_owned(), release: Some("1.2.3".to_owned()), git_sha: None };
    let seen = observed(vec![pre_deploy("7", now()), fresh(&hops)], vec![vec![]]);
    assert_eq!(changes(&plan(&seen, &promise(hops.to_vec()), &wish("7"), now())), [""; 0]);
    assert_eq!(changes(&plan(&seen, &promise(hops.to_vec()), &wish("8"), now())), ["create lifeboat-prod-app-db-predeploy-8"]);
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Making up for what was missed
// ---------------------------------------------------------------------------------------------------------------------------------------------

#[test]
fn what_the_schedule_missed_is_made_up_for_once_an_hour_at_most() {
    let made = |home: Vec<Snapshot>| changes(&reconcile(&observed(home, vec![]), &[]));
    assert_eq!(made(vec![snapshot("", now() - hours(26))]), [""; 0]);
    let late = "create lifeboat-prod-app-db-daily-20261123t030000z";
    assert_eq!(made(vec![snapshot("", now() - hours(27))]), [late]);
    assert_eq!(made(vec![]), [late]);
    assert_eq!(made(vec![pre_deploy("7", now())]), [late]);
    // Once it was begun, the next run finds it.
    assert_eq!(made(vec![snapshot("", now() - hours(27)), snapshot("", slot()).with_status("creating")]), [""; 0]);
}

#[test]
fn a_failed_one_is_tried_again_at_once_but_not_for_ever() {
    let failed = |attempt: &str, age: i64| snapshot(attempt, slot() - hours(age)).with_status("failed");
    let good = || snapshot("", slot() - hours(24));
    let made = |home: Vec<Snapshot>| changes(&reconcile(&observed(home, vec![]), &[]));
    assert_eq!(made(vec![good(), failed("", 1)]), ["create lifeboat-prod-app-db-daily-20261123t020000z-a2"]);
    // The attempts of the slot are used up, and yesterday's is not too old yet.
    let three = [failed("", 1), failed("2", 1), failed("3", 1)];
    assert_eq!(made([vec![good()], three.to_vec()].concat()), [""; 0]);
    // Without a good one a new slot is begun, and after six failed ones nothing: only the schedule goes on.
    assert_eq!(made(three.to_vec()), ["create lifeboat-prod-app-db-daily-20261123t030000z"]);
    let six = [three.to_vec(), vec![failed("", 2), failed("2", 2), failed("3", 2)]].concat();
    assert_eq!(made(six.clone()), [""; 0]);
    assert_eq!(changes(&daily(&observed(six, vec![]), &[])), ["create lifeboat-prod-app-db-daily-20261123t030000z"]);
    // A good one after the failed one: nothing is missing.
    assert_eq!(made(vec![failed("", 3), snapshot("", slot() - hours(2))]), [""; 0]);
}

#[test]
fn a_slot_in_the_future_blocks_nothing_and_repeats_nothing() {
    let mut ahead = snapshot("", now() + hours(48));
    (ahead.created_at, ahead.original_created_at) = (Some(now() - hours(30)), Some(now() - hours(30)));
    let made = |at| changes(&plan(&observed(vec![ahead.clone()], vec![]), &promise(vec![]), &Wish::Reconcile, at));
    assert_eq!(made(now()).len(), 1, "it is 30 hours old, whatever its name says");
    assert_eq!(made(now() + hours(48)).len(), 0, "the clock that named it is content with it");
    assert_eq!(made(now() - hours(48)).len(), 0, "a clock that is behind sees something new");
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Copying
// ---------------------------------------------------------------------------------------------------------------------------------------------

#[test]
fn a_copy_goes_from_hop_to_hop_until_it_is_written_down() {
    let hops = [region_hop(), account_hop(REGION)];
    let source = fresh(&hops);
    let (first, second) = (source.copied(&hops[0]), source.copied(&hops[0]).copied(&hops[1]));
    let step = |home: &Snapshot, at_first: Option<&Snapshot>, at_second: Option<&Snapshot>| {
        changes(&reconcile(
            &observed(vec![home.clone()], vec![at_first.into_iter().cloned().collect(), at_second.into_iter().cloned().collect()]),
            &hops,
        ))
    };
    let id = &source.id.clone();
    assert_eq!(step(&source.clone().with_status("creating"), None, None), [""; 0]);
    assert_eq!(step(&source, None, None), [format!("copy {id} from {}", source.arn)]);
    assert_eq!(step(&source, Some(&under_way(first.clone())), None), [""; 0]);
    let begins = [format!("share {id} with {OTHER_ACCOUNT}"), format!("copy {id} from {}", first.arn), format!("noteCopies {id}: eu-west-1")];
    assert_eq!(step(&source, Some(&first), None), begins);
    let source = noted(source, &[&hops[0]]);
    assert_eq!(step(&source, Some(&first.clone().shared_with(&[OTHER_ACCOUNT])), Some(&under_way(second.clone()))), [""; 0]);
    let ends = [format!("unshare {id} with {OTHER_ACCOUNT}"), format!("noteCopies {id}: eu-west-1 {OTHER_ACCOUNT}/eu-west-1")];
    assert_eq!(step(&source, Some(&first.clone().shared_with(&[OTHER_ACCOUNT])), Some(&second)), ends);
    // Not known with whom it is shared: it is not written down, or it would be forgotten.
    assert_eq!(step(&source, Some(&first), Some(&second)), [""; 0]);
    assert_eq!(step(&source, Some(&first.clone().shared_with(&[])), Some(&second)), ends[1..]);
    let source = noted(source, &[&hops[0], &hops[1]]);
    assert_eq!(step(&source, Some(&first), Some(&second)), [""; 0]);
    assert_eq!(step(&source, None, None), [""; 0], "what was good is not made again when its own policy has ended it");
}

#[test]
fn a_copy_on_the_way_that_is_gone_is_made_again_only_if_the_next_needs_it() {
    let hops = [region_hop(), account_hop(REGION)];
    let source = noted(fresh(&hops), &[&hops[0]]);
    let steps = reconcile(&observed(vec![source.clone()], vec![vec![], vec![]]), &hops);
    assert_eq!(changes(&steps), [format!("copy {} from {}", source.id, source.arn)]);
}

#[test]
fn in_one_region_the_account_copies_the_snapshot_itself() {
    let hops = [account_hop(HOME)];
    let source = fresh(&hops).shared_with(&[]);
    let steps = reconcile(&observed(vec![source.clone()], vec![vec![]]), &hops);
    assert_eq!(actions(&steps), ["share", "copy"]);
    let steps = reconcile(&observed(vec![source.shared_with(&[OTHER_ACCOUNT])], vec![vec![]]), &hops);
    assert_eq!(actions(&steps), ["copy"], "it is shared already");
}

#[test]
fn a_copy_says_what_it_is_a_copy_of() {
    let hops = [region_hop()];
    let source = fresh(&hops);
    let steps = reconcile(&observed(vec![source.clone()], vec![vec![]]), &hops);
    let Some(Step { what: What::Copy { id, source_encrypted, tags, .. }, .. }) = steps.first() else { panic!("{steps:?}") };
    assert_eq!((id, *source_encrypted, tags.get(COPY_OF)), (&source.id, true, Some(&source.arn)));
    assert!(owner().read(id, tags).is_some_and(|owned| owned.copy_of.is_some()));
}

#[test]
fn what_was_not_promised_or_is_promised_no_more_is_not_copied() {
    let hops = [region_hop()];
    let steps = |source: Snapshot| {
        let all = changes(&reconcile(&observed(vec![source], vec![vec![]]), &hops));
        all.into_iter().filter(|step| !step.starts_with("create")).collect::<Vec<_>>()
    };
    assert_eq!(steps(fresh(&[])), [""; 0]);
    assert_eq!(steps(fresh(&[account_hop(HOME)])), [""; 0]);
    assert_eq!(steps(fresh(&hops).with_status("deleting")), [""; 0]);
    let mut foreign = fresh(&hops);
    foreign.tags.remove(shared::snapshot::CREATED_BY);
    assert_eq!(steps(foreign), [""; 0]);
}

#[test]
fn the_copies_of_all_count_for_the_limit() {
    let hops = [region_hop()];
    let sources: Vec<Snapshot> = (1..=5).map(|age| snapshot("", now() - hours(age)).promised(&hops)).collect();
    let mut foreign = under_way(sources[0].copied(&hops[0]));
    foreign.id = "somebody-elses".to_owned();
    foreign.tags.clear();
    let mut promise = promise(hops.to_vec());
    promise.copies_in_progress_max = 3;
    let steps = plan(&observed(sources.clone(), vec![vec![foreign]]), &promise, &Wish::Reconcile, now());
    // The oldest first, so that what was missed is made up for in order.
    assert_eq!(changes(&steps), [4, 3].map(|index| format!("copy {} from {}", sources[index].id, sources[index].arn)));
    assert_eq!(findings(&steps), [FindingKind::CopyWaits; 3]);
}

#[test]
fn a_bad_copy_is_named_and_never_replaced() {
    let hops = [region_hop()];
    let source = fresh(&hops);
    let judged = |copy: Snapshot| {
        let steps = reconcile(&observed(vec![source.clone()], vec![vec![copy]]), &hops);
        assert_eq!(changes(&steps), [""; 0]);
        findings(&steps)
    };
    let good = source.copied(&hops[0]);
    assert_eq!(judged(good.clone().with_status("failed")), [FindingKind::CopyFailed]);
    let mut other = good.clone();
    other.allocated_gib += 1;
    assert_eq!(judged(other), [FindingKind::CopyDiffers]);
    for change in [COPY_OF, shared::snapshot::CREATED_BY] {
        let mut other = good.clone();
        other.tags.insert(change.to_owned(), "arn:aws:rds:eu-central-1:111111111111:snapshot:another".to_owned());
        assert_eq!(judged(other), [FindingKind::SnapshotIdTaken], "{change}");
    }
}

#[test]
fn nothing_is_copied_on_from_a_copy_that_is_not_good() {
    let hops = [region_hop(), account_hop(REGION)];
    let source = fresh(&hops);
    let mut first = source.copied(&hops[0]);
    first.engine_version = "16.1".to_owned();
    let steps = reconcile(&observed(vec![source], vec![vec![first], vec![]]), &hops);
    assert_eq!((changes(&steps), findings(&steps)), (vec![], vec![FindingKind::CopyDiffers]));
}

#[test]
fn what_can_never_be_copied_is_said_and_not_tried() {
    let account = [account_hop(HOME)];
    let said = |source: Snapshot, hops: &[Hop], by_aws: bool| {
        let mut seen = observed(vec![source], hops.iter().map(|_| vec![]).collect());
        seen.keys[0].by_aws = by_aws;
        let steps = reconcile(&seen, hops);
        (actions(&steps).join(" "), findings(&steps))
    };
    let impossible = || (String::new(), vec![FindingKind::CopyImpossible]);
    let mut plain = fresh(&account);
    (plain.encrypted, plain.key_arn) = (false, None);
    assert_eq!(said(plain, &account, false), impossible());
    assert_eq!(said(fresh(&account), &account, true), impossible());
    let mut without_key = account.clone();
    without_key[0].key_arn = None;
    assert_eq!(said(fresh(&account), &without_key, false), impossible());
    let mut region = [region_hop()];
    region[0].key_arn = None;
    assert_eq!(said(fresh(&region), &region, false), impossible());
    // In the own account, a copy under another key of what is under the default key is what RDS is made for; so is an unencrypted one.
    assert_eq!(said(fresh(&[region_hop()]), &[region_hop()], true), ("copy".to_owned(), vec![]));
    let mut plain = fresh(&region);
    (plain.encrypted, plain.key_arn) = (false, None);
    assert_eq!(said(plain, &region, false), ("copy".to_owned(), vec![]));
    // The key of the first hop is known before there is a copy under it.
    let both = [region_hop(), account_hop(REGION)];
    let mut seen = observed(vec![fresh(&both)], vec![vec![], vec![]]);
    seen.keys[1].by_aws = true;
    let steps = reconcile(&seen, &both);
    assert_eq!((actions(&steps), findings(&steps)), (vec!["copy"], vec![FindingKind::CopyImpossible]));
}

#[test]
fn a_key_that_does_not_work_is_not_tried() {
    let hops = [region_hop()];
    let mut seen = observed(vec![fresh(&hops)], vec![vec![]]);
    "Disabled".clone_into(&mut seen.keys[1].state);
    assert_eq!(changes(&reconcile(&seen, &hops)), [""; 0]);
}

#[test]
fn a_place_that_cannot_be_seen_does_not_hold_up_the_snapshot() {
    let hops = [region_hop()];
    let mut seen = observed(vec![fresh(&hops)], vec![vec![]]);
    seen.hops = vec![Err("unreachable".to_owned())];
    let steps = daily(&seen, &hops);
    assert_eq!(actions(&steps), ["create"]);
    assert!(steps.iter().any(|step| !step.changes() && step.why.contains("not known")), "{steps:?}");
}
