//! What the catalogs say, by a constant number of queries: which tables there are, and what is wrong with the database without reading a row of it.
//!
//! Looking reads catalogs and counters only, waits for no lock, and calls no function that keeps one. Judging is pure: [`judge`].

pub mod facts;
mod holders;
mod indexes;
pub mod judge;
#[cfg(test)]
mod judge_tests;
mod ranges;
mod sequences;
mod server;
mod tables;

pub use facts::{Facts, Marks};
pub use judge::judge;
pub use ranges::{column_ranges, running_out};

use shared::failure::{Failure, FailureKind};
use shared_postgres::{Connection, soundness};

use crate::model::Table;

/// Attempts of a query that meets somebody's lock between seeing it and passing it over.
const ATTEMPTS_MAX: usize = 3;

/// What the catalogs say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Tables that have rows of their own, by schema and name; without the system's, temporary ones, and such as cannot be read here (a materialized view
    /// that was never filled; an unlogged table, on a replica).
    pub tables: Vec<Table>,
    /// What [`judge`] judges.
    pub facts: Facts,
    /// Statements that were sent.
    pub statements: u64,
}

/// Looks: ten statements, and one more for each few thousand sequences that can run out.
///
/// # Errors
/// When the server cannot be asked.
pub async fn look(connection: &mut Connection, major: u32) -> Result<Catalog, Failure> {
    let mut facts = Facts::default();
    let mut statements = 9;
    facts.server = server::look(connection).await?;
    facts.checksums = soundness::checksums(connection).await?;
    facts.soundness = soundness::look(connection, major).await?;
    let tables = tables::look(connection, major, &facts.server, &mut facts.tables, &mut statements).await?;
    statements += sequences::look(connection, &facts.server, &mut facts.ranges).await?;
    indexes::look(connection, &mut facts).await?;
    indexes::look_at_keys(connection, &mut facts).await?;
    indexes::look_at_widths(connection, &facts.server, &mut facts.bloat).await?;
    holders::look(connection, major, &mut facts.holders).await?;
    Ok(Catalog { tables, facts, statements })
}

/// Whether a query met somebody's lock: then it is asked once more, which sees the lock and passes over what is locked.
fn met_a_lock(failure: &Failure) -> bool {
    failure.kind == FailureKind::GaveWay
}
