//! What the page shows, as plain numbers and texts: whoever fills it needs to know nothing about HTML. No field holds a value of a row, and the smallest and largest
//! values of columns are here only as the shape of their curve.

use chrono::{DateTime, NaiveDate, Utc};
use shared::finding::{Finding, Severity};

/// The page of an instance's night.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The instance.
    pub instance: String,
    /// `dev`, `staging`, `prod`.
    pub stage: String,
    /// The night's slot.
    pub night: DateTime<Utc>,
    /// When the page was written.
    pub written_at: DateTime<Utc>,
    /// Where the runbook is, `https://…` without anchor.
    pub runbook: Option<String>,
    /// In any order: the worst comes first on the page.
    pub databases: Vec<DatabasePage>,
}

/// A database's night.
#[derive(Clone, Debug, Default)]
pub struct DatabasePage {
    /// Name.
    pub name: String,
    /// What is wrong tonight.
    pub findings: Vec<ShownFinding>,
    /// What was wrong last night and is not any more.
    pub resolved: Vec<Finding>,
    /// Its tables, in any order; see [`super::tables`].
    pub tables: Vec<TableRow>,
    /// The team's checks.
    pub checks: Vec<CheckRow>,
    /// Slow queries, the heaviest first; redacted already.
    pub queries: Vec<QueryRow>,
    /// Why there are none, if there are none.
    pub queries_missing: Option<String>,
    /// Feature flags that do nothing any more.
    pub flags: Vec<FlagRow>,
    /// What was not reached tonight: names of tables, or what it was.
    pub not_reached: Vec<String>,
    /// How much of it amcheck has seen; `None`: it cannot be used.
    pub coverage: Option<Coverage>,
    /// What was measured, for a line of figures: name and text (`storage`, `42 GB, 0.3 GB more than last night`).
    pub figures: Vec<(String, String)>,
    /// What should be known about this page: what was left out, nights that could not be read.
    pub remarks: Vec<String>,
}

/// A finding, and how long it is known.
#[derive(Clone, Debug)]
pub struct ShownFinding {
    /// What was found.
    pub finding: Finding,
    /// `None`: it is new tonight.
    pub since: Option<NaiveDate>,
}

/// A table on the page.
#[derive(Clone, Debug, Default)]
pub struct TableRow {
    /// `SCHEMA.NAME`.
    pub table: String,
    /// The worst finding about it.
    pub worst: Option<Severity>,
    /// `None`: it was not reached tonight.
    pub rows: Option<u64>,
    /// Whether `rows` is estimated.
    pub is_estimate: bool,
    /// Whether only a part of it could be seen.
    pub is_partial: bool,
    /// Rows of the last nights, tonight last.
    pub points: Vec<Option<f64>>,
    /// What was expected of them.
    pub band: Vec<Option<(f64, f64)>>,
    /// Bit by place in `points`: flagged.
    pub flagged: u64,
    /// Its columns.
    pub columns: Vec<ColumnRow>,
}

/// A column on the page.
#[derive(Clone, Debug, Default)]
pub struct ColumnRow {
    /// Name.
    pub name: String,
    /// `text`, `number`.
    pub kind: &'static str,
    /// Share of nulls tonight.
    pub nulls: Option<f64>,
    /// Distinct values tonight, estimated.
    pub distinct: Option<f64>,
    /// Shares of the last two weeks, tonight last.
    pub null_points: Vec<Option<f64>>,
    /// Likewise.
    pub distinct_points: Vec<Option<f64>>,
    /// The curve of the smallest value, between 0 and 1.
    pub min_shape: Vec<Option<f64>>,
    /// The curve of the largest value, between 0 and 1.
    pub max_shape: Vec<Option<f64>>,
    /// Whether a number of it was flagged tonight.
    pub is_flagged: bool,
}

/// How a check of the team's ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// It failed.
    Failed,
    /// It is written wrong.
    Invalid,
    /// It could not be checked.
    NotChecked,
    /// It holds.
    Ok,
}

/// A check of the team's.
#[derive(Clone, Debug)]
pub struct CheckRow {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub table: Option<String>,
    /// How it ended.
    pub state: CheckState,
    /// What was seen: `12 rows`; never a value of one.
    pub seen: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// A query.
#[derive(Clone, Debug)]
pub struct QueryRow {
    /// Its text, redacted and cut.
    pub text: String,
    /// `new`, `2.4 times slower`; empty for one that is merely heavy.
    pub remark: String,
    /// Its share of all time, between 0 and 1.
    pub share: f64,
    /// Calls since last night.
    pub calls: u64,
    /// Milliseconds of a call, on average.
    pub mean_ms: f64,
}

/// A feature flag that does nothing any more.
#[derive(Clone, Debug)]
pub struct FlagRow {
    /// Its name.
    pub name: String,
    /// Why: `fully rolled out for 94 days`.
    pub why: String,
}

/// How much of a database amcheck has seen.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Pages that were verified in this round.
    pub verified_pages: u64,
    /// Pages there are.
    pub pages: u64,
    /// Pages of tonight.
    pub tonight_pages: u64,
    /// How long ago the page was verified that waits longest; `None`: some never were.
    pub oldest_days: Option<u64>,
}
