//! Is what is counted up near its end? Sequences by their position, key columns by the largest value that a scan saw. Pure.

use std::collections::BTreeMap;

use shared::finding::{Finding, FindingKind};
use shared_postgres::soundness::{Found, written};

use super::facts::{KeyColumn, Marks, Ranges, Sequence};
use crate::model::TableMetrics;

/// Used part from which on it is said, and from which on it is critical.
const USED_WARNING: f64 = 0.75;
const USED_CRITICAL: f64 = 0.90;
/// The same by how fast it goes, in days; from a tenth of the range on, for before nothing follows from a day.
const DAYS_WARNING: f64 = 90.0;
const DAYS_CRITICAL: f64 = 30.0;
const USED_FORECAST: f64 = 0.25;

/// Days until a part that grows from one mark to the next is used up.
pub(super) fn days_left(before: f64, now: f64, days: f64) -> Option<f64> {
    let grown = now - before;
    (grown > 0.0 && days > 0.5).then(|| (1.0 - now).max(0.0) / (grown / days))
}

/// How bad a part is: the kind, or nothing.
fn kind(used: f64, days: Option<f64>) -> Option<FindingKind> {
    let days = days.filter(|_| used >= USED_FORECAST);
    let within = |limit: f64| days.is_some_and(|days| days < limit);
    match used {
        _ if used >= USED_CRITICAL || within(DAYS_CRITICAL) => Some(FindingKind::RangeNearlyOut),
        _ if used >= USED_WARNING || within(DAYS_WARNING) => Some(FindingKind::RangeRunsOut),
        _ => None,
    }
}

/// Sequences that are near their end. `before`: the marks of an earlier night, and how many days ago that was.
pub fn running_out(ranges: &Ranges, before: Option<(&Marks, f64)>) -> Vec<Finding> {
    let found: Found<&Sequence> = ranges.sequences.iter().collect::<Vec<_>>().into();
    let forecast = |sequence: &Sequence| {
        let (marks, days) = before?;
        days_left(*marks.used.get(&sequence.subject())?, sequence.used(), days)
    };
    found.findings(|sequence| {
        let (used, days) = (sequence.used(), forecast(sequence));
        let kind = kind(used, days)?;
        let what = if sequence.is_bound_by_column { "of what its column can hold" } else { "of its range" };
        let speed = days.map(|days| format!("; at the pace since the last look it lasts for {days:.0} days")).unwrap_or_default();
        let seen = format!("it is at {}, which is {:.1} % {what}: {} values are left{speed}", sequence.last, used * 100.0, sequence.left());
        let hint = match (&sequence.column, sequence.is_bound_by_column) {
            (Some(column), _) => format!(
                "when it ends, every INSERT fails. {column} becomes a bigint by a new column that is filled in pieces and swapped (docs/runbook.md); \
                 then ALTER SEQUENCE {} AS bigint;",
                written(&sequence.name)
            ),
            (None, _) => format!(
                "when it ends, nextval fails. If what takes its values can hold them: ALTER SEQUENCE {} AS bigint MAXVALUE 9223372036854775807;",
                written(&sequence.name)
            ),
        };
        Some(Finding::new(kind, sequence.subject(), seen).expected(format!("less than {:.0} %", USED_WARNING * 100.0)).hint(hint))
    })
}

/// Columns of primary keys whose largest value, as a scan saw it, is near what the column can hold. A column is left out when its sequence says the same.
pub fn column_ranges(ranges: &Ranges, metrics: &[TableMetrics]) -> Vec<Finding> {
    let keys: BTreeMap<(&str, &str), &KeyColumn> = ranges.keys.iter().map(|key| ((key.table.as_str(), key.column.as_str()), key)).collect();
    let said: Vec<&str> =
        ranges.sequences.iter().filter(|sequence| sequence.used() >= USED_WARNING).filter_map(|sequence| sequence.column.as_deref()).collect();
    let mut near = Vec::new();
    for table in metrics {
        for column in &table.columns {
            let Some(key) = keys.get(&(table.table.as_str(), column.column.as_str())) else { continue };
            let subject = format!("{}.{}", key.table, key.column);
            let most = if key.bytes == 2 { f64::from(i16::MAX) } else { f64::from(i32::MAX) };
            // Some count downwards, from zero or from the largest on.
            let used = column.max.unwrap_or(0.0).max(-column.min.unwrap_or(0.0)) / most;
            if let Some(kind) = kind(used, None)
                && !said.contains(&subject.as_str())
            {
                near.push((kind, subject, used, key.bytes));
            }
        }
    }
    near.sort_by(|a, b| a.1.cmp(&b.1));
    Found::from(near).findings(|(kind, subject, used, bytes)| {
        let seen = format!("the key's values have reached {:.1} % of what its {bytes} bytes can hold", used * 100.0);
        Some(Finding::new(*kind, subject, seen).expected(format!("less than {:.0} %", USED_WARNING * 100.0)).hint(
            "when it ends, every INSERT fails. Make it a bigint by a new column that is filled in pieces and swapped (docs/runbook.md), with what refers to it; \
             if its values are not given out one after the other, this says nothing",
        ))
    })
}
