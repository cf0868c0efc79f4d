//! The numbers of every night, kept in the bucket: one object for a night and a database, which nothing changes afterwards and which DuckDB and Athena read as it is;
//! and the last nights read back as compact series, for judging and for the page.
//!
//! It holds counts, shares and extremes, never a row. It knows no database and never decides what is unusual.

mod code;
mod line;
mod past;
mod read;
mod schema;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use shared::failure::Failure;
use shared::key::segment;
use shared::report::slot_name;
use shared::store::{Store, Stored};
use shared_postgres::proof::quote;

use crate::anomaly::Marks;
use crate::model::{Table, TableMetrics, TypeClass};

pub(crate) use line::find;
pub use line::{Extremes, encode};
pub use past::{NIGHTS_MAX, Past, PastColumn, PastTable, Points};
pub use read::{BYTES_MAX, read, unpack};
pub use schema::changes;

/// A table as this night leaves it: what the catalogs know of it, and what a scan came to, if one did.
#[derive(Clone, Debug, PartialEq)]
pub struct TableTonight {
    /// `SCHEMA.NAME`; of a partitioned table the one at the top.
    pub table: String,
    /// The same for pasting into SQL.
    pub quoted: String,
    /// Pages that the catalogs gave it.
    pub pages: u64,
    /// Its columns, in order.
    pub columns: Vec<(String, TypeClass)>,
    /// `None`: it was not reached, or could not be read.
    pub metrics: Option<TableMetrics>,
}

impl TableTonight {
    /// Whether the number of rows was estimated from a sample.
    pub fn is_estimate(&self) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| is_estimate(metrics, self.pages))
    }
}

/// Of a sample without a single row, only the pages tell that it is one.
fn is_estimate(metrics: &TableMetrics, pages: u64) -> bool {
    metrics.seen != metrics.rows || (metrics.rows == 0 && metrics.pages > 0 && metrics.pages < pages)
}

/// Brings together what the catalogs know and what the scans came to. Leaves of a partitioned table are one table; a scan of what is no longer there is left out.
pub fn tonight(tables: &[Table], metrics: Vec<TableMetrics>) -> Vec<TableTonight> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut all: Vec<TableTonight> = Vec::new();
    for table in tables {
        let name = table.root.clone().unwrap_or_else(|| table.subject());
        let place = *places.entry(name).or_insert_with_key(|name| {
            let quoted = match table.root.as_deref().and_then(|root| root.split_once('.')) {
                Some((schema, root)) => format!("{}.{}", quote(schema), quote(root)),
                None => table.quoted(),
            };
            all.push(TableTonight { table: name.clone(), quoted, pages: 0, columns: Vec::new(), metrics: None });
            all.len() - 1
        });
        let one = &mut all[place];
        one.pages += table.pages;
        if one.columns.is_empty() {
            one.columns = table.columns.iter().map(|column| (column.name.clone(), column.class)).collect();
        }
    }
    for metrics in metrics {
        if let Some(place) = places.get(&metrics.table) {
            all[*place].metrics = Some(metrics);
        }
    }
    all
}

/// Everything of a database: `history/tables/instance=I/database=D/`.
pub fn prefix(instance: &str, database: &str) -> String {
    format!("history/tables/instance={}/database={}/", segment(instance), segment(database))
}

/// Where a night's object lies.
pub fn key(instance: &str, database: &str, slot: DateTime<Utc>) -> String {
    format!("{}date={}/{}.json.gz", prefix(instance, database), slot.format("%Y-%m-%d"), slot_name(slot))
}

/// Writes a night down.
///
/// # Errors
/// When it cannot be stored; `Conflict` if this slot's night was written otherwise already.
pub async fn write(
    store: &Store,
    instance: &str,
    database: &str,
    slot: DateTime<Utc>,
    tables: &[TableTonight],
    marks: &Marks,
    extremes: Extremes,
) -> Result<Stored, Failure> {
    store.put(&key(instance, database, slot), encode(slot.date_naive(), tables, marks, extremes), "application/gzip").await
}

#[cfg(test)]
mod tests;
