//! How old the newest good backup of every promised sort is: pure. Measured once a day, so that an alarm whose window is shorter than a schedule still sees
//! it, and an alarm on the missing figure sees that nobody measured.

use chrono::{DateTime, TimeDelta, Utc};
use shared::env::Databases;
use shared::finding::{Finding, FindingKind};
use shared::snapshot::Kind;

use crate::config::Settings;
use crate::model::{Archive, Observed, Place, Snapshot, State, Status};

/// What is said where there is none at all: any alarm's limit is below it.
pub const NONE_AT_ALL: TimeDelta = TimeDelta::days(3652);

/// The age of a sort of backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// The fact.
    pub fact: &'static str,
    /// What it is about, for a person.
    pub what: String,
    /// How old; `None`: there is none.
    pub age: Option<TimeDelta>,
}

/// One for every promised sort in a place that could be read.
pub fn gauges(observed: &Observed, settings: &Settings, databases: &[String], at: DateTime<Utc>) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    let is_read = |place: Place| !observed.unread.contains(&place);
    if is_read(Place::Home) {
        let daily = |snapshot: &Snapshot| snapshot.owned.as_ref().is_some_and(|owned| owned.kind == Kind::Daily && owned.copy_of.is_none());
        gauges.push(Gauge { fact: "dailySnapshotAgeHours", what: "daily snapshot".into(), age: snapshot_age(observed, Place::Home, at, daily) });
    }
    for (number, hop) in settings.destinations.hops.iter().enumerate().filter(|(number, _)| is_read(Place::Hop(*number))) {
        let fact = if hop.account().is_some() { "accountCopyAgeHours" } else { "regionCopyAgeHours" };
        let copy = |snapshot: &Snapshot| snapshot.owned.as_ref().is_some_and(|owned| owned.copy_of.is_some());
        gauges.push(Gauge { fact, what: format!("copy in {}", hop.name()), age: snapshot_age(observed, Place::Hop(number), at, copy) });
    }
    let replica = settings.replica.as_ref().map(|_| ("replicaAgeHours", "replica of", Place::Replica));
    for (fact, what, place) in std::iter::once(("archiveAgeHours", "archive of", Place::Bucket)).chain(replica) {
        // Where not even the databases are known, a listed name or nothing is said.
        if is_read(place) && !databases.is_empty() {
            gauges.extend(databases.iter().map(|database| Gauge {
                fact,
                what: format!("{what} {database}"),
                age: archive_age(observed, place, database, at),
            }));
        } else if is_read(place) && settings.databases == Databases::Every && !observed.unread.contains(&Place::Bucket) {
            gauges.push(Gauge { fact, what: format!("{what} any database"), age: None });
        }
    }
    gauges
}

