//! What must exist: pure, from the settings, the lists that runs left, the backups that are there, and the time.
//!
//! A run writes the list of its databases before its first byte, so a database that was never dumped is missed all the same. Nothing
//! here looks inside a backup.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use shared::env::Databases;
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, run_list};
use shared::report::slot_name;
use shared::run_list::RunList;

use crate::config::Promise;
use shared::human::{bytes, duration};

/// A run that has not finished after this time will not: a function lives for 15 minutes, and its retries begin within the hour.
const RUN_TIME_MAX: TimeDelta = TimeDelta::hours(2);

/// An archive as far as the policy is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Which.
    pub key: ArchiveKey,
    /// Whether its manifest is there, which makes it a backup.
    pub complete: bool,
    /// Objects that are there.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// How the promise is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The databases that must have a backup, by name.
    pub databases: Vec<String>,
    /// Age of the oldest of their newest backups.
    pub age_max: Option<TimeDelta>,
    /// What is not as promised.
    pub findings: Vec<Finding>,
}

/// Compares what was promised with what is there. `runs` need not be complete, but has the newest ones.
pub fn judge(promise: &Promise, instance: &str, runs: &[RunList], backups: &[Backup], at: DateTime<Utc>) -> Verdict {
    let newest = newest_backups(backups);
    let databases = promised_databases(&promise.databases, runs, &newest);
    let mut findings = Vec::new();
    findings.extend(missing_run(promise, instance, runs, &newest, at));
    for database in &databases {
        findings.extend(match newest.get(database.as_str()) {
            None => missing(promise, database, runs, at),
            Some(slot) => stale(promise, database, *slot, at),
        });
    }
    findings.extend(runs.iter().filter_map(|run| unfinished(run, &databases, &newest, backups, at)));
    let age_max = databases.iter().filter_map(|database| Some(at - *newest.get(database.as_str())?)).max();
    Verdict { databases, age_max, findings }
}

/// The slot of every database's newest backup.
pub fn newest_backups(backups: &[Backup]) -> BTreeMap<&str, DateTime<Utc>> {
    let mut newest = BTreeMap::new();
    for backup in backups.iter().filter(|backup| backup.complete) {
        let slot = newest.entry(backup.key.database.as_str()).or_insert(backup.key.slot);
        *slot = backup.key.slot.max(*slot);
    }
    newest
}

/// The listed databases; or for `*` those that the newest run for every database saw, and any that was backed up since. A database
/// that this run did not see any more was dropped: its old backups are still verified, but a new one is not expected.
fn promised_databases(databases: &Databases, runs: &[RunList], newest: &BTreeMap<&str, DateTime<Utc>>) -> Vec<String> {
    let mut promised: Vec<String> = match databases {
        Databases::Listed(names) => names.clone(),
        Databases::Every => {
            let run = runs.iter().filter(|run| run.every_database).max_by_key(|run| run.scheduled_at);
            let since = run.map(|run| run.scheduled_at.trunc_subsecs(0));
            let backed_up = newest.iter().filter(|(_, slot)| since.is_none_or(|since| **slot > since)).map(|(database, _)| (*database).to_owned());
            run.map(|run| run.seen.clone()).unwrap_or_default().into_iter().chain(backed_up).collect()
        }
    };
    promised.sort_unstable();
    promised.dedup();
    promised
}

/// A run is known by its list, or by a backup that it made.
fn missing_run(promise: &Promise, instance: &str, runs: &[RunList], newest: &BTreeMap<&str, DateTime<Utc>>, at: DateTime<Utc>) -> Option<Finding> {
    let last = runs.iter().map(|run| run.scheduled_at).chain(newest.values().copied()).max();
    let seen = match last {
        Some(last) if at - last <= promise.age_max => return None,
        Some(last) => format!("the newest run was for {}, {} ago", slot_name(last), duration(at - last)),
        None => "no run has left a trace in the bucket".to_owned(),
    };
    Some(
        Finding::new(FindingKind::RunMissing, instance, seen)
            .expected(format!("a run at least every {}", duration(promise.age_max)))
            .hint("look whether the schedule is enabled, at the log of logical-dump and at the dead-letter queue"),
    )
}

fn missing(promise: &Promise, database: &str, runs: &[RunList], at: DateTime<Utc>) -> Option<Finding> {
    let began = runs.iter().filter(|run| run.seen.iter().any(|seen| seen == database)).map(began_at).min();
    // A database that the present run sees for the first time has its first backup in the making.
    if promise.databases == Databases::Every && began.is_some_and(|began| at - began <= RUN_TIME_MAX) {
        return None;
    }
    Some(
        Finding::new(FindingKind::BackupMissing, database, "there is no backup")
            .expected(format!("a backup at least every {}", duration(promise.age_max)))
            .hint("dump it now: invoke logical-dump, and read its report"),
    )
}

fn stale(promise: &Promise, database: &str, slot: DateTime<Utc>, at: DateTime<Utc>) -> Option<Finding> {
    let age = at - slot;
    (age > promise.age_max).then(|| {
        Finding::new(FindingKind::BackupStale, database, format!("the newest backup is for {}, {} ago", slot_name(slot), duration(age)))
            .expected(format!("not older than {}", duration(promise.age_max)))
            .hint("dump it now: invoke logical-dump, and read its report")
    })
}

/// A run that promised databases, is over, and left some of them without a backup for its slot or a later one.
fn unfinished(run: &RunList, databases: &[String], newest: &BTreeMap<&str, DateTime<Utc>>, backups: &[Backup], at: DateTime<Utc>) -> Option<Finding> {
    let slot = run.scheduled_at.trunc_subsecs(0);
    let left: Vec<&str> = run
        .chosen
        .iter()
        .filter(|database| databases.contains(database) && newest.get(database.as_str()).is_none_or(|newest| *newest < slot))
        .map(String::as_str)
        .collect();
    if left.is_empty() || at - began_at(run) <= RUN_TIME_MAX {
        return None;
    }
    let parts: Vec<String> = left
        .iter()
        .map(|database| {
            let own = backups.iter().filter(|backup| backup.key.run_id == run.run_id && backup.key.slot == slot && backup.key.database == **database);
            let (objects, size) = own.fold((0, 0), |(objects, size), backup| (objects + backup.objects, size + backup.size_bytes));
            format!("{database} ({objects} objects, {})", bytes(size))
        })
        .collect();
    let seen = format!("the run that began {} ago left no manifest for {}", duration(at - began_at(run)), parts.join(", "));
    Some(
        Finding::new(FindingKind::RunUnfinished, run_list(&run.instance, run.scheduled_at, &run.run_id), seen)
            .hint("its own report, or the log of logical-dump, says why it ended"),
    )
}

/// When a run began, on the clock that ages are measured with.
fn began_at(run: &RunList) -> DateTime<Utc> {
    run.started_at.max(run.scheduled_at)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
