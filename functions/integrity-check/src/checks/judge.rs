//! Numbers against promises: what a statement or the night's scan came to, in words. Pure.

use chrono::TimeDelta;
use shared::human;

use super::check::{Check, Holds, Kind, Measure, Metric, Promise, Reference, Rule, TableName};
use super::outcome::{Count, Outcome};
use crate::model::TableMetrics;

/// A rule, from the number of its pass and the server's time.
pub fn rule(name: &TableName, rule: &Rule, number: Option<f64>, server_now: Option<f64>) -> Outcome {
    let column = &rule.column;
    let Holds::Fresh(max_age) = &rule.holds else {
        let count = human::whole(number.unwrap_or(0.0));
        if count == 0 {
            return Outcome::Holds { value: None };
        }
        let rows = Count::exact(count);
        let (seen, expected) = match &rule.holds {
            Holds::NotNull => (format!("{} of {} without {column}", rows.said("row", "rows"), name.subject()), format!("{column} is never null")),
            Holds::Accepted { values, .. } => (
                format!("{} of {} with another {column}", rows.said("row", "rows"), name.subject()),
                format!("{column} is one of {} accepted values", values.len()),
            ),
            Holds::Range(..) => {
                (format!("{} of {} with {column} out of range", rows.said("row", "rows"), name.subject()), format!("{column} is in its range"))
            }
            _ => (
                format!("{} of {} whose {column} has another form", rows.said("row", "rows"), name.subject()),
                format!("{column} matches its pattern"),
            ),
        };
        return Outcome::Fails { violations: Some(rows), value: None, seen, expected, shown: Vec::new() };
    };
    let seconds = |seconds: f64| TimeDelta::try_seconds(i64::try_from(human::whole(seconds.max(0.0))).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX);
    let limit = max_age.as_secs_f64();
    let expected = format!("the newest {column} is at most {} old", human::duration(seconds(limit)));
    let newest = number.filter(|newest| newest.is_finite()).zip(server_now);
    match newest.map(|(newest, now)| (now - newest).max(0.0)) {
        Some(age) if age <= limit => Outcome::Holds { value: Some(age) },
        Some(age) => {
            let seen = format!("the newest {column} of {} is {} old", name.subject(), human::duration(seconds(age)));
            Outcome::Fails { violations: None, value: Some(age), seen, expected, shown: Vec::new() }
        }
        None => {
            let seen = format!("no row of {} that counts has a {column}", name.subject());
            Outcome::Fails { violations: None, value: None, seen, expected, shown: Vec::new() }
        }
    }
}

/// A query that gives rows.
pub fn rows(number: i64, shown: Vec<String>) -> Outcome {
    let count = Count::limited(number);
    if count.number == 0 {
        return Outcome::Holds { value: None };
    }
    Outcome::Fails {
        violations: Some(count),
        value: None,
        seen: format!("its query gives {}", count.said("row", "rows")),
        expected: "no row".to_owned(),
        shown,
    }
}

/// A query that gives a number, as text.
pub fn scalar(check: &Check, promise: Promise, text: Option<&str>) -> Outcome {
    let number = match text {
        None => None,
        Some("t" | "true") => Some(1.0),
        Some("f" | "false") => Some(0.0),
        Some(text) => {
            let Ok(number) = text.parse::<f64>() else {
                let line = check.sql().map_or(check.line, |sql| sql.line);
                return Outcome::Invalid(format!("line {line}: what its query gives is no number (for a time, take extract(epoch FROM …))"));
            };
            Some(number)
        }
    };
    match number {
        Some(value) if promise.holds(value) => Outcome::Holds { value: Some(value) },
        Some(value) => Outcome::Fails {
            violations: None,
            value: Some(value),
            seen: format!("its query gives {value}"),
            expected: promise.said(),
            shown: Vec::new(),
        },
        None => {
            Outcome::Fails { violations: None, value: None, seen: "its query gives no value".to_owned(), expected: promise.said(), shown: Vec::new() }
        }
    }
}

/// Groups of equal rows.
pub fn unique(name: &TableName, columns: &[String], number: i64, shown: Vec<String>) -> Outcome {
    let count = Count::limited(number);
    if count.number == 0 {
        return Outcome::Holds { value: None };
    }
    let seen = format!("{} of {} that more than one row has", count.said("value", "values"), name.subject());
    let expected = format!("no two rows are equal in {}", columns.join(", "));
    Outcome::Fails { violations: Some(count), value: None, seen, expected, shown }
}

/// Rows that refer to nothing.
pub fn references(reference: &Reference, number: i64, shown: Vec<String>) -> Outcome {
    let count = Count::limited(number);
    if count.number == 0 {
        return Outcome::Holds { value: None };
    }
    let parent = reference.parent.subject();
    Outcome::Fails {
        violations: Some(count),
        value: None,
        seen: format!("{} of {} whose {} is not in {parent}", count.said("row", "rows"), reference.table.subject(), reference.columns.join(", ")),
        expected: format!("every row refers to a row of {parent}"),
        shown,
    }
}

/// A number of the night's scan. `None`: the scan has not this table yet.
pub fn threshold(check: &Check, metrics: &[TableMetrics]) -> Option<Outcome> {
    let Kind::Threshold(measure, promise) = &check.kind else { return None };
    let table = metrics.iter().find(|table| table.table == measure.table.subject())?;
    Some(measured(check, measure, *promise, table))
}

#[expect(clippy::cast_precision_loss, reason = "what is compared is a number for people")]
fn measured(check: &Check, measure: &Measure, promise: Promise, table: &TableMetrics) -> Outcome {
    if let Some(partial) = &table.partial {
        return Outcome::NotChecked(format!("the scan saw only a part of {}: {partial}", table.table), None);
    }
    let is_sample = table.seen < table.rows;
    let (what, number) = match (measure.metric, &measure.column) {
        (Metric::Rows, _) => ("rows".to_owned(), Some(table.rows as f64)),
        (metric, column) => {
            let column = column.as_deref().unwrap_or_default();
            let Some(seen) = table.columns.iter().find(|known| known.column == column) else {
                return Outcome::Invalid(format!("line {}: {} has no column {column:?} that was scanned", check.line, table.table));
            };
            match metric {
                Metric::NullShare => (format!("share of nulls in {column}"), (table.seen > 0).then(|| seen.nulls as f64 / table.seen as f64)),
                Metric::Min => (format!("smallest {column}"), seen.min),
                Metric::Max => (format!("largest {column}"), seen.max),
                _ => (format!("distinct values of {column}"), seen.distinct),
            }
        }
    };
    let about = if is_sample { "about " } else { "" };
    match number {
        Some(value) if promise.holds(value) => Outcome::Holds { value: Some(value) },
        Some(value) => {
            // The smallest and the largest are values of rows.
            let shows = check.show_values || !matches!(measure.metric, Metric::Min | Metric::Max);
            let seen = if shows { format!("{what}: {about}{value}") } else { format!("{what}: not {}", promise.said()) };
            let value = shows.then_some(value);
            Outcome::Fails { violations: None, value, seen, expected: promise.said(), shown: Vec::new() }
        }
        // Of nothing, nothing is too small or too large: but an empty table is for a check of rows to find.
        None if table.seen == 0 => Outcome::Holds { value: None },
        None => Outcome::NotChecked(format!("the scan does not count the {what}: its type has none, or it has only nulls"), None),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
