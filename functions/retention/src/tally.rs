//! The run in findings, figures and one sentence: pure.

use std::collections::BTreeMap;

use shared::failure::Failure;
use shared::finding::{Finding, FindingKind, Severity};
use shared::human::{count, duration};
use shared::report::{Report, Unit};

use crate::decision::{Action, Decision, Why};
use crate::execute::Done;
use crate::gauge::Gauge;
use crate::model::{Observed, Place, What};
use crate::snapshots::Quota;

/// Names that a finding gives.
const NAMED_MAX: usize = 5;

/// What became of the deletions.
#[derive(Debug, Default)]
pub struct Tally {
    /// Snapshots that are gone.
    pub snapshots: u64,
    /// Archives that are gone.
    pub archives: u64,
    /// Not deleted, because they were not what the plan saw any more.
    pub changed: u64,
    /// Not deleted, because the time was over.
    pub cut: u64,
    /// Not deleted, because AWS refused.
    pub refused: Vec<(String, Failure)>,
}

impl Tally {
    /// One more.
    pub fn add(&mut self, what: What<'_>, done: Done) {
        match (done, what) {
            (Done::Deleted | Done::GoneAlready, What::Snapshot(_)) => self.snapshots += 1,
            (Done::Deleted | Done::GoneAlready, What::Archive(_)) => self.archives += 1,
            (Done::Changed, _) => self.changed += 1,
            (Done::Cut, _) => self.cut += 1,
        }
    }
}

/// What the plan has to say to the operator.
pub fn of_plan(decisions: &[Decision<'_>], observed: &Observed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut below: BTreeMap<(Place, String), (usize, usize, Vec<&str>)> = BTreeMap::new();
    let mut waiting: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
    for decision in decisions {
        let (place, id) = (decision.what.place(), decision.what.id());
        match decision.why {
            Why::BelowFloor(good, floor) => below.entry((place, sort(decision.what))).or_insert((good, floor, Vec::new())).2.push(id),
            Why::CopyMissing(_) => waiting.entry(place).or_default().push(id),
            _ => {}
        }
    }
    for ((place, sort), (good, floor, ids)) in below {
        let seen = format!("{good} good; {} that are not good are kept: {}", ids.len(), named(&ids));
        let finding = Finding::new(FindingKind::BelowFloor, format!("{sort}, {}", observed.place_name(place)), seen);
        findings.push(finding.expected(format!("at least {floor} good ones (floor)")).hint("nothing of this sort is deleted until there are"));
    }
    for (place, ids) in waiting {
        let seen = format!("{} kept beyond the policy, because promised copies are not available: {}", ids.len(), named(&ids));
        let finding = Finding::new(FindingKind::KeptForCopy, format!("snapshots, {}", observed.place_name(place)), seen);
        findings.push(finding.hint("the report of snapshot says what became of the copies"));
    }
    let put_off = decisions.iter().filter(|decision| matches!(decision.why, Why::PutOff(_))).count();
    if put_off > 0 {
        let seen = format!("{put_off} more could be deleted");
        findings
            .push(Finding::new(FindingKind::DeletionsPutOff, "backups", seen).hint("the next runs go on; to be faster, raise RetentionDeletionsMax"));
    }
    findings
}

/// Places whose manual snapshots are near their quota.
pub fn of_quotas(quotas: &[(Place, Quota)], observed: &Observed, warn_percent: u32) -> Vec<Finding> {
    let near = quotas.iter().filter(|(_, quota)| quota.max > 0 && quota.used * 100 >= quota.max * i64::from(warn_percent));
    near.map(|(place, quota)| {
        let seen = format!("{} of {} manual snapshots, of whomever", quota.used, quota.max);
        Finding::new(FindingKind::SnapshotQuota, format!("snapshots, {}", observed.place_name(*place)), seen)
            .expected(format!("less than {warn_percent} %"))
            .hint("ask for a higher quota (Service Quotas, RDS, manual DB snapshots), keep fewer, or delete what others left")
    })
    .collect()
}

/// What was not deleted.
pub fn of_deletions(tally: &Tally) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tally
        .refused
        .iter()
        .map(|(name, failure)| {
            let finding = Finding::new(FindingKind::DeletionRefused, name, failure.to_string());
            finding.hint(failure.hint.as_deref().unwrap_or("the next run tries again"))
        })
        .collect();
    if tally.cut > 0 {
        let finding = Finding::new(FindingKind::DeletionsPutOff, "backups", format!("the time was over before {} deletions", tally.cut));
        findings.push(finding.hint("the next run goes on"));
    }
    findings
}

