//! The sums of a scan: what windows, invocations and leaves of a partitioned table come to together, in any order. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::sketch::Sketch;
use crate::model::{ColumnMetrics, TableMetrics, real};

/// What was seen of a table until now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Rows that were seen.
    pub seen: u64,
    /// Pages that were read.
    pub pages_read: u64,
    /// Pages of the table when they were last looked up.
    pub pages: u64,
    /// Whether only some of the pages are read.
    #[serde(default)]
    pub is_sample: bool,
    /// Why not all rows or columns can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// In the order of the table.
    pub columns: Vec<ColumnTotals>,
}

/// What was seen of a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnTotals {
    /// Name.
    pub column: String,
    /// Nulls.
    pub nulls: u64,
    /// Smallest number, time or length.
    #[serde(default, with = "exact", skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest, likewise. PostgreSQL sorts NaN above all numbers.
    #[serde(default, with = "exact", skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Empty texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<u64>,
    /// `true`s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trues: Option<u64>,
    /// What is known about distinct values.
    #[serde(default)]
    pub distinct: Distinct,
}

/// How distinct values are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Distinct {
    /// They are not.
    #[default]
    Unknown,
    /// An index makes them unique: there are as many as values that are not null.
    Unique,
    /// True and false.
    Boolean,
    /// By a sketch.
    Sketch(Sketch),
}

impl ColumnTotals {
    /// Adds a smallest and a largest value; NaN is the largest of all.
    pub fn add_range(&mut self, min: Option<f64>, max: Option<f64>) {
        // `f64::min` leaves NaN out, as long as there is anything else.
        self.min = both(self.min, min, f64::min);
        self.max = both(self.max, max, |one, other| if one.is_nan() || other.is_nan() { f64::NAN } else { one.max(other) });
    }

    fn merge(&mut self, other: &Self) {
        self.nulls += other.nulls;
        self.add_range(other.min, other.max);
        self.empty = both(self.empty, other.empty, |one, other| one + other);
        self.trues = both(self.trues, other.trues, |one, other| one + other);
        match (&mut self.distinct, &other.distinct) {
            (Distinct::Sketch(sketch), Distinct::Sketch(more)) => sketch.merge(more),
            (one, other) if one == other => {}
            (one, _) => *one = Distinct::Unknown,
        }
    }

    fn metrics(&self, seen: u64) -> ColumnMetrics {
        let values = seen.saturating_sub(self.nulls);
        // Infinite, not a number, or too large for a double: there is nothing to compare it with.
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        ColumnMetrics {
            column: self.column.clone(),
            nulls: self.nulls,
            distinct: match &self.distinct {
                Distinct::Unknown => None,
                Distinct::Unique => Some(real(values)),
                Distinct::Boolean => self.trues.map(|trues| f64::from(u8::from(trues > 0) + u8::from(values > trues))),
                Distinct::Sketch(sketch) => Some(sketch.estimate().min(real(values))),
            },
            min: finite(self.min),
            max: finite(self.max),
            empty: self.empty,
            trues: self.trues,
        }
    }
}

impl Totals {
    /// Rows of the whole table: those that were seen, or as many as the pages that were read let expect of all pages.
    pub fn rows(&self) -> u64 {
        if !self.is_sample || self.pages_read == 0 {
            return self.seen;
        }
        let rows = u128::from(self.seen) * u128::from(self.pages) / u128::from(self.pages_read);
        u64::try_from(rows).unwrap_or(u64::MAX).max(self.seen)
    }

    /// As what a table's history keeps.
    pub fn metrics(&self, table: &str) -> TableMetrics {
        TableMetrics {
            table: table.to_owned(),
            rows: self.rows(),
            seen: self.seen,
            pages: self.pages_read,
            partial: self.partial.clone(),
            columns: self.columns.iter().map(|column| column.metrics(self.seen)).collect(),
        }
    }
}

