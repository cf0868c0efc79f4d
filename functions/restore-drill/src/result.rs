//! What came of a drill: the phases with their times, what was proved, RTO and RPO against what was promised. Pure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::finding::{Finding, FindingKind};
use shared::human;
use shared::report::Outcome;

use crate::identity::DrillId;
use crate::plan::Plan;

/// Version of this model.
pub const FORMAT: u32 = 1;

/// What the database's part found; the content of `worked.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worked {
    /// When the server first answered a query.
    pub first_query_at: Option<DateTime<Utc>>,
    /// When the archives' rows, indexes and constraints were there; archives only.
    pub restored_at: Option<DateTime<Utc>>,
    /// When the last byte of every table had been read.
    pub read_at: Option<DateTime<Utc>>,
    /// When everything was compared and checked.
    pub checked_at: Option<DateTime<Utc>>,
    /// When the last migration was through.
    pub migrated_at: Option<DateTime<Utc>>,
    /// The databases that were looked at.
    pub databases: Vec<WorkedDatabase>,
    /// Time of the newest thing that matters, as the user's query gave it.
    pub newest_at: Option<DateTime<Utc>>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The rehearsal, as it is written.
    pub rehearsal: Option<Value>,
}

/// A database that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkedDatabase {
    /// Its name.
    pub name: String,
    /// Tables that were read to their end.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes as COPY text.
    pub bytes: u64,
    /// Tables that equal a backup's count and digest exactly.
    pub exact: u64,
    /// Tables that changed between the backups beside the moment, so that only bounds could be compared.
    pub bounded: u64,
    /// Tables that no backup says anything about.
    pub unknown: u64,
    /// Relations whose pages, or order, were checked by amcheck.
    pub checked_relations: u64,
}

/// A phase: its end, and how long it took since the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// In words.
    pub name: String,
    /// When it was over.
    pub at: DateTime<Utc>,
    /// Seconds since the phase before.
    pub seconds: f64,
}

/// What came of a drill; the content of `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillResult {
    /// Version of this model.
    pub format: u32,
    /// The drill.
    pub drill: DrillId,
    /// The guarded instance.
    pub instance: String,
    /// What was restored, in words.
    pub source: String,
    /// Its sort: `snapshot`, `pointInTime`, `archives`.
    pub sort: String,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// How it came out.
    pub outcome: Outcome,
    /// In one sentence.
    pub summary: String,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// From the request until everything was checked, in seconds; `None` when it was not.
    pub recovery_time_seconds: Option<f64>,
    /// What it may be.
    pub recovery_time_max_seconds: u64,
    /// From the moment of the data until the request, in seconds.
    pub recovery_point_seconds: f64,
    /// What it may be.
    pub recovery_point_max_seconds: u64,
    /// The databases that were looked at.
    pub databases: Vec<WorkedDatabase>,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// The rehearsal, as it is written.
    pub rehearsal: Option<Value>,
}

/// Times that the steps outside the database wrote down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// RDS first called the instance available.
    pub available_at: Option<DateTime<Utc>>,
    /// It was seen to be cut off.
    pub isolated_at: Option<DateTime<Utc>>,
}

