//! The planner by example: each rule, its reason in words, and what it protects from. The property over histories is in `tests/src/histories`.

use chrono::{DateTime, TimeDelta, Utc};
use shared::key::ArchiveKey;
use shared::snapshot::{COPY_OF, COPY_TO, EXPIRY_CLASS, Owner, Purpose};

use crate::decision::Action;
use crate::model::{Archive, Observed, Place, Snapshot, State, Status};
use crate::plan::{Limits, Policies, plan};

const HOP: &str = "eu-west-1";

fn owner() -> Owner {
    Owner { stage: "prod".into(), instance: "app-db".into() }
}

/// 2026-11-02 is a Monday.
fn day(day: i64) -> DateTime<Utc> {
    "2026-11-02T02:00:00Z".parse::<DateTime<Utc>>().expect("a time") + TimeDelta::days(day)
}

fn arn(region: &str, id: &str) -> String {
    format!("arn:aws:rds:{region}:123456789012:snapshot:{id}")
}

fn id(number: i64) -> String {
    owner().id(&Purpose::Daily(day(number)), 1)
}

fn tagged(place: Place, number: i64, more: &[(&str, String)]) -> Snapshot {
    let purpose = Purpose::Daily(day(number));
    let (id, mut tags) = (owner().id(&purpose, 1), owner().tags(&purpose, day(number)));
    tags.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let region = if place == Place::Home { "eu-central-1" } else { HOP };
    Snapshot { place, arn: arn(region, &id), owned: owner().read(&id, &tags), id, status: Status::Available, created_at: Some(day(number)) }
}

fn daily(number: i64) -> Snapshot {
    tagged(Place::Home, number, &[])
}

fn promised(number: i64) -> Snapshot {
    tagged(Place::Home, number, &[(COPY_TO, HOP.into())])
}

fn copy(number: i64) -> Snapshot {
    tagged(Place::Hop(0), number, &[(COPY_TO, HOP.into()), (COPY_OF, arn("eu-central-1", &id(number)))])
}

fn archive(number: i64, state: State) -> Archive {
    let key = ArchiveKey { instance: "app-db".into(), database: "app".into(), slot: day(number), run_id: format!("{number:08}") };
    Archive { place: Place::Bucket, key, state, written_at: day(number) }
}

fn policies(text: &str) -> Policies {
    let policy = text.parse().expect("a policy");
    Policies { daily: policy, pre_deploy: policy, copies: policy, archives: policy }
}

/// The days of what is deleted, in its order, and every reason by day and place.
fn decide(observed: &Observed, policy: &str, floor: usize) -> (Vec<i64>, Vec<String>) {
    let limits = Limits { floor, deletions_max: 10, now: day(100) };
    let decisions = plan(observed, &policies(policy), &limits);
    let deleted = decisions.iter().filter(|one| one.action == Action::Delete);
    let number = |what: crate::model::What<'_>| match what {
        crate::model::What::Snapshot(snapshot) => snapshot.owned.as_ref().map_or(-1, |owned| (owned.slot - day(0)).num_days()),
        crate::model::What::Archive(archive) => (archive.key.slot - day(0)).num_days(),
    };
    let said = decisions.iter().map(|one| format!("{} {}", number(one.what), one.reason(observed)));
    (deleted.map(|one| number(one.what)).collect(), said.collect())
}

fn of_snapshots(snapshots: Vec<Snapshot>) -> Observed {
    Observed { hops: vec![HOP.into()], snapshots, ..Observed::default() }
}

#[test]
fn generations_are_kept_and_the_reason_is_the_longest() {
    let (deleted, said) = decide(&of_snapshots((0..14).map(daily).collect()), "daily=3,weekly=2", 1);
    assert_eq!(deleted, [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]);
    assert!(said.contains(&"0 deleted: no rule keeps it; 13 newer good ones".to_owned()), "{said:#?}");
    for reason in ["13 kept: the newest good one", "12 kept: newest of day 2026-11-14", "6 kept: newest of week 2026-W45"] {
        assert!(said.contains(&reason.to_owned()), "{reason}: {said:#?}");
    }
}

#[test]
fn a_pause_deletes_nothing_and_the_floor_holds_what_the_policy_does_not() {
    let (deleted, _) = decide(&of_snapshots(vec![daily(-900), daily(-400), daily(0)]), "daily=3", 1);
    assert_eq!(deleted, [0; 0], "age decides nothing");
    let (deleted, said) = decide(&of_snapshots((0..5).map(daily).collect()), "yearly=1", 3);
    assert_eq!(deleted, [0, 1]);
    assert!(said.contains(&"2 kept: one of the 3 newest good ones (floor)".to_owned()), "{said:#?}");
}

#[test]
fn a_run_deletes_so_many_at_most_the_oldest_first_and_says_what_is_left() {
    let observed = of_snapshots((0..20).map(daily).collect());
    let limits = Limits { floor: 1, deletions_max: 4, now: day(100) };
    let decisions = plan(&observed, &policies("last=1"), &limits);
    let said: Vec<String> = decisions.iter().map(|one| one.reason(&observed)).collect();
    assert_eq!(said.iter().filter(|reason| reason.starts_with("deleted")).count(), 4);
    assert_eq!(said[4], "kept: to be deleted by a later run: a run deletes 4 at most, the oldest first");
}

