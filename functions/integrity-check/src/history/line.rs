//! A line of a night's object: a table, or one of its columns. The names are stable: people's queries hold them.

use std::borrow::Cow;
use std::io::Write as _;

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize, Serializer};

use super::{TableTonight, is_estimate};
use crate::anomaly::{Marks, Metric};
use crate::model::{ColumnMetrics, TypeClass};

/// What is kept of the smallest and largest value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extremes {
    /// The values: numbers, times, and lengths of texts.
    Values,
    /// Only whether the smallest is negative, which the rules need.
    SignOnly,
}

/// A line. What is not known is not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) date: NaiveDate,
    #[serde(borrow)]
    pub(super) table: Cow<'a, str>,
    /// Not of a table's line.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<Cow<'a, str>>,
    /// Of a column.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<TypeClass>,
    /// Of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    /// Rows that the numbers of the columns are of; none, if the table was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<u64>,
    /// Of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pages: Option<u64>,
    /// Of a table: whether `rows` is from a sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) estimated: bool,
    /// Of a table: why only a part was seen.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nulls: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "short")]
    pub(super) distinct: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "short")]
    pub(super) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "short")]
    pub(super) max: Option<f64>,
    /// Whether the smallest number is below 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) negative: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) empty: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trues: Option<u64>,
    /// Names of the numbers that were not as expected.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub(super) flagged: Vec<Cow<'a, str>>,
    /// Those of them that stay where they went.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub(super) shifted: Vec<Cow<'a, str>>,
}

/// Whole numbers without a fraction, others with seven digits: what is more is noise that does not compress.
#[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => serializer.serialize_i64(*value as i64),
        Some(value) => serializer.serialize_f64(digits(*value, 7)),
        None => serializer.serialize_none(),
    }
}

/// A number with so many digits.
fn digits(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

/// A number that JSON can hold.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// A night as gzip of lines of JSON: each table, then its columns. A table that was not reached is there without numbers.
pub fn encode(date: NaiveDate, tables: &[TableTonight], marks: &Marks, extremes: Extremes) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let mut text = Vec::new();
    for table in tables {
        text.clear();
        lines_of(date, table, marks, extremes, &mut text);
        gzip.write_all(&text).expect("writing to memory does not fail");
    }
    gzip.finish().expect("writing to memory does not fail")
}

fn lines_of(date: NaiveDate, one: &TableTonight, marks: &Marks, extremes: Extremes, text: &mut Vec<u8>) {
    let (name, metrics) = (Cow::Borrowed(one.table.as_str()), one.metrics.as_ref());
    let marked = |column: Option<&str>, shifted| -> Vec<Cow<'static, str>> {
        marks.of(&one.table, column, shifted).into_iter().map(|metric: Metric| Cow::Borrowed(metric.name())).collect()
    };
    push(
        text,
        &Line {
            date,
            table: name.clone(),
            rows: metrics.map(|metrics| metrics.rows),
            seen: metrics.map(|metrics| metrics.seen),
            pages: metrics.map(|metrics| metrics.pages),
            estimated: metrics.is_some_and(|metrics| is_estimate(metrics, one.pages)),
            partial: metrics.and_then(|metrics| metrics.partial.as_deref()).map(Cow::Borrowed),
            flagged: marked(None, false),
            shifted: marked(None, true),
            ..Line::default()
        },
    );
    for (place, (column, class)) in one.columns.iter().enumerate() {
        let line = Line { date, table: name.clone(), column: Some(Cow::Borrowed(column)), class: Some(*class), ..Line::default() };
        let Some((metrics, numbers)) = metrics.and_then(|metrics| Some((metrics, find(&metrics.columns, place, column)?))) else {
            push(text, &line);
            continue;
        };
        let keeps = extremes == Extremes::Values || matches!(class, TypeClass::Text | TypeClass::Bytes);
        let is_number = class.is_number();
        push(
            text,
            &Line {
                seen: Some(metrics.seen),
                nulls: Some(numbers.nulls),
                // More than four digits of an estimate are noise.
                distinct: finite(numbers.distinct).map(|distinct| digits(distinct.round(), 4)),
                min: finite(numbers.min).filter(|_| keeps),
                max: finite(numbers.max).filter(|_| keeps),
                negative: numbers.min.filter(|_| is_number).map(|min| min < 0.0),
                empty: numbers.empty,
                trues: numbers.trues,
                flagged: marked(Some(column), false),
                shifted: marked(Some(column), true),
                ..line
            },
        );
    }
}

/// The numbers of a column; mostly they stand at its place.
pub(crate) fn find<'a>(columns: &'a [ColumnMetrics], place: usize, name: &str) -> Option<&'a ColumnMetrics> {
    match columns.get(place) {
        Some(column) if column.column == name => Some(column),
        _ => columns.iter().find(|column| column.column == name),
    }
}

fn push(text: &mut Vec<u8>, line: &Line<'_>) {
    serde_json::to_writer(&mut *text, line).expect("a line has no keys but texts");
    text.push(b'\n');
}