/// Puts together what is known.
pub fn judge(plan: &Plan, instance: &str, times: Times, worked: Option<&Worked>, failure: Option<&str>) -> DrillResult {
    let blank = Worked::default();
    let done = worked.unwrap_or(&blank);
    let phases = phases(plan, times, done);
    let since_request = |at: DateTime<Utc>| (at - plan.requested_at).as_seconds_f64();
    let recovery_time = done.checked_at.map(since_request);
    let data_at = done.newest_at.unwrap_or_else(|| plan.source.data_at());
    let recovery_point = (plan.requested_at - data_at).as_seconds_f64().max(0.0);
    let mut findings = done.findings.clone();
    if let Some(why) = failure {
        let hint = "see which phase was the last in the drill's result; the runbook says how to go on from there";
        findings.push(Finding::new(FindingKind::DrillFailed, plan.source.in_words(), why).hint(hint));
    } else if worked.is_none() {
        findings.push(Finding::new(FindingKind::DrillFailed, plan.source.in_words(), "the database's part left no result"));
    }
    if let Some(seconds) = recovery_time.filter(|seconds| *seconds > whole(plan.recovery_time_max_seconds)) {
        findings.push(
            Finding::new(FindingKind::RecoveryTimeExceeded, plan.source.in_words(), format!("{} from the request to the last check", minutes(seconds)))
                .expected(format!("at most {}", minutes(whole(plan.recovery_time_max_seconds))))
                .hint("see which phase took longest: a larger class restores and reads faster, a smaller database sooner; or tell people that it takes so long, and set the objective to it"),
        );
    }
    if recovery_point > whole(plan.recovery_point_max_seconds) {
        findings.push(
            Finding::new(FindingKind::RecoveryPointExceeded, plan.source.in_words(), format!("its data was {} old", minutes(recovery_point)))
                .expected(format!("at most {}", minutes(whole(plan.recovery_point_max_seconds))))
                .hint("make backups of this sort more often, or restore to a point in time, which loses minutes"),
        );
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.kind.cmp(&b.kind)).then_with(|| a.subject.cmp(&b.subject)));
    let outcome = Outcome::of(&findings);
    let tables: u64 = done.databases.iter().map(|database| database.tables).sum();
    let rows: u64 = done.databases.iter().map(|database| database.rows).sum();
    let source = plan.source.in_words();
    let summary = match (outcome, failure) {
        (_, Some(_)) => format!("the drill of the {source} did not come to its end"),
        (Outcome::Ok | Outcome::Attention, _) => {
            format!("the {source} was restored and proved: {} tables, {} rows", human::count(tables), human::count(rows))
        }
        (Outcome::Unknown, _) => format!("the {source} was restored, and not everything could be checked"),
        (Outcome::Failed, _) => format!("the {source} was restored, and is not as it must be"),
    };
    DrillResult {
        format: FORMAT,
        drill: plan.drill.clone(),
        instance: instance.to_owned(),
        source,
        sort: sort(plan).to_owned(),
        requested_at: plan.requested_at,
        outcome,
        summary,
        phases,
        recovery_time_seconds: recovery_time,
        recovery_time_max_seconds: plan.recovery_time_max_seconds,
        recovery_point_seconds: recovery_point,
        recovery_point_max_seconds: plan.recovery_point_max_seconds,
        databases: done.databases.clone(),
        findings,
        rehearsal: done.rehearsal.clone(),
    }
}

fn sort(plan: &Plan) -> &'static str {
    match plan.source {
        crate::plan::Planned::Snapshot { .. } => "snapshot",
        crate::plan::Planned::PointInTime { .. } => "pointInTime",
        crate::plan::Planned::Archives { .. } => "archives",
    }
}

/// The phases that came to their end, each with its seconds. A phase that ended before the one before it (two databases overlap) counts as 0.
fn phases(plan: &Plan, times: Times, done: &Worked) -> Vec<Phase> {
    let ends = [
        ("the instance is available", times.available_at),
        ("it has a password of its own and is cut off", times.isolated_at),
        ("the server answers a query", done.first_query_at),
        ("rows, indexes and constraints are restored", done.restored_at),
        ("every table is read to its end", done.read_at),
        ("everything is compared and checked", done.checked_at),
        ("the migrations are through", done.migrated_at),
    ];
    let mut before = plan.requested_at;
    let mut phases = Vec::new();
    for (name, end) in ends {
        if let Some(at) = end {
            phases.push(Phase { name: name.to_owned(), at, seconds: (at - before).as_seconds_f64().max(0.0) });
            before = before.max(at);
        }
    }
    phases
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a drill are few")]
fn whole(seconds: u64) -> f64 {
    seconds as f64
}

/// A duration for a person: seconds below two minutes, minutes below two hours, then hours.
pub fn minutes(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.0} s"),
        _ if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}
