//! Which numbers of a night were flagged: written beside them into the history, where the next nights find it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A number of a table or of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// Rows of a table.
    Rows,
    /// Rows that came since the night before.
    Growth,
    /// Share of nulls of a column.
    Nulls,
    /// Share of empty texts.
    Empty,
    /// Share of trues.
    Trues,
    /// Distinct values.
    Distinct,
    /// The smallest value: only whether it is negative.
    Min,
}

impl Metric {
    /// As the history names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Growth => "growth",
            Self::Nulls => "nulls",
            Self::Empty => "empty",
            Self::Trues => "trues",
            Self::Distinct => "distinct",
            Self::Min => "min",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Mark {
    column: Option<String>,
    metric: Metric,
    is_shift: bool,
}

/// What was flagged tonight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks(HashMap<String, Vec<Mark>>);

impl Marks {
    /// Flags a number; `is_shift`: it stays there, and its history begins anew.
    pub fn add(&mut self, table: &str, column: Option<&str>, metric: Metric, is_shift: bool) {
        let marks = self.0.entry(table.to_owned()).or_default();
        marks.push(Mark { column: column.map(str::to_owned), metric, is_shift });
    }

    /// What is flagged, or shifted, of a table (`column`: `None`) or of a column.
    pub fn of(&self, table: &str, column: Option<&str>, shifted: bool) -> Vec<Metric> {
        let marks = self.0.get(table).map(Vec::as_slice).unwrap_or_default();
        let is_meant = |mark: &&Mark| mark.column.as_deref() == column && (mark.is_shift || !shifted);
        let mut metrics: Vec<Metric> = marks.iter().filter(is_meant).map(|mark| mark.metric).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }
}
