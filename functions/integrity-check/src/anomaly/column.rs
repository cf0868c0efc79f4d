//! The numbers of a column: nulls, empty texts, trues, distinct values, and the sign of the smallest.

use shared::finding::FindingKind;
use shared::human::count;

use super::detect::{self, Series, Sort, Tonight};
use super::judge::{Alarm, Look};
use super::marks::Metric;
use super::rules;
use super::series::series;
use super::words;
use crate::history::{PastColumn, Points};
use crate::model::{ColumnMetrics, real};

/// Judges the numbers of a column.
pub(crate) fn judge(look: &Look<'_>, past: &PastColumn, numbers: &ColumnMetrics) -> Vec<Alarm> {
    let seen = look.metrics.seen;
    if seen == 0 {
        return Vec::new();
    }
    let mut alarms = Vec::new();
    let first = first_nulls(look, past, numbers);
    let has_first = first.is_some();
    alarms.extend(first);
    let shares = [(Metric::Nulls, Some(numbers.nulls).filter(|_| !has_first)), (Metric::Empty, numbers.empty), (Metric::Trues, numbers.trues)];
    for (metric, part) in shares {
        if let Some(part) = part {
            alarms.extend(number(look, past, metric, Sort::Share, (real(part) / real(seen)).min(1.0), look.usable));
        }
    }
    // Distinct values of a sample are not those of the table.
    if let Some(distinct) = numbers.distinct.filter(|_| !look.table.is_estimate()) {
        alarms.extend(number(look, past, Metric::Distinct, Sort::Distinct, distinct, look.exact));
    }
    alarms.extend(first_negative(look, past, numbers));
    alarms
}

fn number(look: &Look<'_>, past: &PastColumn, metric: Metric, sort: Sort, value: f64, usable: u64) -> Option<Alarm> {
    let series = series(look.ages, &past.points(metric), usable);
    let tonight = Tonight { value, seen: real(look.metrics.seen), is_estimate: look.is_estimate, widening: look.widening };
    let verdict = detect::judge(&series, sort, &tonight).filter(|verdict| verdict.flagged.is_some())?;
    let text = if verdict.is_shift {
        words::shifted(metric, Some(&past.name), &words::expected_before(metric, &verdict), value)
    } else {
        words::unusual(metric, Some(&past.name), &verdict, value, look.weekday, look.table.is_estimate())
    };
    Some(Alarm {
        kind: FindingKind::MetricAnomaly,
        metric,
        column: Some(past.name.to_string()),
        text,
        score: verdict.score,
        is_shift: verdict.is_shift,
    })
}

/// Nulls where there never were any. Tonight's may be of a sample: a null that was seen is there.
fn first_nulls(look: &Look<'_>, past: &PastColumn, numbers: &ColumnMetrics) -> Option<Alarm> {
    if numbers.nulls == 0 || real(look.metrics.seen) < rules::ROWS_MIN {
        return None;
    }
    let series = series(look.ages, &past.points(Metric::Nulls), look.exact);
    let nights = rules::never(&series)?;
    let what = format!("{} of {} rows are null", count(numbers.nulls), count(look.metrics.seen));
    Some(alarm(FindingKind::FirstNulls, Metric::Nulls, past, &series, &what, &format!("none in the {nights} nights before")))
}

fn first_negative(look: &Look<'_>, past: &PastColumn, numbers: &ColumnMetrics) -> Option<Alarm> {
    let is_negative = past.class.is_number() && numbers.min.is_some_and(|min| min < 0.0);
    if !is_negative || real(look.metrics.seen) < rules::ROWS_MIN {
        return None;
    }
    let points = past.points(Metric::Min);
    let sign = |night: usize| if (past.signed >> night) & 1 == 0 { f64::NAN } else { f64::from(u8::from((past.negative >> night) & 1 == 1)) };
    let series = series(look.ages, &Points { values: (0..look.ages.len()).map(sign).collect(), ..points }, look.exact);
    let nights = rules::never(&series)?;
    Some(alarm(
        FindingKind::FirstNegative,
        Metric::Min,
        past,
        &series,
        "some values are negative",
        &format!("none was in the {nights} nights before"),
    ))
}

fn alarm(kind: FindingKind, metric: Metric, past: &PastColumn, series: &Series, what: &str, before: &str) -> Alarm {
    let is_shift = rules::stays(series);
    let text = if is_shift { format!("{}: {what}, for the third night now", past.name) } else { format!("{}: {what}, {before}", past.name) };
    Alarm { kind, metric, column: Some(past.name.to_string()), text, score: f64::MAX, is_shift }
}
