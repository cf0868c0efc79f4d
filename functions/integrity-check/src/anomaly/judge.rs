//! A night against the nights before: each table and column is judged, what is wrong is gathered by table, the worst first, and never more than a person reads.

use std::collections::HashMap;

use chrono::{DateTime, Datelike as _, Utc, Weekday};
use shared::finding::{Finding, FindingKind};
use shared::human::count;

use super::calendar::Calendar;
use super::column;
use super::detect::{self, Sort, Tonight, Verdict};
use super::marks::{Marks, Metric};
use super::series::{ages, series};
use super::{rules, words};
use crate::history::{Past, PastTable, Points, TableTonight, find};
use crate::model::{TableMetrics, real};

/// Tables that are named for a kind of finding; the last says how many more.
const NAMED_MAX: usize = 20;
/// Numbers of a table that are explained.
const EXPLAINED_MAX: usize = 5;
/// Nights whose expected range is shown.
const BAND_NIGHTS: usize = 28;

/// What came of a night.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// What was found.
    pub findings: Vec<Finding>,
    /// What to write into the history beside the numbers.
    pub marks: Marks,
    /// For the page, by table: what was expected of its rows.
    pub bands: HashMap<String, Band>,
}

/// What was expected of a table's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    /// Of the nights before: age in days, least, most.
    pub nights: Vec<(usize, f64, f64)>,
    /// Of tonight.
    pub tonight: Option<(f64, f64)>,
}

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alarm {
    pub(crate) kind: FindingKind,
    pub(crate) metric: Metric,
    pub(crate) column: Option<String>,
    pub(crate) text: String,
    /// How far off; above 1.
    pub(crate) score: f64,
    pub(crate) is_shift: bool,
}

/// A table, and what of the nights before can be compared with it.
pub(crate) struct Look<'a> {
    pub(crate) table: &'a TableTonight,
    pub(crate) metrics: &'a TableMetrics,
    pub(crate) ages: &'a [Option<usize>],
    /// Bit by night: as much could be seen as tonight.
    pub(crate) usable: u64,
    /// Bit by night: and it was all read.
    pub(crate) exact: u64,
    /// Whether tonight or most nights are of a sample.
    pub(crate) is_estimate: bool,
    pub(crate) widening: f64,
    pub(crate) weekday: Weekday,
}

/// Judges the night of `slot`.
pub fn judge(past: &Past, tables: &[TableTonight], slot: DateTime<Utc>, calendar: &Calendar) -> Judgement {
    let ages = ages(&past.nights, slot);
    let (widening, weekday) = (calendar.widening(slot.date_naive()), slot.weekday());
    let mut judgement = Judgement::default();
    let mut gathered: Vec<(FindingKind, f64, Finding)> = Vec::new();
    for table in tables {
        let (Some(metrics), Some(before)) = (&table.metrics, past.table(&table.table)) else { continue };
        let usable = if metrics.partial.is_some() { before.partial } else { !before.partial };
        let rows = before.rows();
        let compared = (0..rows.values.len()).filter(|night| (usable >> night) & 1 == 1 && rows.values[*night].is_finite());
        let (all, sampled) = compared.fold((0, 0), |(all, sampled), night| (all + 1, sampled + ((before.estimated >> night) & 1)));
        let is_estimate = table.is_estimate() || sampled * 2 > all;
        let look = Look { table, metrics, ages: &ages, usable, exact: usable & !before.estimated, is_estimate, widening, weekday };
        let (mut alarms, band) = rows_of(&look, before, &rows);
        if alarms.iter().all(|alarm| alarm.kind != FindingKind::TableEmptied) {
            for (place, (name, _)) in table.columns.iter().enumerate() {
                if let (Some(past), Some(numbers)) = (before.column(place, name), find(&metrics.columns, place, name)) {
                    alarms.extend(column::judge(&look, past, numbers));
                }
            }
        }
        let has_other_rows = alarms.iter().any(|alarm| alarm.metric == Metric::Rows);
        for alarm in &alarms {
            judgement.marks.add(&table.table, alarm.column.as_deref(), alarm.metric, alarm.is_shift);
        }
        if has_other_rows {
            // Of other rows there are other values: that is flagged, so that nothing is learnt from it, and not said again.
            alarms.retain(|alarm| alarm.metric != Metric::Distinct);
        }
        judgement.bands.insert(table.table.clone(), band);
        gathered.extend(by_kind(table, alarms));
    }
    judgement.findings = within_budget(gathered);
    judgement
}

/// The rows of a table: the rules first, then what came since the night before, if the number itself is usual.
fn rows_of(look: &Look<'_>, before: &PastTable, rows: &Points) -> (Vec<Alarm>, Band) {
    let value = real(look.metrics.rows);
    let usual = series(look.ages, rows, look.usable);
    let exact = series(look.ages, rows, look.exact);
    let tonight = Tonight { value, seen: value, is_estimate: look.is_estimate, widening: look.widening };
    let verdict = detect::judge(&usual, Sort::Rows, &tonight);
    let nights = detect::bands(&usual, Sort::Rows, value, BAND_NIGHTS);
    let band = Band { nights, tonight: verdict.map(|verdict| (verdict.low, verdict.high)) };
    let is_proof = !look.table.is_estimate() && look.metrics.partial.is_none();
    let alarm = |kind, text, is_shift| Alarm { kind, metric: Metric::Rows, column: None, text, score: f64::MAX, is_shift };
    if is_proof && look.metrics.rows == 0 {
        if let Some(last) = rules::emptied(&exact) {
            let text = format!("no rows; {} in the last night that had any", count(shared::human::whole(last)));
            return (vec![alarm(FindingKind::TableEmptied, text, false)], band);
        }
    } else if let Some((most, nights)) = rules::shrank(&exact, value).filter(|_| is_proof) {
        let lost = count(shared::human::whole(most - value));
        let (now, most, is_shift) = (count(look.metrics.rows), count(shared::human::whole(most)), rules::stays(&exact));
        let text = if is_shift {
            format!("rows: {now} and {lost} fewer than before, for the third night now")
        } else {
            format!("{now} rows, {lost} fewer than the {most} of before; in {nights} nights it never had fewer than the night before")
        };
        return (vec![alarm(FindingKind::RowsShrank, text, is_shift)], band);
    }
    let flagged = verdict.filter(|verdict| verdict.flagged.is_some()).map(|verdict| number(look, Metric::Rows, &verdict, value));
    let alarms = flagged.or_else(|| growth(look, before, rows)).into_iter().collect();
    (alarms, band)
}

