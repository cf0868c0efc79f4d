//! Reports of our own functions.
//!
//! The incident of a report is its job, its instance and, when it was about one, its database: a bad report begins it, a good one ends it. But a good
//! report ends it only if it looked: a run that gave way to another, or found its work done, saw nothing. Findings take part by their kinds and
//! subjects: what two reports have in common is no news.

use serde_json::Value;
use shared::finding::{FindingKind, Severity};
use shared::human;
use shared::lambda::report_key;
use shared::report::{Outcome, Report, SCHEMA, Unit};

use super::envelope::Carried;
use super::event::{Event, Runbook, Source, State};
use super::figures::seconds;
use super::value::{cut, is_plausible, text, time};
use crate::text::words;

/// Findings that are kept of one report, worst first.
const FINDINGS_MAX: usize = 20;
/// Names of findings that tell one picture from another.
const NAMES_MAX: usize = 200;

/// A run with these did nothing: what it says about the world is nothing.
const DID_NOTHING: [FindingKind; 2] = [FindingKind::AlreadyRunning, FindingKind::AlreadyDone];
/// Jobs with runs of several sorts, each with what only it measures: its incident is its own.
const SORTS: [(&str, &str, &str); 3] =
    [("restore-drill", "swept", "sweep"), ("restore-drill", "rehearsalSeconds", "gate"), ("logical-dump", "tablesCompared", "compare")];
/// Jobs that look at one of several things unless they measured this; only a look at everything says that all is well.
const LOOKS_AT_ALL: [(&str, &str); 1] = [("rotate-secret", "rotationsOpen")];

/// Reads a report.
pub(super) fn read(carried: &Carried, value: &Value) -> Option<Event> {
    let has_parts = value["job"].is_string() && value["outcome"].is_string();
    if !has_parts {
        return None;
    }
    match serde_json::from_value::<Report>(value.clone()) {
        Ok(report) if report.schema <= SCHEMA => Some(of(carried, report)),
        _ => Some(of_another_version(carried, value)),
    }
}

fn of(carried: &Carried, report: Report) -> Event {
    let database = report.subject.database.as_ref().map(|database| format!("/{database}")).unwrap_or_default();
    let title = format!("{}: {}{database}", cut(&report.job, 60), cut(&report.subject.instance, 80));
    let mut event = carried.event(Source::Report, title, &report.summary);
    let verdict = verdict(report.outcome);
    event.severity = verdict.0;
    if event.what.is_empty() {
        verdict.1.clone_into(&mut event.what);
    }
    event.stage = Some(cut(&report.stage, 40)).filter(|stage| !stage.is_empty());
    let started_at = Some(report.started_at).filter(is_plausible).unwrap_or(carried.sent_at);
    event.since = Some(started_at);
    event.service = format!("Lifeboat {}", cut(&report.job, 60));
    let sort = SORTS.iter().find(|(job, fact, _)| *job == report.job && report.fact(fact).is_some()).map_or("", |(.., sort)| *sort);
    if let Some(state) = state(&report) {
        let key =
            format!("report:{}:{}{}{sort}:{}{database}", report.stage, report.job, if sort.is_empty() { "" } else { "/" }, report.subject.instance);
        // A report is said when its run ends, and says what was then.
        let seconds = chrono::TimeDelta::try_milliseconds(human::whole(report.duration_seconds.clamp(0.0, 1e6) * 1e3).try_into().unwrap_or(0));
        event.belongs_to(key, state, started_at + seconds.unwrap_or_default());
        if let Some(incident) = &mut event.incident {
            let wrong = report.findings.iter().filter(|finding| finding.severity > Severity::Note);
            incident.findings = wrong.take(NAMES_MAX).map(|finding| format!("{} {}", finding.kind.name(), cut(&finding.subject, 200))).collect();
            incident.findings.sort();
            incident.findings.dedup();
        }
    }
    // A retried run is another attempt: it is said again.
    event.duplicate_key = format!("report:{}@{}", report.id, report.started_at.timestamp_millis());
    event.advice = report
        .findings
        .iter()
        .find(|finding| finding.severity > Severity::Note)
        .and_then(|finding| finding.hint.as_deref())
        .map(|hint| cut(hint, 500));
    event.runbook =
        report.findings.iter().find(|finding| finding.severity > Severity::Note).map(|finding| Runbook::Section(cut(&finding.runbook, 99)));
    for fact in &report.facts {
        let value = match fact.unit {
            Unit::Seconds => seconds(fact.value),
            Unit::Hours => seconds(fact.value * 3_600.0),
            Unit::Bytes => human::bytes(human::whole(fact.value)),
            Unit::Count => human::count(human::whole(fact.value)),
        };
        event.words(&cut(&words(&cut(&fact.name, 60)), 60), Some(value));
    }
    for link in &report.links {
        event.link(&cut(&link.title, 80), Some(cut(&link.target, 400)));
    }
    let sha: String = report.git_sha.chars().take(10).collect();
    event.small = vec![
        format!("Lifeboat {} ({sha}), took {}", cut(&report.version, 30), seconds(report.duration_seconds)),
        cut(&report.id, 250),
        format!("reports: {}", cut(&report_key(&report), 400)),
    ];
    event.findings_left_out = report.findings_left_out + report.findings.len().saturating_sub(FINDINGS_MAX);
    event.findings = report.findings.into_iter().take(FINDINGS_MAX).map(bounded).collect();
    event
}

