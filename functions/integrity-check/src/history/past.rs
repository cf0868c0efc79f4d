//! The nights before, in memory: of each table and column that is there tonight, a few bytes for each night, whose sum is known before anything is read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::TableTonight;
use super::code::{NONE, count, share, to_count, to_share};
use super::line::Line;
use crate::anomaly::Metric;
use crate::model::{TypeClass, real};

/// Nights that are looked back on: eight weeks, and what the oldest of them is compared with.
pub const NIGHTS_MAX: usize = 63;

/// What is known of a number in earlier nights.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// For each night, NaN where there is none.
    pub values: Vec<f64>,
    /// Bit by night: it was flagged.
    pub flagged: u64,
    /// Bit by night: it was decided that it stays there.
    pub shifted: u64,
}

/// The nights before.
#[derive(Debug, Default)]
pub struct Past {
    /// When each night was, the oldest first.
    pub nights: Vec<DateTime<Utc>>,
    pub(super) tables: HashMap<String, PastTable>,
    /// Tables of the newest night that are not there any more.
    pub(super) gone: Vec<String>,
    /// What was left out so that it fits into memory, for a person.
    pub left_out: Option<String>,
    /// Objects that could not be read.
    pub unreadable: Vec<String>,
}

/// A table in the nights before.
#[derive(Debug)]
pub struct PastTable {
    rows: Vec<f64>,
    /// Bit by night: only a sample was read.
    pub estimated: u64,
    /// Bit by night: only a part could be seen.
    pub partial: u64,
    marks: [(u64, u64); 2],
    columns: Vec<PastColumn>,
    /// Place of the column that the next line is probably of.
    next: usize,
    /// Whether the newest night knew it, and columns of it that are gone since.
    pub(super) was_there: bool,
    pub(super) gone: Vec<String>,
}

/// A column in the nights before.
#[derive(Debug)]
pub struct PastColumn {
    /// Name.
    pub name: Box<str>,
    /// What it is tonight.
    pub class: TypeClass,
    /// What it was in the newest night.
    pub(super) was: Option<TypeClass>,
    /// For each night the share of nulls; then that of empty texts or trues, and the distinct values, if they are kept.
    codes: Box<[u16]>,
    has_distinct: bool,
    extremes: Box<[(f32, f32)]>,
    /// Bit by night: the sign of the smallest is known.
    pub signed: u64,
    /// Bit by night: it is negative.
    pub negative: u64,
    /// Flagged and shifted, of [`METRICS`].
    marks: [(u64, u64); METRICS.len()],
}

/// A column has either empty texts or trues.
const METRICS: [&[Metric]; 4] = [&[Metric::Nulls], &[Metric::Empty, Metric::Trues], &[Metric::Distinct], &[Metric::Min]];

/// What a column costs beside its numbers, with its name and the allocator's share.
const COLUMN_BYTES: usize = size_of::<PastColumn>() + 48;

fn has_part(class: TypeClass) -> bool {
    matches!(class, TypeClass::Text | TypeClass::Boolean)
}

/// How much is kept of a column.
#[derive(Clone, Copy, PartialEq)]
struct Layers {
    extremes: bool,
    distinct: bool,
}

fn cost(class: TypeClass, nights: usize, layers: Layers) -> usize {
    let small = 1 + usize::from(layers.distinct && class != TypeClass::Opaque) + usize::from(has_part(class));
    let large = usize::from(layers.extremes && has_extremes(class));
    COLUMN_BYTES + nights * (small * size_of::<u16>() + large * size_of::<(f32, f32)>())
}

fn has_extremes(class: TypeClass) -> bool {
    !matches!(class, TypeClass::Boolean | TypeClass::Hashable | TypeClass::Opaque)
}