/// Rows that came since the night before, of a table that never shrank: a table that grows by a hundredth each day shows nowhere else that nothing came.
fn growth(look: &Look<'_>, before: &PastTable, rows: &Points) -> Option<Alarm> {
    if look.is_estimate {
        return None;
    }
    let all = series(look.ages, rows, look.exact);
    let (flagged, shifted) = before.growth_marks();
    let (mut values, newest) = (vec![f64::NAN; rows.values.len()], all.values[1]);
    for (night, age) in look.ages.iter().enumerate() {
        if let Some(age) = age.filter(|age| age + 1 < all.values.len()) {
            let came = all.values[age] - all.values[age + 1];
            // A night that was flagged makes two differences that are none.
            let is_usual = !detect::has(all.flagged, age) && !detect::has(all.flagged, age + 1);
            values[night] = if is_usual { came } else { f64::NAN };
        }
    }
    if detect::has(all.flagged, 1) || values.iter().any(|came| *came < 0.0) {
        return None;
    }
    let value = real(look.metrics.rows) - newest;
    let series = series(look.ages, &Points { values, flagged, shifted }, look.exact);
    let tonight = Tonight { value, seen: value, is_estimate: false, widening: look.widening };
    let verdict = detect::judge(&series, Sort::Growth, &tonight).filter(|verdict| verdict.flagged.is_some() && value >= 0.0)?;
    Some(number(look, Metric::Growth, &verdict, value))
}

fn number(look: &Look<'_>, metric: Metric, verdict: &Verdict, value: f64) -> Alarm {
    let text = if verdict.is_shift {
        words::shifted(metric, None, &words::expected_before(metric, verdict), value)
    } else {
        words::unusual(metric, None, verdict, value, look.weekday, look.table.is_estimate())
    };
    Alarm { kind: FindingKind::MetricAnomaly, metric, column: None, text, score: verdict.score, is_shift: verdict.is_shift }
}

/// The findings of a table: one of each kind, whatever the number of columns.
fn by_kind(table: &TableTonight, mut alarms: Vec<Alarm>) -> Vec<(FindingKind, f64, Finding)> {
    alarms.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kinds: Vec<(FindingKind, Vec<Alarm>)> = Vec::new();
    for alarm in alarms {
        let kind = if alarm.is_shift { FindingKind::LevelShift } else { alarm.kind };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, list)) => list.push(alarm),
            None => kinds.push((kind, vec![alarm])),
        }
    }
    let finding = |(kind, alarms): (FindingKind, Vec<Alarm>)| {
        let first = &alarms[0];
        let mut texts: Vec<String> = alarms.iter().take(EXPLAINED_MAX).map(|alarm| alarm.text.clone()).collect();
        if alarms.len() > EXPLAINED_MAX {
            texts.push(format!("{} more numbers of this table", alarms.len() - EXPLAINED_MAX));
        }
        let columns = alarms.iter().filter(|alarm| alarm.column.is_some()).count();
        let seen = if columns > 1 { format!("{columns} numbers of columns: {}", texts.join("; ")) } else { texts.join("; ") };
        let hint = words::query(first.metric, &table.quoted, first.column.as_deref());
        let hint = match kind {
            FindingKind::LevelShift => format!("nothing, if that was meant: from now on it is what is expected. To look: {hint}"),
            FindingKind::TableEmptied | FindingKind::RowsShrank => {
                format!("{hint} If rows are missing, keep the newest backup before this night and restore from it")
            }
            _ => hint,
        };
        (kind, first.score, Finding::new(kind, &table.table, seen).hint(hint))
    };
    kinds.into_iter().map(finding).collect()
}

/// Of each kind the worst, and how many more there are.
fn within_budget(mut gathered: Vec<(FindingKind, f64, Finding)>) -> Vec<Finding> {
    gathered.sort_by(|(a_kind, a_score, a), (b_kind, b_score, b)| {
        a_kind.cmp(b_kind).then_with(|| b_score.total_cmp(a_score)).then_with(|| a.subject.cmp(&b.subject))
    });
    let mut totals: HashMap<FindingKind, usize> = HashMap::new();
    for (kind, ..) in &gathered {
        *totals.entry(*kind).or_default() += 1;
    }
    let (mut findings, mut named): (Vec<Finding>, HashMap<FindingKind, usize>) = (Vec::new(), HashMap::new());
    for (kind, _, mut finding) in gathered {
        let place = named.entry(kind).or_default();
        *place += 1;
        let more = totals[&kind].saturating_sub(NAMED_MAX);
        if *place == NAMED_MAX && more > 0 {
            finding.seen.push_str(&format!("; {more} more tables likewise"));
        }
        if *place <= NAMED_MAX {
            findings.push(finding);
        }
    }
    findings
}
