//! What the parts of a night hand to each other: a table as the catalogs describe it, and the numbers that a scan of it came to. Pure.

use serde::{Deserialize, Serialize};
use shared_postgres::proof::quote;

/// A table that has rows of its own, as the catalogs describe it: an ordinary table, a leaf of a partitioned one, or a materialized view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// The partitioned table at the top, `SCHEMA.NAME` as of [`Table::subject`], where this is a leaf of one.
    pub root: Option<String>,
    /// Pages of the heap: `pg_relation_size` / `block_size`.
    pub pages: u64,
    /// `pg_class.reltuples`; `None`: never analyzed.
    pub tuples: Option<u64>,
    /// Whether the role may read all of it (`SELECT` on the table).
    pub may_select: bool,
    /// Whether somebody holds, or waits for, a lock that excludes reading (`AccessExclusiveLock`).
    pub is_locked: bool,
    /// In the order of the table, without dropped ones.
    pub columns: Vec<Column>,
}

impl Table {
    /// Schema and name, for a person and as the key of everything that is kept about it.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The same for pasting into SQL.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What can be asked of its values.
    pub class: TypeClass,
    /// `attnotnull`: it has no nulls.
    pub not_null: bool,
    /// Whether the role may read it, where it may not read the whole table.
    pub may_select: bool,
}

/// What can be asked of the values of a type. A domain is what it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TypeClass {
    /// smallint, integer, bigint.
    Integer,
    /// numeric, real, double precision.
    Number,
    /// date, timestamp, timestamptz.
    Time,
    /// text, varchar, char.
    Text,
    /// bytea.
    Bytes,
    /// boolean.
    Boolean,
    /// A type with a hash function, and nothing else that is asked: uuid, enum, inet, interval, time …
    Hashable,
    /// Only whether it is null: json, xml, arrays, composite types, geometry.
    Opaque,
}

impl TypeClass {
    /// Whether its values are numbers.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }
}

/// What a scan of a table came to. Of a partitioned table: the sum of its leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableMetrics {
    /// `SCHEMA.NAME`.
    pub table: String,
    /// Rows; an estimate, if not all were seen.
    pub rows: u64,
    /// Rows that the numbers of the columns are of; `rows`, unless only a sample was read.
    pub seen: u64,
    /// Pages that were read.
    pub pages: u64,
    /// Why only a part of the rows or columns was seen: row-level security, missing privileges. Never merely a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// In the order of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnMetrics>,
}

/// What a scan came to for a column; everything is of the rows that were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnMetrics {
    /// Name.
    pub column: String,
    /// Nulls.
    pub nulls: u64,
    /// Estimate of the number of distinct values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<f64>,
    /// Smallest: a number as it is, a time in seconds since 1970 (UTC), a text or bytes as their length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Empty texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<u64>,
    /// `true`s of a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trues: Option<u64>,
}

/// A count as a number that is reckoned with.
#[expect(clippy::cast_precision_loss, reason = "a count of rows may round above 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// A small number likewise: of nights, of points.
#[expect(clippy::cast_precision_loss, reason = "a number of nights")]
pub(crate) fn whole(number: usize) -> f64 {
    number as f64
}
