//! What came, as everything behind it sees it: whatever it was wrapped in, whoever wrote it.
//!
//! The texts in here may be anybody's: nothing is escaped, everything is bounded. Whoever shows them escapes them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::digest::Content;
use shared::finding::{Finding, Severity};

/// Where an event is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A CloudWatch alarm changed its state.
    Alarm,
    /// Somebody made, changed or deleted a CloudWatch alarm.
    AlarmChange,
    /// RDS.
    Database,
    /// AWS Backup.
    Backup,
    /// Parameter Store.
    Parameter,
    /// Secrets Manager.
    Secret,
    /// A report of one of our functions.
    Report,
    /// GuardDuty.
    GuardDuty,
    /// Security Hub.
    SecurityHub,
    /// AWS Health.
    Health,
    /// What a function could not do, and handed over for the record.
    DeadLetter,
    /// Anything else.
    Other,
}

impl Source {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alarm | Self::AlarmChange => "CloudWatch alarm",
            Self::Database => "RDS",
            Self::Backup => "AWS Backup",
            Self::Parameter => "Parameter Store",
            Self::Secret => "Secrets Manager",
            Self::Report => "Lifeboat",
            Self::GuardDuty => "GuardDuty",
            Self::SecurityHub => "Security Hub",
            Self::Health => "AWS Health",
            Self::DeadLetter => "Dead letter",
            Self::Other => "Message",
        }
    }
}

/// What an event says about its incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Something is wrong.
    Firing,
    /// It is over.
    Resolved,
    /// Nothing is known, which is never healthy.
    Unknown,
}

/// The part that an event has in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// The same for everything that is about the same trouble, whichever way it came.
    pub key: String,
    /// What is the case now.
    pub state: State,
    /// Since when. It orders the events of an incident: an older one says nothing about now.
    pub at: DateTime<Utc>,
    /// The event is about one part of it (a series of an alarm with many): worth a line of its history, and never the beginning or end of it.
    pub part: Option<String>,
    /// What is wrong, in names that stay the same from one report to the next: the kinds and subjects of its findings. What is in one and not in the
    /// other is new, or over; the same once more is no news.
    pub findings: Vec<String>,
}

/// Why nobody needs to be told now. The event still counts: it may begin or end an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quiet {
    /// The alarm was just made: it has not looked at anything yet, or looked for the first time and all is well.
    JustMade,
    /// The alarm's own suppressor holds its actions back.
    Suppressed,
    /// Somebody muted it for a while.
    Muted,
}

/// A thing that was measured or is said beside the main thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// What it is, in our own words.
    pub name: String,
    /// What it is like.
    pub value: Shown,
}

/// A value as it is to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shown {
    /// Figures and words of our own.
    Words(String),
    /// A name or a text of somebody else.
    Code(String),
    /// A moment.
    Time(DateTime<Utc>),
    /// Another alarm and its state.
    Child {
        /// Its name.
        name: String,
        /// What is the case with it.
        state: State,
        /// Since when.
        since: Option<DateTime<Utc>>,
    },
}

/// Where to read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// What is there.
    pub title: String,
    /// An address: of the web, or `s3://`.
    pub target: String,
}

/// Where it says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runbook {
    /// A page.
    Address(String),
    /// A section of our own runbook.
    Section(String),
    /// The name of something that people know how to find.
    Named(String),
}

/// What came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Where it is from.
    pub source: Source,
    /// Its part in an incident; none if it stands alone.
    pub incident: Option<Incident>,
    /// How much it matters while it lasts; a resolved event has the severity of what is over.
    pub severity: Severity,
    /// What it is about: the name of the alarm, the instance, the job.
    pub title: String,
    /// What is the case, in a sentence.
    pub what: String,
    /// What those who made the alarm wanted to be said.
    pub description: Option<String>,
    /// What to do, in our own words.
    pub advice: Option<String>,
    /// Since when it is so.
    pub since: Option<DateTime<Utc>>,
    /// What else is known.
    pub facts: Vec<Fact>,
    /// The findings of a report, worst first.
    pub findings: Vec<Finding>,
    /// Findings that are not among them.
    pub findings_left_out: usize,
    /// Where to read on.
    pub links: Vec<Link>,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Where it says what to do.
    pub runbook: Option<Runbook>,
    /// All tags.
    pub tags: BTreeMap<String, String>,
    /// The account.
    pub account: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// `dev`, `staging` or `prod`, when it says so.
    pub stage: Option<String>,
    /// What it belongs to: a burst is grouped by it.
    pub service: String,
    /// Why nobody needs to be told now.
    pub quiet: Option<Quiet>,
    /// What came before with the same key was this.
    pub duplicate_key: String,
    /// Small print: the ARN, the version, the id of the report.
    pub small: Vec<String>,
    /// All of it, as it came, as far as it is of use.
    pub raw: String,
    /// Whether more is known of it than its envelope.
    pub is_understood: bool,
}

impl Event {
    /// Adds a fact.
    pub(super) fn fact(&mut self, name: &str, value: Shown) {
        if self.facts.len() < FACTS_MAX {
            self.facts.push(Fact { name: name.to_owned(), value });
        }
    }

    /// Adds a name or text of somebody else, if there is one.
    pub(super) fn code(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.fact(name, Shown::Code(super::value::cut(&value, 300)));
        }
    }

    /// Adds words of our own, if there are any.
    pub(super) fn words(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.fact(name, Shown::Words(value));
        }
    }

    /// Adds a moment, if there is one.
    pub(super) fn moment(&mut self, name: &str, value: Option<DateTime<Utc>>) {
        if let Some(value) = value {
            self.fact(name, Shown::Time(value));
        }
    }

    /// Adds a place to read on.
    pub(super) fn link(&mut self, title: &str, target: Option<String>) {
        if let Some(target) = target.filter(|_| self.links.len() < LINKS_MAX) {
            self.links.push(Link { title: title.to_owned(), target });
        }
    }

    /// Makes it part of an incident.
    pub(super) fn belongs_to(&mut self, key: impl Into<String>, state: State, at: DateTime<Utc>) {
        self.incident = Some(Incident { key: bounded_key(key.into()), state, at, part: None, findings: Vec::new() });
    }

    /// With words where others left nothing, and a key of a length that can be kept.
    pub(super) fn finished(mut self) -> Self {
        self.duplicate_key = bounded_key(self.duplicate_key);
        for text in [&mut self.title, &mut self.service] {
            if text.trim().is_empty() {
                self.source.name().clone_into(text);
            }
        }
        self
    }

    /// What is the case with its incident.
    pub fn state(&self) -> Option<State> {
        self.incident.as_ref().map(|incident| incident.state)
    }
}

/// A key that can be kept. What is cut off a long one still tells it from others: its digest takes its place.
fn bounded_key(key: String) -> String {
    if key.len() <= KEY_MAX {
        return key;
    }
    let mut whole = Content::default();
    whole.add_row(key.as_bytes());
    let begin: String = key.chars().take(KEY_BEGIN).collect();
    format!("{begin}…{}", whole.digest)
}

/// Of a key, in bytes; and what is kept of a longer one, in characters.
const KEY_MAX: usize = 1_000;
const KEY_BEGIN: usize = 200;
const FACTS_MAX: usize = 16;
const LINKS_MAX: usize = 5;