impl Past {
    /// Room for these nights of these tables, within so many bytes: first the extremes are left out, which are only for pictures, then distinct values, then the
    /// columns of the smallest tables.
    pub(super) fn new(nights: &[DateTime<Utc>], tables: &[TableTonight], bytes_max: usize) -> Self {
        let count = nights.len().min(NIGHTS_MAX);
        let nights = nights[nights.len() - count..].to_vec();
        let table_bytes = tables.len() * (size_of::<PastTable>() + 160 + count * size_of::<f64>());
        let bytes_max = bytes_max.saturating_sub(table_bytes);
        let all = |layers| tables.iter().flat_map(|table| &table.columns).map(|(_, class)| cost(*class, count, layers)).sum::<usize>();
        let choices = [(true, true), (false, true), (false, false)].map(|(extremes, distinct)| Layers { extremes, distinct });
        let chosen = choices.into_iter().find(|layers| all(*layers) <= bytes_max);
        let layers = chosen.unwrap_or(choices[2]);
        let mut order: Vec<&TableTonight> = tables.iter().collect();
        order.sort_by_key(|table| std::cmp::Reverse(table.metrics.as_ref().map_or(0, |metrics| metrics.rows)));
        let (mut past, mut spent, mut dropped) = (Self { nights, ..Self::default() }, 0, 0);
        for table in order {
            let bytes: usize = table.columns.iter().map(|(_, class)| cost(*class, count, layers)).sum();
            let fits = spent + bytes <= bytes_max;
            let columns =
                if fits { table.columns.iter().map(|(name, class)| PastColumn::new(name, *class, count, layers)).collect() } else { Vec::new() };
            if fits {
                spent += bytes;
            } else {
                dropped += table.columns.len();
            }
            let one = PastTable {
                rows: vec![f64::NAN; count],
                estimated: 0,
                partial: 0,
                marks: [(0, 0); 2],
                columns,
                next: 0,
                was_there: false,
                gone: Vec::new(),
            };
            past.tables.insert(table.table.clone(), one);
        }
        past.left_out = left_out(layers, dropped);
        past
    }

    /// A table of tonight in the nights before.
    pub fn table(&self, name: &str) -> Option<&PastTable> {
        self.tables.get(name)
    }

    /// Takes a line in; what is not there tonight is left out. `is_newest`: the night is the newest of all.
    pub(super) fn take(&mut self, night: usize, line: &Line<'_>, is_newest: bool) {
        let Some(table) = self.tables.get_mut(line.table.as_ref()) else {
            if is_newest && line.column.is_none() && !self.gone.iter().any(|gone| *gone == line.table) {
                self.gone.push(line.table.clone().into_owned());
            }
            return;
        };
        match &line.column {
            None => table.take(night, line, is_newest),
            Some(column) => table.take_column(night, column, line, is_newest),
        }
    }
}

fn left_out(layers: Layers, columns: usize) -> Option<String> {
    let mut parts = Vec::new();
    if !layers.extremes {
        parts.push("smallest and largest values".to_owned());
    }
    if !layers.distinct {
        parts.push("distinct values".to_owned());
    }
    if columns > 0 {
        parts.push(format!("{} columns of the smallest tables", shared::human::count(columns as u64)));
    }
    (!parts.is_empty()).then(|| format!("the history of {} did not fit into memory, so it was not looked at", parts.join(", ")))
}