/// The facts: of several with one name, the oldest.
pub fn facts(gauges: &[Gauge]) -> Vec<(&'static str, TimeDelta)> {
    let mut facts: Vec<(&'static str, TimeDelta)> = Vec::new();
    for gauge in gauges {
        let age = gauge.age.unwrap_or(NONE_AT_ALL);
        match facts.iter_mut().find(|(fact, _)| *fact == gauge.fact) {
            Some((_, oldest)) => *oldest = age.max(*oldest),
            None => facts.push((gauge.fact, age)),
        }
    }
    facts
}

/// What is promised and not there at all.
pub fn findings(gauges: &[Gauge]) -> Vec<Finding> {
    let none = gauges.iter().filter(|gauge| gauge.age.is_none());
    none.map(|gauge| {
        let hint = match gauge.fact {
            "archiveAgeHours" => "look at the newest reports of logical-dump and backup-verify: only an archive that was read to its end counts",
            "replicaAgeHours" => "look at the bucket's replication, and at the newest report of backup-verify",
            _ => "look at the newest report of snapshot",
        };
        Finding::new(FindingKind::NoGoodBackup, &gauge.what, "there is no good one").expected("at least one").hint(hint)
    })
    .collect()
}

fn snapshot_age(observed: &Observed, place: Place, at: DateTime<Utc>, is_it: impl Fn(&Snapshot) -> bool) -> Option<TimeDelta> {
    let good = observed.snapshots.iter().filter(|one| one.place == place && one.status == Status::Available && is_it(one));
    good.filter_map(|one| Some(older(one.owned.as_ref()?.slot, one.created_at))).max().map(|newest| (at - newest).max(TimeDelta::zero()))
}

fn archive_age(observed: &Observed, place: Place, database: &str, at: DateTime<Utc>) -> Option<TimeDelta> {
    let is_it = |one: &&Archive| one.place == place && one.state == State::Good && one.key.database == database;
    let newest = observed.archives.iter().filter(is_it).map(|one| older(one.key.slot, Some(one.written_at))).max();
    newest.map(|newest| (at - newest).max(TimeDelta::zero()))
}

/// A copy is made later than what is in it, and a slot may lie: the older of both times says no more than is true.
fn older(slot: DateTime<Utc>, made_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    made_at.map_or(slot, |made_at| made_at.min(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::env::Reader;
    use shared::key::ArchiveKey;
    use shared::snapshot::{Owner, Purpose};

    fn time(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
    }

    fn settings(given: &[(&str, &str)]) -> Settings {
        let lookup = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&lookup);
        let settings = Settings::read(&mut reader, "eu-central-1");
        reader.finish().expect("right");
        settings
    }

    fn snapshot(place: Place, slot: i64, made: i64, copy: bool) -> Snapshot {
        let owner = Owner { stage: "prod".into(), instance: "app-db".into() };
        let purpose = Purpose::Daily(time(slot));
        let (id, mut tags) = (owner.id(&purpose, 1), owner.tags(&purpose, time(slot)));
        if copy {
            tags.insert(shared::snapshot::COPY_OF.into(), format!("arn:aws:rds:eu-central-1:1:snapshot:{id}"));
        }
        Snapshot { place, arn: id.clone(), owned: owner.read(&id, &tags), id, status: Status::Available, created_at: Some(time(made)) }
    }

    fn archive(place: Place, database: &str, slot: i64, state: State) -> Archive {
        let key = ArchiveKey { instance: "app-db".into(), database: database.into(), slot: time(slot), run_id: "r".into() };
        Archive { place, key, state, written_at: time(slot + 1) }
    }

    #[test]
    fn the_oldest_of_the_newest_is_said_and_only_where_it_is_promised() {
        let observed = Observed {
            hops: vec!["eu-west-1".into()],
            // A copy made now of an old snapshot is old; a slot in the future makes nothing young.
            snapshots: vec![snapshot(Place::Home, 90, 91, false), snapshot(Place::Home, 200, 95, false), snapshot(Place::Hop(0), 50, 99, true)],
            archives: vec![
                archive(Place::Bucket, "app", 80, State::Good),
                archive(Place::Bucket, "app", 97, State::Unverified),
                archive(Place::Bucket, "shop", 60, State::Good),
            ],
            ..Observed::default()
        };
        let databases = ["app".to_owned(), "shop".to_owned()];
        let ages = |settings: &Settings| facts(&gauges(&observed, settings, &databases, time(100)));
        let hours = |hours| TimeDelta::hours(hours);
        let home = [("dailySnapshotAgeHours", hours(5)), ("archiveAgeHours", hours(40))];
        assert_eq!(ages(&settings(&[])), home);
        let everywhere = settings(&[("COPY_REGION", "eu-west-1"), ("REPLICA_BUCKET", "b"), ("REPLICA_REGION", "eu-west-1")]);
        assert_eq!(ages(&everywhere), [home[0], ("regionCopyAgeHours", hours(50)), home[1], ("replicaAgeHours", NONE_AT_ALL)]);
        let said = findings(&gauges(&observed, &everywhere, &databases, time(100)));
        let subjects: Vec<&str> = said.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(subjects, ["replica of app", "replica of shop"]);
    }

    #[test]
    fn of_what_could_not_be_read_nothing_is_said() {
        let unread = vec![Place::Home, Place::Bucket, Place::Replica, Place::Hop(0)];
        let observed = Observed { hops: vec!["eu-west-1".into()], unread, ..Observed::default() };
        let everywhere = settings(&[("COPY_REGION", "eu-west-1"), ("REPLICA_BUCKET", "b"), ("REPLICA_REGION", "eu-west-1")]);
        assert_eq!(gauges(&observed, &everywhere, &["app".to_owned()], time(100)), []);
    }

    #[test]
    fn an_account_without_anything_has_backups_older_than_any_alarm() {
        let gauges = gauges(&Observed::default(), &settings(&[]), &[], time(0));
        assert_eq!(facts(&gauges), [("dailySnapshotAgeHours", NONE_AT_ALL), ("archiveAgeHours", NONE_AT_ALL)]);
        assert_eq!(findings(&gauges).len(), 2);
    }
}