/// The metrics of a partitioned table from the totals of its leaves. `root` is its subject. A column that a leaf does not have is left out.
pub fn merge<'a>(root: &str, leaves: impl IntoIterator<Item = &'a Totals>) -> TableMetrics {
    let mut leaves = leaves.into_iter();
    let mut sum = leaves.next().cloned().unwrap_or_default();
    let (mut rows, mut seen) = (sum.rows(), sum.seen);
    for leaf in leaves {
        rows += leaf.rows();
        seen += leaf.seen;
        sum.pages_read += leaf.pages_read;
        sum.partial = sum.partial.take().or_else(|| leaf.partial.clone());
        let of: HashMap<&str, &ColumnTotals> = leaf.columns.iter().map(|column| (column.column.as_str(), column)).collect();
        sum.columns.retain_mut(|column| {
            let other = of.get(column.column.as_str());
            other.inspect(|other| column.merge(other)).is_some()
        });
    }
    sum.seen = seen;
    TableMetrics { rows, ..sum.metrics(root) }
}

fn both<T: Copy>(one: Option<T>, other: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(join(one, other)),
        (one, other) => one.or(other),
    }
}

/// Numbers as text, for JSON has no NaN and no infinity.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the shape that serde calls")]
    pub(super) fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        number.map(|number| number.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(nulls: u64, range: (f64, f64), distinct: Distinct) -> ColumnTotals {
        ColumnTotals { column: "n".to_owned(), nulls, min: Some(range.0), max: Some(range.1), empty: Some(1), trues: None, distinct }
    }

    fn totals(seen: u64, column: ColumnTotals) -> Totals {
        Totals { seen, pages_read: 10, pages: 10, columns: vec![column], ..Totals::default() }
    }

    #[test]
    fn leaves_are_summed_and_what_only_some_have_is_left_out() {
        let (one, two) = (totals(100, column(3, (1.0, 9.0), Distinct::Unique)), totals(50, column(2, (-4.0, 5.0), Distinct::Unique)));
        let merged = merge("public.root", [&one, &two]);
        let expected =
            ColumnMetrics { column: "n".to_owned(), nulls: 5, distinct: Some(145.0), min: Some(-4.0), max: Some(9.0), empty: Some(2), trues: None };
        assert_eq!((merged.table.as_str(), merged.rows, merged.seen, merged.pages), ("public.root", 150, 150, 20));
        assert_eq!(merged.columns, std::slice::from_ref(&expected));
        assert_eq!(merge("public.root", [&two, &one]).columns, [expected]);
        let mut other = two.clone();
        other.columns[0].distinct = Distinct::Sketch(Sketch::default());
        assert_eq!(merge("r", [&one, &other]).columns[0].distinct, None);
        other.columns[0].column = "m".to_owned();
        assert!(merge("r", [&one, &other]).columns.is_empty());
        assert_eq!(merge("r", []), TableMetrics { table: "r".to_owned(), ..TableMetrics::default() });
    }

    #[test]
    fn a_sample_stands_for_all_pages_and_an_empty_table_for_none() {
        let sample = Totals { pages: 1_000, is_sample: true, ..totals(500, column(0, (0.0, 0.0), Distinct::Unknown)) };
        assert_eq!((sample.rows(), sample.metrics("t").seen), (50_000, 500));
        let nothing = Totals { pages: 13_000_000, is_sample: true, pages_read: 0, ..Totals::default() };
        assert_eq!(nothing.rows(), 0);
        // A leaf that was sampled beside one that was read.
        assert_eq!(merge("r", [&sample, &totals(7, column(0, (0.0, 0.0), Distinct::Unknown))]).rows, 50_007);
    }

    #[test]
    fn numbers_that_json_cannot_write_are_kept_and_not_shown() {
        for (min, max) in [(f64::NEG_INFINITY, f64::NAN), (0.1, 1e300), (f64::NAN, f64::NAN)] {
            let column = column(0, (min, max), Distinct::Unknown);
            let read: ColumnTotals = serde_json::from_str(&serde_json::to_string(&column).expect("JSON")).expect("totals");
            let bits = |number: Option<f64>| number.map(f64::to_bits);
            assert_eq!((bits(read.min), bits(read.max)), (bits(column.min), bits(column.max)));
            assert_eq!(column.metrics(1).min.is_some(), min.is_finite());
        }
        // Whatever the order, NaN is the largest, and the smallest only when there is nothing else.
        for order in [[1.0, f64::NAN, 3.0], [f64::NAN, 3.0, 1.0], [3.0, 1.0, f64::NAN]] {
            let mut column = ColumnTotals::default();
            for value in order {
                column.add_range(Some(value), Some(value));
            }
            assert!(column.min == Some(1.0) && column.max.is_some_and(f64::is_nan));
        }
    }
}
