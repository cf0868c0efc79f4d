//! The run in figures, in links and in one sentence: pure.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::finding::Severity;
use shared::report::{Report, Unit};
use shared::snapshot::Kind;

use crate::act::Acted;
use crate::config::Promise;
use crate::observed::{Observed, Snapshot, Status};
use crate::plan::{Step, What};
use crate::posture::recovery_point_lag;

/// Writes the facts of an observation.
pub fn facts(report: &mut Report, observed: &Observed, promise: &Promise, now: DateTime<Utc>) {
    let own = observed.own(&promise.owner);
    let mut count = |name: &str, number: usize| report.count(name, number as u64, Unit::Count);
    let of = |kind: Kind| own.iter().filter(|(snapshot, owned)| owned.kind == kind && snapshot.status == Status::Available).count();
    count("dailySnapshots", of(Kind::Daily));
    count("preDeploySnapshots", of(Kind::PreDeploy));
    for (name, status) in [("snapshotsUnderWay", Status::UnderWay), ("snapshotsFailed", Status::Failed)] {
        count(name, own.iter().filter(|(snapshot, _)| snapshot.status == status).count());
    }
    for (hop, listed) in promise.destinations.hops.iter().zip(&observed.hops) {
        let Ok(listed) = listed else { continue };
        let sort = if hop.account().is_some() { "account" } else { "region" };
        let ours = listed.iter().filter(|copy| copy.owned(&promise.owner).is_some());
        count(&format!("{sort}Copies"), ours.filter(|copy| copy.status == Status::Available).count());
        count(&format!("{sort}CopiesInProgress"), listed.iter().filter(|copy| copy.is_copy_under_way()).count());
    }
    let sorts = std::iter::once("home").chain(promise.destinations.hops.iter().map(|hop| if hop.account().is_some() { "account" } else { "region" }));
    for (sort, quota) in sorts.zip(&observed.quotas) {
        if let Some(quota) = quota {
            report.count(&format!("{sort}ManualSnapshots"), quota.used, Unit::Count);
            report.count(&format!("{sort}ManualSnapshotsQuota"), quota.max, Unit::Count);
        }
    }
    if let Some(instance) = &observed.instance {
        report.count("automatedBackupDays", u64::try_from(instance.backup_days).unwrap_or(0), Unit::Count);
        if let Some(lag) = recovery_point_lag(instance, now) {
            report.seconds("pointInTimeLagSeconds", lag.as_seconds_f64());
        }
        if let Some(until) = instance.certificate_until {
            report.count("certificateDaysLeft", u64::try_from((until - now).num_days()).unwrap_or(0), Unit::Count);
        }
    }
}

/// Writes facts, links and summary of what was done.
pub fn done(report: &mut Report, steps: &[Step], acted: &Acted, promise: &Promise) {
    let waiting = steps.iter().filter(|step| !step.changes()).count() as u64;
    report.count("stepsTaken", acted.taken, Unit::Count);
    report.count("stepsRefused", acted.refused, Unit::Count);
    report.count("stepsWaiting", waiting, Unit::Count);
    for (place, id) in &acted.begun {
        link(report, promise, *place, id);
    }
    let mut parts = Vec::new();
    if let Some(created) = &acted.created {
        parts.push(format!("snapshot {} is {}", created.id, created.status_word));
    }
    let copies = acted.begun.iter().filter(|(place, _)| *place > 0).count();
    if copies > 0 {
        parts.push(if copies == 1 { "1 copy begun".to_owned() } else { format!("{copies} copies begun") });
    }
    let good: usize = steps.iter().filter_map(|step| if let What::NoteCopies { names, .. } = &step.what { Some(names.len()) } else { None }).sum();
    if good > 0 {
        parts.push("copies found good".to_owned());
    }
    if acted.refused > 0 {
        parts.push(if acted.refused == 1 { "1 step refused".to_owned() } else { format!("{} steps refused", acted.refused) });
    }
    if parts.is_empty() {
        parts.push("nothing was to do".to_owned());
    }
    finish(report, &parts);
}

/// The same for a dry run.
pub fn planned(report: &mut Report, steps: &[Step]) {
    let changes = steps.iter().filter(|step| step.changes()).count();
    report.count("stepsPlanned", changes as u64, Unit::Count);
    finish(report, &[if changes == 1 { "dry run: 1 step would be taken".to_owned() } else { format!("dry run: {changes} steps would be taken") }]);
}

fn finish(report: &mut Report, parts: &[String]) {
    let serious = report.findings.iter().filter(|finding| finding.severity > Severity::Note).count();
    let verdict = match serious {
        0 => "all is as promised".to_owned(),
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    };
    report.summary = format!("{}; {verdict}", parts.join("; "));
}

/// A snapshot in the console of its region.
pub fn link(report: &mut Report, promise: &Promise, place: usize, id: &str) {
    let hop = place.checked_sub(1).map(|index| &promise.destinations.hops[index]);
    let (region, name) = hop.map_or_else(|| (&promise.home, String::new()), |hop| (&hop.region, format!(" in {}", hop.name())));
    report
        .link(format!("{id}{name}"), format!("https://{region}.console.aws.amazon.com/rds/home?region={region}#db-snapshot:engine=postgres;id={id}"));
}

/// The steps, as a caller reads them.
pub fn listed(steps: &[Step]) -> Value {
    steps.iter().map(|step| json!({"action": step.what.action(), "what": step.what.to_string(), "why": step.why})).collect()
}

/// A pipeline's word for a snapshot's state.
pub fn word(snapshot: &Snapshot) -> &'static str {
    match snapshot.status {
        Status::Available => "available",
        Status::UnderWay => "creating",
        Status::Failed | Status::Going => "failed",
    }
}
