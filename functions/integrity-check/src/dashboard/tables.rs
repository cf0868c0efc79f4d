//! The tables of the page from tonight's numbers and the history, and how they are laid out: those with something to look at first and drawn, all others listed,
//! their numbers packed into the page and drawn by its script when they come into view.

use std::collections::HashMap;

use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};
use shared::finding::Severity;
use shared::human::count;

use super::model::{ColumnRow, ShownFinding, TableRow};
use super::{severity_class, severity_words, spark};
use crate::anomaly::{Judgement, Metric};
use crate::history::{Past, PastColumn, TableTonight, find};
use crate::model::{ColumnMetrics, TypeClass, real};

/// Nights that are drawn, with tonight.
const NIGHTS: usize = 28;
/// Nights of a column's curves.
const COLUMN_NIGHTS: usize = 14;
/// Tables that are drawn without the script.
const DRAWN_MAX: usize = 60;

/// The tables of the page.
pub fn tables(past: &Past, tonight: &[TableTonight], judgement: &Judgement, findings: &[ShownFinding]) -> Vec<TableRow> {
    let worst = worst_by_table(tonight, findings);
    tonight.iter().map(|table| row(past, table, judgement, worst.get(table.table.as_str()).copied())).collect()
}

/// The worst finding of each table: about itself, or about what its name is the beginning of.
fn worst_by_table<'a>(tonight: &'a [TableTonight], findings: &[ShownFinding]) -> HashMap<&'a str, Severity> {
    let names: HashMap<&str, &str> = tonight.iter().map(|table| (table.table.as_str(), table.table.as_str())).collect();
    let mut worst: HashMap<&str, Severity> = HashMap::new();
    for ShownFinding { finding, .. } in findings {
        let ends = finding.subject.char_indices().filter(|(_, char)| *char == '.').map(|(place, _)| place);
        let mut candidates = std::iter::once(finding.subject.len()).chain(ends.collect::<Vec<_>>().into_iter().rev());
        if let Some(name) = candidates.find_map(|end| names.get(&finding.subject[..end])) {
            let one = worst.entry(name).or_insert(finding.severity);
            *one = (*one).max(finding.severity);
        }
    }
    worst
}

fn row(past: &Past, table: &TableTonight, judgement: &Judgement, worst: Option<Severity>) -> TableRow {
    let (before, metrics) = (past.table(&table.table), table.metrics.as_ref());
    let rows = before.map(crate::history::PastTable::rows);
    let mut points = last(rows.as_ref().map(|rows| rows.values.as_slice()).unwrap_or_default(), NIGHTS);
    points.push(metrics.map(|metrics| real(metrics.rows)));
    let nights = past.nights.len();
    let mut flagged: u64 = 0;
    for place in 0..NIGHTS - 1 {
        let night = (nights + place).checked_sub(NIGHTS - 1);
        let is_flagged = night.zip(rows.as_ref()).is_some_and(|(night, rows)| (rows.flagged >> night) & 1 == 1);
        flagged |= u64::from(is_flagged) << place;
    }
    flagged |= u64::from(!judgement.marks.of(&table.table, None, false).is_empty()) << (NIGHTS - 1);
    let mut band = vec![None; NIGHTS];
    if let Some(one) = judgement.bands.get(&table.table) {
        for (age, low, high) in &one.nights {
            if let Some(place) = (NIGHTS - 1).checked_sub(*age) {
                band[place] = Some((*low, *high));
            }
        }
        band[NIGHTS - 1] = one.tonight;
    }
    let has_other_rows = (flagged >> (NIGHTS - 1)) & 1 == 1;
    let columns = table.columns.iter().enumerate().map(|(place, (name, class))| {
        let numbers = metrics.and_then(|metrics| Some((metrics.seen, find(&metrics.columns, place, name)?)));
        let marks = judgement.marks.of(&table.table, Some(name), false);
        // Of other rows there are other values: that is no news of the column.
        let is_flagged = marks.iter().any(|metric| *metric != Metric::Distinct || !has_other_rows);
        column(before.and_then(|before| before.column(place, name)), name, *class, numbers, is_flagged)
    });
    TableRow {
        table: table.table.clone(),
        worst,
        rows: metrics.map(|metrics| metrics.rows),
        is_estimate: table.is_estimate(),
        is_partial: metrics.is_some_and(|metrics| metrics.partial.is_some()),
        points,
        band,
        flagged,
        columns: columns.collect(),
    }
}

fn column(past: Option<&PastColumn>, name: &str, class: TypeClass, tonight: Option<(u64, &ColumnMetrics)>, is_flagged: bool) -> ColumnRow {
    let nulls = tonight.filter(|(seen, _)| *seen > 0).map(|(seen, numbers)| real(numbers.nulls) / real(seen));
    let distinct = tonight.and_then(|(_, numbers)| numbers.distinct);
    let (min, max) = tonight.map_or((None, None), |(_, numbers)| (numbers.min, numbers.max));
    let series = |values: Vec<f64>, tonight: Option<f64>| {
        let mut points = last(&values, COLUMN_NIGHTS);
        points.push(tonight);
        points
    };
    let of = |metric| past.map(|past| past.points(metric).values).unwrap_or_default();
    ColumnRow {
        name: name.to_owned(),
        kind: kind(class),
        nulls,
        distinct,
        null_points: series(of(Metric::Nulls), nulls),
        distinct_points: series(of(Metric::Distinct), distinct),
        min_shape: shape(series(of(Metric::Min), min)),
        max_shape: shape(series(past.map(PastColumn::maxima).unwrap_or_default(), max)),
        is_flagged,
    }
}