fn mark((flagged, shifted): &mut (u64, u64), night: usize, line: &Line<'_>, metric: Metric) {
    let bit = |list: &[std::borrow::Cow<'_, str>]| u64::from(list.iter().any(|name| name == metric.name())) << night;
    *flagged |= bit(&line.flagged);
    *shifted |= bit(&line.shifted);
}

#[expect(clippy::cast_possible_truncation, reason = "rounded, as it may be")]
fn single(value: f64) -> f32 {
    value as f32
}

impl PastTable {
    fn take(&mut self, night: usize, line: &Line<'_>, is_newest: bool) {
        self.was_there |= is_newest;
        let Some(rows) = line.rows else { return };
        self.rows[night] = real(rows);
        self.estimated = self.estimated & !(1 << night) | u64::from(line.estimated) << night;
        self.partial = self.partial & !(1 << night) | u64::from(line.partial.is_some()) << night;
        mark(&mut self.marks[0], night, line, Metric::Rows);
        mark(&mut self.marks[1], night, line, Metric::Growth);
    }

    fn take_column(&mut self, night: usize, name: &str, line: &Line<'_>, is_newest: bool) {
        let is_it = |column: &PastColumn| column.name.as_ref() == name;
        let place = Some(self.next).filter(|next| self.columns.get(*next).is_some_and(is_it)).or_else(|| self.columns.iter().position(is_it));
        let Some(place) = place else {
            if is_newest && !self.columns.is_empty() && !self.gone.iter().any(|gone| gone == name) {
                self.gone.push(name.to_owned());
            }
            return;
        };
        self.next = place + 1;
        let column = &mut self.columns[place];
        if is_newest {
            column.was = line.class;
        }
        // A column of the same name and another type is another column.
        if line.class == Some(column.class) {
            column.take(night, line);
        }
    }

    /// Rows of each night.
    pub fn rows(&self) -> Points {
        Points { values: self.rows.clone(), flagged: self.marks[0].0, shifted: self.marks[0].1 }
    }

    /// Flagged and shifted nights of what came since the night before.
    pub fn growth_marks(&self) -> (u64, u64) {
        self.marks[1]
    }

    /// A column of it; mostly it stands at this place.
    pub fn column(&self, place: usize, name: &str) -> Option<&PastColumn> {
        match self.columns.get(place) {
            Some(column) if column.name.as_ref() == name => Some(column),
            _ => self.columns.iter().find(|column| column.name.as_ref() == name),
        }
    }

    /// Its columns.
    pub fn columns(&self) -> &[PastColumn] {
        &self.columns
    }
}

impl PastColumn {
    fn new(name: &str, class: TypeClass, nights: usize, layers: Layers) -> Self {
        let has_distinct = layers.distinct && class != TypeClass::Opaque;
        Self {
            name: name.into(),
            class,
            was: None,
            codes: vec![NONE; nights * (1 + usize::from(has_part(class)) + usize::from(has_distinct))].into_boxed_slice(),
            has_distinct,
            extremes: vec![(f32::NAN, f32::NAN); if layers.extremes && has_extremes(class) { nights } else { 0 }].into_boxed_slice(),
            signed: 0,
            negative: 0,
            marks: [(0, 0); METRICS.len()],
        }
    }

    /// The place of a number's codes in their row, if they are kept.
    fn layer(&self, metric: Metric) -> Option<usize> {
        match metric {
            Metric::Nulls => Some(0),
            Metric::Empty | Metric::Trues => has_part(self.class).then_some(1),
            Metric::Distinct => self.has_distinct.then_some(1 + usize::from(has_part(self.class))),
            Metric::Min | Metric::Rows | Metric::Growth => None,
        }
    }

    fn nights(&self) -> usize {
        self.codes.len() / (1 + usize::from(has_part(self.class)) + usize::from(self.has_distinct))
    }

    fn take(&mut self, night: usize, line: &Line<'_>) {
        let Some(seen) = line.seen.filter(|seen| *seen > 0) else { return };
        let share_of = |part: Option<u64>| share(part.map_or(f64::NAN, |part| real(part) / real(seen)));
        let nights = self.nights();
        let numbers = [
            (Metric::Nulls, share_of(line.nulls)),
            (Metric::Empty, share_of(line.empty.or(line.trues))),
            (Metric::Distinct, count(line.distinct.unwrap_or(f64::NAN))),
        ];
        for (metric, code) in numbers {
            if let Some(layer) = self.layer(metric) {
                self.codes[layer * nights + night] = code;
            }
        }
        if let Some(extremes) = self.extremes.get_mut(night) {
            *extremes = (single(line.min.unwrap_or(f64::NAN)), single(line.max.unwrap_or(f64::NAN)));
        }
        if let Some(negative) = line.negative {
            self.signed |= 1 << night;
            self.negative = self.negative & !(1 << night) | u64::from(negative) << night;
        }
        for (marks, metrics) in self.marks.iter_mut().zip(METRICS) {
            for metric in metrics {
                mark(marks, night, line, *metric);
            }
        }
    }

    /// A number of each night; without any, if it is not kept.
    pub fn points(&self, metric: Metric) -> Points {
        let nights = self.nights();
        let codes = self.layer(metric).map(|layer| &self.codes[layer * nights..(layer + 1) * nights]).unwrap_or_default();
        let values = match metric {
            Metric::Distinct => codes.iter().map(|code| to_count(*code)).collect(),
            Metric::Min => self.extremes.iter().map(|(min, _)| f64::from(*min)).collect(),
            _ => codes.iter().map(|code| to_share(*code)).collect(),
        };
        let place = METRICS.iter().position(|metrics| metrics.contains(&metric));
        let (flagged, shifted) = place.map_or((0, 0), |place| self.marks[place]);
        Points { values, flagged, shifted }
    }

    /// The largest value of each night.
    pub fn maxima(&self) -> Vec<f64> {
        self.extremes.iter().map(|(_, max)| f64::from(*max)).collect()
    }
}
