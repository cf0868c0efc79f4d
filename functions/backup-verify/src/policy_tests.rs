//! Each test starts from a world in which every promise is kept, and then breaks one thing.

use super::*;

use shared::report::parse_slot_name;

const INSTANCE: &str = "app-db";

fn at(name: &str) -> DateTime<Utc> {
    parse_slot_name(name).expect("time")
}

fn promise(databases: Databases) -> Promise {
    Promise { databases, age_max: TimeDelta::hours(26), reread: TimeDelta::days(30) }
}

fn run(slot: &str, seen: &[&str]) -> RunList {
    let names: Vec<String> = seen.iter().map(|name| (*name).to_owned()).collect();
    RunList {
        format: 1,
        instance: INSTANCE.into(),
        run_id: format!("run{}", &slot[8..10]),
        scheduled_at: at(slot),
        started_at: at(slot) + TimeDelta::seconds(3),
        seen: names.clone(),
        chosen: names,
        every_database: true,
    }
}

fn backup(database: &str, slot: &str) -> Backup {
    let key = ArchiveKey { instance: INSTANCE.into(), database: database.into(), slot: at(slot), run_id: format!("run{}", &slot[8..10]) };
    Backup { key, complete: true, objects: 5, size_bytes: 5_000 }
}

struct World {
    promise: Promise,
    runs: Vec<RunList>,
    backups: Vec<Backup>,
    at: DateTime<Utc>,
}

impl World {
    /// Two databases, three nights, looked at four hours after the last.
    fn clean() -> Self {
        let nights = ["2026-11-21T02-00-00Z", "2026-11-22T02-00-00Z", "2026-11-23T02-00-00Z"];
        let world = Self {
            promise: promise(Databases::Every),
            runs: nights.iter().map(|night| run(night, &["app", "crm"])).collect(),
            backups: nights.iter().flat_map(|night| [backup("app", night), backup("crm", night)]).collect(),
            at: at("2026-11-23T06-00-00Z"),
        };
        assert_eq!(world.found(), [], "the world is shown clean first");
        world
    }

    fn verdict(&self) -> Verdict {
        judge(&self.promise, INSTANCE, &self.runs, &self.backups, self.at)
    }

    fn found(&self) -> Vec<(FindingKind, String)> {
        self.verdict().findings.into_iter().map(|finding| (finding.kind, finding.subject)).collect()
    }
}

#[test]
fn a_kept_promise_has_an_age_and_no_findings() {
    let verdict = World::clean().verdict();
    assert_eq!(verdict.databases, ["app", "crm"]);
    assert_eq!(verdict.age_max, Some(TimeDelta::hours(4)));
}

#[test]
fn the_last_minute_before_the_age_is_fresh_and_the_first_after_it_is_stale() {
    let mut world = World::clean();
    world.runs.push(run("2026-11-24T02-00-00Z", &["app", "crm"]));
    world.backups.push(backup("crm", "2026-11-24T02-00-00Z"));
    world.at = at("2026-11-24T04-00-00Z");
    assert_eq!(world.found(), []);
    world.at += TimeDelta::seconds(1);
    assert_eq!(world.found(), [(FindingKind::BackupStale, "app".into())]);
}

#[test]
fn a_database_without_any_backup_is_missed() {
    let mut world = World::clean();
    world.backups.retain(|backup| backup.key.database != "crm");
    let run = run_list(INSTANCE, at("2026-11-21T02-00-00Z"), "run21");
    assert_eq!(world.found()[..2], [(FindingKind::BackupMissing, "crm".into()), (FindingKind::RunUnfinished, run)]);

    let mut world = World::clean();
    world.promise = promise(Databases::Listed(vec!["app".into(), "new".into()]));
    assert_eq!(world.found(), [(FindingKind::BackupMissing, "new".into())]);
}