/// Writes facts and summary; the findings are there already. Without a tally it was a dry run.
pub fn describe(report: &mut Report, decisions: &[Decision<'_>], gauges: &[Gauge], tally: Option<&Tally>) {
    let planned = decisions.iter().filter(|decision| decision.action == Action::Delete).count() as u64;
    let put_off = decisions.iter().filter(|decision| matches!(decision.why, Why::PutOff(_))).count() as u64;
    let deleted = tally.map_or(0, |tally| tally.snapshots + tally.archives);
    let seen = decisions.len() as u64;
    report.count("backupsKept", seen - deleted, Unit::Count);
    report.count("backupsDeleted", deleted, Unit::Count);
    report.count("deletionsPutOff", put_off + tally.map_or(0, |tally| tally.cut), Unit::Count);
    let done = match tally {
        None => format!("dry run: {} of {} backups would be deleted", count(planned), count(seen)),
        Some(tally) if deleted == 0 => format!("nothing of {} backups deleted{}", count(seen), not_done(tally)),
        Some(tally) => {
            let parts = [(tally.snapshots, "snapshot", "snapshots"), (tally.archives, "archive", "archives")];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(number, ..)| *number > 0)
                .map(|(number, one, many)| format!("{} {}", count(*number), if *number == 1 { one } else { many }))
                .collect();
            format!("{} deleted, {} backups kept{}", parts.join(" and "), count(seen - deleted), not_done(tally))
        }
    };
    let later = if put_off > 0 { format!("; {} more by the next runs", count(put_off)) } else { String::new() };
    let oldest = gauges.iter().filter_map(|gauge| Some((gauge.age?, &gauge.what))).max();
    let age = oldest.map_or_else(String::new, |(age, what)| format!("; newest good ones at most {} old ({what})", duration(age)));
    let serious = report.findings.iter().filter(|finding| finding.severity > Severity::Note).count() as u64;
    let verdict = match serious {
        0 => String::new(),
        1 => "; 1 finding".to_owned(),
        many => format!("; {} findings", count(many)),
    };
    report.summary = format!("{done}{later}{age}{verdict}");
}

fn not_done(tally: &Tally) -> String {
    let parts = [(tally.refused.len() as u64, "refused"), (tally.changed, "changed meanwhile"), (tally.cut, "without time")];
    let parts: Vec<String> = parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{} {what}", count(*number))).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn sort(what: What<'_>) -> String {
    match what {
        What::Snapshot(snapshot) => snapshot.owned.as_ref().map_or_else(String::new, |owned| format!("{} snapshots", owned.kind)),
        What::Archive(archive) => format!("archives of {}", archive.key.database),
    }
}

fn named(ids: &[&str]) -> String {
    let shown = ids[..ids.len().min(NAMED_MAX)].join(", ");
    if ids.len() > NAMED_MAX { format!("{shown} and {} more", ids.len() - NAMED_MAX) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use shared::failure::FailureKind;
    use shared::key::ArchiveKey;

    use crate::model::{Archive, State};

    fn archive(number: i64) -> Archive {
        let slot = DateTime::UNIX_EPOCH + TimeDelta::days(number);
        let key = ArchiveKey { instance: "i".into(), database: "app".into(), slot, run_id: format!("r{number}") };
        Archive { place: Place::Bucket, key, state: State::Good, written_at: slot }
    }

    fn report() -> Report {
        let json = r#"{"schema":1,"id":"a","job":"retention","stage":"dev","subject":{"instance":"i"},"version":"0","gitSha":"x","startedAt":"2026-11-23T02:00:00Z",
            "durationSeconds":0,"outcome":"ok","summary":"","facts":[],"findings":[],"links":[]}"#;
        serde_json::from_str(json).expect("a report")
    }

    #[test]
    fn a_sentence_says_what_was_kept_and_deleted_and_what_was_not() {
        let archives: Vec<Archive> = (0..4).map(archive).collect();
        let decision = |number: usize, action, why| Decision { what: What::Archive(&archives[number]), action, why };
        let decisions = [
            decision(0, Action::Delete, Why::NoRule(3)),
            decision(1, Action::Delete, Why::NoRule(2)),
            decision(2, Action::Keep, Why::PutOff(2)),
            decision(3, Action::Keep, Why::NewestGood),
        ];
        let gauges = [Gauge { fact: "archiveAgeHours", what: "archive of app".into(), age: Some(TimeDelta::hours(5)) }];
        let said = |tally: Option<&Tally>| {
            let mut report = report();
            report.findings.extend(tally.map(of_deletions).unwrap_or_default());
            describe(&mut report, &decisions, &gauges, tally);
            report
        };
        let rest = "; 1 more by the next runs; newest good ones at most 5 h old (archive of app)";
        assert_eq!(said(None).summary, format!("dry run: 2 of 4 backups would be deleted{rest}"));
        let mut tally = Tally { archives: 1, ..Tally::default() };
        tally.refused.push(("archive x".into(), Failure::new(FailureKind::Denied, "no")));
        let report = said(Some(&tally));
        assert_eq!(report.summary, format!("1 archive deleted, 3 backups kept (1 refused){rest}; 1 finding"));
        assert_eq!((report.fact("backupsKept"), report.fact("backupsDeleted"), report.fact("deletionsPutOff")), (Some(3.0), Some(1.0), Some(1.0)));
        assert_eq!(report.findings[0].kind, FindingKind::DeletionRefused);
    }

    #[test]
    fn the_quota_is_said_from_the_share_on_that_was_set() {
        let of = |used| of_quotas(&[(Place::Home, Quota { used, max: 100 })], &Observed::default(), 80);
        assert_eq!(of(79), []);
        assert_eq!(of(80)[0].seen, "80 of 100 manual snapshots, of whomever");
        assert_eq!(of_quotas(&[(Place::Home, Quota { used: 0, max: 0 })], &Observed::default(), 80), [], "a quota that is not said warns of nothing");
    }

    #[test]
    fn a_finding_names_a_few_and_counts_the_rest() {
        assert_eq!(named(&["a", "b"]), "a, b");
        assert_eq!(named(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
