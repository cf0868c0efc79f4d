//! What a check came to, and the finding that it is. Pure.

use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};
use shared::human;

use super::check::{Check, Level};
use super::sql;

/// What a check came to, kept with the night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Name.
    pub name: String,
    /// `sql`, `values` …
    pub kind: String,
    /// The table that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// How much it matters.
    pub level: Level,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it came to.
    pub state: State,
    /// Rows, keys or groups of rows that break it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
    /// Whether there may be more violations than were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The number that was judged: of a scalar or a threshold; the age in seconds of the newest value; the objects that were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// How long it took; of rules that were judged in one pass, the pass.
    pub seconds: f64,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// Whether what was promised is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It is.
    Ok,
    /// It is not.
    Failed,
    /// The check is written wrong.
    Invalid,
    /// Nothing is known.
    NotChecked,
}

/// What running a check came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// What was promised is so.
    Holds {
        /// The number that was judged.
        value: Option<f64>,
    },
    /// It is not.
    Fails {
        /// How many break it.
        violations: Option<Count>,
        /// The number that was judged.
        value: Option<f64>,
        /// In words.
        seen: String,
        /// In words.
        expected: String,
        /// Values, where they may be shown.
        shown: Vec<String>,
    },
    /// The check is written wrong: in words, with the line.
    Invalid(String),
    /// Nothing is known: why, and what helps.
    NotChecked(String, Option<String>),
    /// The server says that what it stores is damaged.
    Damaged(String),
}

/// A count that may have been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub number: u64,
    /// Or more.
    pub at_least: bool,
}

impl Count {
    /// From a number that was limited to one more than [`sql::VIOLATIONS_MAX`].
    pub fn limited(number: i64) -> Self {
        let number = u64::try_from(number).unwrap_or(0);
        Self { number: number.min(sql::VIOLATIONS_MAX), at_least: number > sql::VIOLATIONS_MAX }
    }

    /// From a number that was not limited.
    pub fn exact(number: u64) -> Self {
        Self { number, at_least: false }
    }

    /// `3 rows`, `at least 1,000 rows`.
    pub fn said(self, one: &str, many: &str) -> String {
        let more = if self.at_least { "at least " } else { "" };
        format!("{more}{} {}", human::count(self.number), if self.number == 1 { one } else { many })
    }
}

/// Longest hint of a check's own statement, in characters.
const SHOWN_MAX: usize = 1200;

/// Puts a result together.
pub fn conclude(check: &Check, outcome: Outcome, seconds: f64) -> CheckResult {
    let mut result = CheckResult {
        name: check.name.clone(),
        kind: check.kind_name().to_owned(),
        table: check.table().map(super::check::TableName::subject),
        level: check.level,
        owner: check.owner.clone(),
        state: State::Ok,
        violations: None,
        at_least: false,
        value: None,
        seconds,
        finding: None,
    };
    let finding = |kind, seen: String| Finding::new(kind, &check.name, seen);
    match outcome {
        Outcome::Holds { value } => result.value = value.filter(|value| value.is_finite()),
        Outcome::Fails { violations, value, seen, expected, shown } => {
            result.state = State::Failed;
            (result.violations, result.at_least) = (violations.map(|count| count.number), violations.is_some_and(|count| count.at_least));
            result.value = value.filter(|value| value.is_finite());
            let seen = if shown.is_empty() { seen } else { format!("{seen}, such as {}", shown.join("; ")) };
            result.finding = Some(finding(check.level.finding(), seen).expected(expected).hint(advice(check)));
        }
        Outcome::Invalid(what) => {
            result.state = State::Invalid;
            let hint = format!("correct it in the team's file, line {}{}", check.line, contact(check));
            result.finding = Some(finding(FindingKind::CheckInvalid, what).expected("a check that the database understands").hint(hint));
        }
        Outcome::NotChecked(what, help) => {
            result.state = State::NotChecked;
            let not_checked = finding(FindingKind::NotChecked, what);
            result.finding = Some(match help {
                Some(help) => not_checked.hint(help),
                None => not_checked.hint(format!("the next night tries again{}", contact(check))),
            });
        }
        Outcome::Damaged(what) => {
            result.state = State::NotChecked;
            let subject = check.table().map_or_else(|| check.name.clone(), super::check::TableName::subject);
            let seen = format!("the server could not read it for the check {:?}: {what}", check.name);
            result.finding = Some(Finding::new(FindingKind::HeapCorrupt, subject, seen).hint(
                "do not write to it; take a snapshot now, then follow the runbook: the newest good dump or snapshot has what the damaged pages held",
            ));
        }
    }
    result
}

fn contact(check: &Check) -> String {
    let owner = check.owner.as_ref().map(|owner| format!("; ask {owner}"));
    let runbook = check.runbook.as_ref().map(|runbook| format!("; see {runbook}"));
    format!("{}{}", owner.unwrap_or_default(), runbook.unwrap_or_default())
}

fn advice(check: &Check) -> String {
    let look = match sql::for_a_person(check) {
        Some(sql) if sql.chars().count() <= SHOWN_MAX => format!("look by: {sql}"),
        _ if check.sql().is_some() => format!("run its SQL (line {} of the team's file)", check.sql().map_or(check.line, |sql| sql.line)),
        _ => format!("see line {} of the team's file", check.line),
    };
    format!("{look}{}", contact(check))
}

/// A share of the checks, for a report: how many came to each state.
pub fn counted(results: &[CheckResult]) -> [(State, usize); 4] {
    [State::Ok, State::Failed, State::Invalid, State::NotChecked].map(|state| (state, results.iter().filter(|result| result.state == state).count()))
}
