//! What was found, in a sentence with its numbers: whoever reads it at night must not need the statistics.

use chrono::Weekday;
use shared::human;
use shared_postgres::proof::quote;

use super::detect::{SHIFT_NIGHTS, Verdict};
use super::marks::Metric;

impl Metric {
    fn is_share(self) -> bool {
        matches!(self, Self::Nulls | Self::Empty | Self::Trues)
    }

    /// What it is, for a person.
    fn words(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Growth => "new rows since the night before",
            Self::Nulls => "share of nulls",
            Self::Empty => "share of empty texts",
            Self::Trues => "share of trues",
            Self::Distinct => "distinct values",
            Self::Min => "smallest value",
        }
    }
}

/// `4,100`, or `1.9 %`.
fn number(metric: Metric, value: f64) -> String {
    if metric.is_share() { percent(value) } else { human::count(human::whole(value.max(0.0))) }
}

/// A share, with as many digits as say something.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value <= 0.0 {
        "0 %".to_owned()
    } else if value < 0.01 {
        "less than 0.01 %".to_owned()
    } else if value < 1.0 {
        format!("{value:.2} %")
    } else if value < 99.95 {
        format!("{value:.1} %")
    } else if value < 100.0 {
        "nearly 100 %".to_owned()
    } else {
        "100 %".to_owned()
    }
}

fn range(metric: Metric, verdict: &Verdict) -> String {
    let (low, high) = (number(metric, verdict.low), number(metric, verdict.high));
    if low == high { low } else { format!("{low} to {high}") }
}

fn subject(metric: Metric, column: Option<&str>) -> String {
    column.map_or_else(|| metric.words().to_owned(), |column| format!("{column}: {}", metric.words()))
}

/// `rows: expected 9,800 to 10,400 for a Tuesday, got 4,100`.
pub(crate) fn unusual(metric: Metric, column: Option<&str>, verdict: &Verdict, value: f64, weekday: Weekday, is_estimate: bool) -> String {
    let day = if verdict.is_weekday { format!(" for a {}", name(weekday)) } else { String::new() };
    let about = if is_estimate { "about " } else { "" };
    let colon = if column.is_none() { ":" } else { "" };
    format!("{}{colon} expected {}{day}, got {about}{}", subject(metric, column), range(metric, verdict), number(metric, value))
}

/// That a number stays where it went.
pub(crate) fn shifted(metric: Metric, column: Option<&str>, before: &str, value: f64) -> String {
    let colon = if column.is_none() { ":" } else { "" };
    format!("{}{colon} about {} for {SHIFT_NIGHTS} nights now, {before} before", subject(metric, column), number(metric, value))
}

/// What was expected before a shift.
pub(crate) fn expected_before(metric: Metric, verdict: &Verdict) -> String {
    range(metric, verdict)
}

/// The query that shows a number anew.
pub(crate) fn query(metric: Metric, table: &str, column: Option<&str>) -> String {
    let quoted = column.map(quote).unwrap_or_default();
    match (metric, column) {
        (Metric::Nulls, Some(_)) => format!("SELECT count(*), count(*) FILTER (WHERE {quoted} IS NULL) AS nulls FROM {table};"),
        (Metric::Empty, Some(_)) => format!("SELECT count(*), count(*) FILTER (WHERE {quoted} = '') AS empty FROM {table};"),
        (Metric::Trues, Some(_)) => format!("SELECT count(*), count(*) FILTER (WHERE {quoted}) AS trues FROM {table};"),
        (Metric::Distinct, Some(_)) => format!("SELECT count(DISTINCT {quoted}) FROM {table};"),
        (Metric::Min, Some(_)) => format!("SELECT count(*) FROM {table} WHERE {quoted} < 0;"),
        _ => format!("SELECT count(*) FROM {table};"),
    }
}

fn name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}
