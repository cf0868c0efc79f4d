//! One run, one report: what ran, on what, how long, how it ended, and what it found.
//!
//! The report is logged, archived, counted as metrics and published; each of those renders this one model. A job that finds
//! something bad has *succeeded* and says so here.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::finding::{Finding, FindingKind, Severity};

/// Version of this model; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// How a run ended. `Unknown` is never `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Everything was checked and is as promised.
    Ok,
    /// It works, but somebody should look.
    Attention,
    /// Something could not be checked.
    Unknown,
    /// A promise is broken.
    Failed,
}

impl Outcome {
    /// The outcome that the findings amount to.
    pub fn of(findings: &[Finding]) -> Self {
        match findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Note) => Self::Ok,
            Some(Severity::Warning) => Self::Attention,
            Some(Severity::Unknown) => Self::Unknown,
            Some(Severity::Critical) => Self::Failed,
        }
    }

    /// The word for it, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Attention => "attention",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// The unit of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
    /// Hours.
    Hours,
}

/// A number that the run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// What was measured, in camelCase: `rowsDumped`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

/// Where to read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// What is there.
    pub title: String,
    /// A URL, or an `s3://` address.
    pub target: String,
}

/// What a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The RDS instance that the stack guards.
    pub instance: String,
    /// One database of it, when the run was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// What ran, on what, how long, how it ended and what it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of this model.
    pub schema: u32,
    /// From the slot of the run, so that the attempts of a retried run have one id.
    pub id: String,
    /// Name of the function.
    pub job: String,
    /// `dev`, `staging` or `prod`.
    pub stage: String,
    /// What it is about.
    pub subject: Subject,
    /// Lifeboat's version.
    pub version: String,
    /// The commit that was deployed.
    pub git_sha: String,
    /// When this attempt began.
    pub started_at: DateTime<Utc>,
    /// How long this attempt took.
    pub duration_seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done, in one sentence for a person.
    pub summary: String,
    /// What was measured.
    pub facts: Vec<Fact>,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// Findings that were left out of this copy of the report because of its size.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub findings_left_out: usize,
    /// Where to read on.
    pub links: Vec<Link>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Report {
    /// Adds a measurement.
    #[expect(clippy::cast_precision_loss, reason = "a count of rows or bytes in a report may round above 2^53")]
    pub fn count(&mut self, name: &str, value: u64, unit: Unit) {
        self.facts.push(Fact { name: name.to_owned(), value: value as f64, unit });
    }

    /// Adds a duration in seconds.
    pub fn seconds(&mut self, name: &str, value: f64) {
        self.facts.push(Fact { name: name.to_owned(), value, unit: Unit::Seconds });
    }

    /// Adds an age in hours.
    pub fn hours(&mut self, name: &str, value: f64) {
        self.facts.push(Fact { name: name.to_owned(), value, unit: Unit::Hours });
    }

    /// The value of a fact, if it was measured.
    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value)
    }

    /// Adds a place to read on.
    pub fn link(&mut self, title: impl Into<String>, target: impl Into<String>) {
        self.links.push(Link { title: title.into(), target: target.into() });
    }

    /// Says that the job could not be done.
    pub fn fail(&mut self, subject: impl Into<String>, failure: &Failure) {
        let mut finding = Finding::new(FindingKind::RunFailed, subject, format!("{}: {failure}", failure.kind.name()));
        finding.hint.clone_from(&failure.hint);
        self.findings.push(finding);
    }

    /// Fixes outcome, order and duration. A finished report is what gets logged, archived and published.
    pub fn finish(&mut self, now: DateTime<Utc>) {
        self.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.kind.cmp(&b.kind)).then_with(|| a.subject.cmp(&b.subject)));
        self.outcome = Outcome::of(&self.findings);
        self.duration_seconds = (now - self.started_at).as_seconds_f64().max(0.0);
    }

    /// A copy of at most `bytes_max` bytes of JSON: the least important findings are left out and counted.
    #[must_use]
    pub fn fit(&self, bytes_max: usize) -> Self {
        let mut copy = self.clone();
        while serde_json::to_vec(&copy).is_ok_and(|json| json.len() > bytes_max) && !copy.findings.is_empty() {
            copy.findings.truncate(copy.findings.len() / 2);
            copy.findings_left_out = self.findings.len() - copy.findings.len();
        }
        copy
    }
}

/// Id of a report: the job, what it is about, and the slot that the run fills.
pub fn id(job: &str, instance: &str, slot: DateTime<Utc>) -> String {
    format!("{job}.{instance}.{}", slot_name(slot))
}

/// A slot as it stands in keys and ids: `2026-11-23T02-00-00Z`.
pub fn slot_name(slot: DateTime<Utc>) -> String {
    slot.to_rfc3339_opts(SecondsFormat::Secs, true).replace(':', "-")
}

/// The slot that [`slot_name`] wrote, or `None` for anything else.
pub fn parse_slot_name(name: &str) -> Option<DateTime<Utc>> {
    chrono::NaiveDateTime::parse_from_str(name, "%Y-%m-%dT%H-%M-%SZ").ok().map(|time| time.and_utc())
}