fn bounded(mut finding: shared::finding::Finding) -> shared::finding::Finding {
    finding.subject = cut(&finding.subject, 500);
    finding.seen = cut(&finding.seen, 1_000);
    finding.expected = finding.expected.map(|text| cut(&text, 500));
    finding.hint = finding.hint.map(|text| cut(&text, 600));
    finding.runbook = cut(&finding.runbook, 99);
    finding
}

/// How bad an outcome is, and its sentence.
fn verdict(outcome: Outcome) -> (Severity, &'static str) {
    match outcome {
        Outcome::Ok => (Severity::Note, "everything is as promised"),
        Outcome::Attention => (Severity::Warning, "it works, but somebody should look"),
        Outcome::Unknown => (Severity::Unknown, "something could not be checked"),
        Outcome::Failed => (Severity::Critical, "a promise is broken"),
    }
}

/// What a report says about its incident; nothing if it saw nothing.
fn state(report: &Report) -> Option<State> {
    if report.outcome != Outcome::Ok {
        return Some(State::Firing);
    }
    let did_nothing = report.findings.iter().any(|finding| DID_NOTHING.contains(&finding.kind));
    let is_partial = LOOKS_AT_ALL.iter().any(|(job, fact)| *job == report.job && report.fact(fact).is_none());
    (!did_nothing && !is_partial).then_some(State::Resolved)
}

/// A report of another version still has a job, an outcome and a summary. It cannot end an incident: what it looked at is not known.
fn of_another_version(carried: &Carried, value: &Value) -> Event {
    let part = |path: &str| text(value, path).unwrap_or_default();
    let (job, outcome) = (cut(&part("job"), 60), cut(&part("outcome"), 40));
    let summary = part("summary");
    let instance = text(value, "subject.instance").map(|instance| format!(": {}", cut(&instance, 80))).unwrap_or_default();
    let mut event =
        carried.event(Source::Report, format!("{job}{instance}"), if summary.is_empty() { format!("the outcome is {outcome}") } else { summary });
    event.severity = match outcome.as_str() {
        "ok" => Severity::Note,
        "attention" => Severity::Warning,
        "failed" => Severity::Critical,
        _ => Severity::Unknown,
    };
    event.is_understood = false;
    event.stage = text(value, "stage").map(|stage| cut(&stage, 40));
    event.since = time(value, "startedAt");
    event.service = format!("Lifeboat {job}");
    event.words("outcome", Some(outcome).filter(|outcome| outcome.chars().all(char::is_alphanumeric)));
    event.code("schema", text(value, "schema").map(|schema| format!("{schema}, which this version does not know")));
    if let Some(id) = text(value, "id") {
        event.duplicate_key = format!("report:{id}@{}", event.since.map(|at| at.timestamp_millis()).unwrap_or_default());
    }
    event
}