#[test]
fn a_database_that_the_running_dump_sees_for_the_first_time_is_not_missed_yet() {
    let mut world = World::clean();
    world.runs.push(run("2026-11-23T05-59-00Z", &["app", "crm", "new"]));
    assert_eq!(world.found(), []);
    world.at += TimeDelta::hours(3);
    let found = world.found();
    assert!(found.contains(&(FindingKind::BackupMissing, "new".into())), "{found:?}");
}

#[test]
fn a_dropped_database_is_not_missed() {
    let mut world = World::clean();
    world.runs.push(run("2026-11-24T02-00-00Z", &["app"]));
    world.backups.push(backup("app", "2026-11-24T02-00-00Z"));
    world.at = at("2026-12-24T02-00-00Z");
    world.runs.push(run("2026-12-24T00-00-00Z", &["app"]));
    world.backups.push(backup("app", "2026-12-24T00-00-00Z"));
    assert_eq!(world.found(), []);
    assert_eq!(world.verdict().databases, ["app"]);
}

#[test]
fn a_run_for_some_databases_does_not_drop_the_others() {
    let mut world = World::clean();
    let mut partial = run("2026-11-24T02-00-00Z", &["app"]);
    partial.every_database = false;
    world.runs.push(partial);
    world.backups.push(backup("app", "2026-11-24T02-00-00Z"));
    world.at = at("2026-11-24T06-00-00Z");
    assert_eq!(world.found(), [(FindingKind::BackupStale, "crm".into())]);
}

#[test]
fn a_backup_that_is_newer_than_the_list_is_promised_too() {
    let mut world = World::clean();
    world.backups.push(backup("new", "2026-11-23T03-00-00Z"));
    assert_eq!(world.verdict().databases, ["app", "crm", "new"]);
    world.runs.clear();
    assert_eq!(world.verdict().databases, ["app", "crm", "new"], "without any list, what is there is what is promised");
}

#[test]
fn no_run_at_all_is_found_also_in_an_empty_bucket() {
    let mut world = World::clean();
    world.at = at("2026-11-25T06-00-00Z");
    assert_eq!(
        world.found(),
        [(FindingKind::RunMissing, INSTANCE.into()), (FindingKind::BackupStale, "app".into()), (FindingKind::BackupStale, "crm".into())]
    );
    world.runs.clear();
    world.backups.clear();
    assert_eq!(world.found(), [(FindingKind::RunMissing, INSTANCE.into())]);
}

#[test]
fn a_run_that_left_no_manifest_is_noted_until_a_later_one_did() {
    let mut world = World::clean();
    world.runs.push(run("2026-11-24T02-00-00Z", &["app", "crm"]));
    world.backups.push(backup("app", "2026-11-24T02-00-00Z"));
    world.backups.push(Backup { complete: false, ..backup("crm", "2026-11-24T02-00-00Z") });
    world.at = at("2026-11-24T03-59-00Z");
    assert_eq!(world.found(), [], "it may still be running");
    world.at = at("2026-11-24T06-00-00Z");
    let run_key = run_list(INSTANCE, at("2026-11-24T02-00-00Z"), "run24");
    assert_eq!(world.found(), [(FindingKind::BackupStale, "crm".into()), (FindingKind::RunUnfinished, run_key)]);
    let note = world.verdict().findings.pop().expect("note");
    assert!(note.seen.contains("crm (5 objects, 5.0 kB)") && !note.seen.contains("app"), "{}", note.seen);
    world.backups.push(backup("crm", "2026-11-24T05-00-00Z"));
    assert_eq!(world.found(), []);
}

#[test]
fn time_alone_never_makes_things_better() {
    let world = World::clean();
    let mut before = 0;
    for hours in 0..100 {
        let later = World {
            at: world.at + TimeDelta::hours(hours),
            promise: world.promise.clone(),
            runs: world.runs.clone(),
            backups: world.backups.clone(),
        };
        let now = later.found().len();
        assert!(now >= before, "after {hours} hours");
        before = now;
    }
}