#[test]
fn what_is_not_ours_or_marked_or_under_way_is_left_alone() {
    let mut foreign = daily(1);
    foreign.owned = None;
    let mut changing = daily(2);
    changing.status = Status::Changing;
    let marked = tagged(Place::Home, 3, &[(EXPIRY_CLASS, "keep".into())]);
    let unknown = tagged(Place::Home, 4, &[(EXPIRY_CLASS, "gold".into())]);
    let copied = tagged(Place::Home, 5, &[(COPY_OF, "arn:x".into())]);
    let observed = of_snapshots(vec![foreign, changing, marked, unknown, copied, daily(10), daily(11)]);
    let (deleted, said) = decide(&observed, "last=1", 1);
    assert_eq!(deleted, [10]);
    for part in ["not ours", "is being made", "expiry-class is `keep`", "names no policy", "not a copy that Lifeboat made"] {
        assert!(said.iter().any(|reason| reason.contains(part)), "{part}: {said:#?}");
    }
}

#[test]
fn a_source_waits_for_its_copy_and_a_copy_for_its_source() {
    let mut under_way = copy(1);
    under_way.status = Status::Changing;
    let mut snapshots: Vec<Snapshot> = (0..6).map(promised).collect();
    snapshots.extend([copy(0), under_way, copy(4), copy(5)]);
    let (deleted, said) = decide(&of_snapshots(snapshots.clone()), "last=1", 1);
    assert_eq!(deleted, [0, 4], "the copies of all others are missing, and their own copies stay as long as they: {said:#?}");
    for reason in
        ["1 kept: its copy in eu-west-1 is promised and not available", "0 kept: what it was copied from is still in home, and would be copied again"]
    {
        assert!(said.contains(&reason.to_owned()), "{reason}: {said:#?}");
    }
    // A destination that is not configured any more is not waited for.
    let no_hops = Observed { snapshots: snapshots.into_iter().filter(|one| one.place == Place::Home).collect(), ..Observed::default() };
    assert_eq!(decide(&no_hops, "last=1", 1).0, [0, 1, 2, 3, 4]);
}

#[test]
fn where_a_place_could_not_be_read_no_snapshot_goes_but_archives_do() {
    let mut observed = of_snapshots((0..6).map(daily).collect());
    observed.archives = (0..6).map(|number| archive(number, State::Good)).collect();
    observed.unread = vec![Place::Hop(0)];
    let (deleted, said) = decide(&observed, "last=1", 1);
    assert_eq!(deleted, [0, 1, 2, 3, 4]);
    assert!(said.contains(&"0 kept: the snapshots in eu-west-1 could not be read, so its copies are not known".to_owned()), "{said:#?}");
    observed.unread = vec![Place::Replica];
    assert_eq!(decide(&observed, "last=1", 1).0.len(), 10, "the replica says nothing of snapshots");
}

#[test]
fn what_is_not_good_goes_only_behind_enough_that_is() {
    let with = |states: &[State]| Observed {
        archives: states.iter().zip(0..).map(|(state, number)| archive(number, *state)).collect(),
        ..Observed::default()
    };
    assert_eq!(decide(&with(&[State::Bad, State::Bad, State::Bad]), "last=1", 1).0, [0; 0], "there is no good one");
    assert_eq!(decide(&with(&[State::Bad, State::Good, State::Bad]), "last=1", 1).0, [0]);
    let (deleted, said) = decide(&with(&[State::Bad, State::Good, State::Bad]), "last=1", 2);
    assert_eq!(deleted, [0; 0]);
    assert!(said.contains(&"0 kept: only 1 good, fewer than the floor of 2: nothing is deleted".to_owned()), "{said:#?}");
}

#[test]
fn an_unverified_archive_never_takes_the_place_of_a_good_one() {
    let mut observed = Observed { archives: (0..4).map(|number| archive(number, State::Good)).collect(), ..Observed::default() };
    observed.archives.push(archive(5, State::Unverified));
    observed.archives.push(archive(-3, State::Unverified));
    let (deleted, said) = decide(&observed, "daily=3", 1);
    assert_eq!(deleted, [-3, 0], "three good days stay beside it: {said:#?}");
    assert!(said.iter().any(|reason| reason.starts_with("5 kept: newest of day 2026-11-07 that is not verified yet")), "{said:#?}");
}

#[test]
fn an_incomplete_archive_goes_when_nobody_works_on_it_and_the_rest_of_a_deletion_at_once() {
    let incomplete = |hours: i64, was_deleted| State::Incomplete { changed_at: day(100) - TimeDelta::hours(hours), was_deleted };
    let observed = |state| Observed { archives: vec![archive(0, state), archive(1, State::Good)], ..Observed::default() };
    assert_eq!(decide(&observed(incomplete(23, false)), "last=1", 1).0, [0; 0]);
    assert_eq!(decide(&observed(incomplete(24, false)), "last=1", 1).0, [0]);
    let (deleted, said) = decide(&observed(incomplete(0, true)), "last=1", 1);
    assert_eq!((deleted, said[0].as_str()), (vec![0], "0 deleted: the rest of one whose deletion was begun"));
    let newest = Observed { archives: vec![archive(1, State::Good), archive(2, incomplete(48, false))], ..Observed::default() };
    assert_eq!(decide(&newest, "last=1", 1).0, [0; 0], "it is newer than the newest good one");
}

#[test]
fn a_slot_from_the_future_does_not_cost_the_backup_that_was_made_last() {
    let mut ahead = daily(40);
    ahead.created_at = Some(day(1));
    let (deleted, said) = decide(&of_snapshots(vec![daily(0), ahead, daily(2)]), "last=1", 1);
    assert_eq!(deleted, [0]);
    assert!(said.iter().any(|reason| reason.starts_with("2 kept: the good one that was made last")), "{said:#?}");
}