/// The last nights before tonight's, as places of the picture.
fn last(values: &[f64], nights: usize) -> Vec<Option<f64>> {
    let missing = (nights - 1).saturating_sub(values.len());
    let known = values[values.len().saturating_sub(nights - 1)..].iter().map(|value| Some(*value).filter(|value| value.is_finite()));
    std::iter::repeat_n(None, missing).chain(known).collect()
}

/// Only the shape of a curve: from 0 to 1, whatever the values are.
fn shape(points: Vec<Option<f64>>) -> Vec<Option<f64>> {
    let (low, high) = points.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    points.into_iter().map(|point| point.map(|value| if high > low { (value - low) / (high - low) } else { 0.5 })).collect()
}

fn kind(class: TypeClass) -> &'static str {
    match class {
        TypeClass::Integer => "integer",
        TypeClass::Number => "number",
        TypeClass::Time => "time",
        TypeClass::Text => "text",
        TypeClass::Bytes => "bytes",
        TypeClass::Boolean => "boolean",
        TypeClass::Hashable => "other",
        TypeClass::Opaque => "counted",
    }
}

/// The curves of a table as letters: rows, least and most expected.
fn curves(row: &TableRow) -> (String, String, String) {
    let expected = row.band.iter().flatten().flat_map(|(low, high)| [*low, *high]);
    let (low, high) = spark::bounds(row.points.iter().flatten().copied().chain(expected));
    let side = |pick: fn(&(f64, f64)) -> f64| row.band.iter().map(|one| one.as_ref().map(pick)).collect::<Vec<_>>();
    let letters = |points: &[Option<f64>]| spark::letters(points, low, high);
    (letters(&row.points), letters(&side(|band| band.0)), letters(&side(|band| band.1)))
}

/// The section of a database's tables; `number` makes the names of its elements its own.
pub(super) fn section(number: usize, rows: &[TableRow]) -> Markup {
    let mut order: Vec<&TableRow> = rows.iter().collect();
    order.sort_by(|a, b| b.worst.cmp(&a.worst).then_with(|| a.table.cmp(&b.table)));
    let is_attention = |row: &&&TableRow| row.worst.is_some_and(|worst| worst > Severity::Note);
    let attention = order.iter().filter(is_attention).count().min(DRAWN_MAX);
    let (first, others) = order.split_at(attention);
    let data: Vec<Value> = order.iter().map(|row| data(row)).collect();
    html! {
        @if !first.is_empty() {
            div.tables { @for (place, row) in first.iter().enumerate() { (line(place, row, true)) } }
        }
        @if !others.is_empty() {
            details.others open[first.is_empty() && others.len() <= 40] {
                summary { (count(others.len() as u64)) @if !first.is_empty() { " other" } " tables" span.soft { " as expected, or with a note" } }
                input.filter type="search" placeholder="Filter by name" aria-label="Filter tables by name" hidden;
                div.tables { @for (place, row) in others.iter().enumerate() { (line(first.len() + place, row, false)) } }
            }
        }
        script type="application/json" id={ "data-" (number) } { (PreEscaped(in_script(&Value::Array(data)))) }
    }
}

fn line(place: usize, row: &TableRow, is_drawn: bool) -> Markup {
    let class = match (row.worst, row.rows) {
        (Some(worst), _) => severity_class(worst),
        (None, None) => "away",
        (None, Some(_)) => "ok",
    };
    let title = row.worst.map_or(if row.rows.is_none() { "not reached tonight" } else { "as expected" }, severity_words);
    html! {
        details data-t=(place) {
            summary {
                i class=(class) title=(title) {}
                b { (row.table) }
                @if is_drawn { @let (points, low, high) = curves(row); (spark::svg(&points, &low, &high, row.flagged, NIGHTS)) }
                @else { svg {} }
                span {
                    @match row.rows {
                        Some(rows) => { @if row.is_estimate { "≈ " } (count(rows)) @if row.is_partial { " seen" } }
                        None => { "not reached" }
                    }
                }
            }
        }
    }
}

/// What the script draws from: curves as letters, figures, and the columns.
fn data(row: &TableRow) -> Value {
    let (points, low, high) = curves(row);
    let columns: Vec<Value> = row.columns.iter().map(column_data).collect();
    // Without what the row itself shows.
    json!([points, low, high, row.flagged, columns])
}

fn column_data(column: &ColumnRow) -> Value {
    let all = |points: &[Option<f64>]| spark::bounds(points.iter().flatten().copied().chain([0.0]));
    let (null_low, null_high) = all(&column.null_points);
    let (low, high) = spark::bounds(column.distinct_points.iter().flatten().copied());
    let shape = |points: &[Option<f64>]| spark::letters(points, 0.0, 1.0);
    json!([
        column.name,
        column.kind,
        column.nulls.map_or(String::new(), crate::anomaly::percent),
        spark::letters(&column.null_points, null_low.max(0.0), null_high.max(0.01)),
        column.distinct.map_or(String::new(), |distinct| count(shared::human::whole(distinct))),
        spark::letters(&column.distinct_points, low, high),
        shape(&column.min_shape),
        shape(&column.max_shape),
        u8::from(column.is_flagged),
    ])
}

/// JSON that no text in it can end: neither the script, nor a comment.
fn in_script(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
