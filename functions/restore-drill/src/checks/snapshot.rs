//! A copy of a snapshot, or of a point in time, between the manifests of the backups before and after it. Pure.
//!
//! A table that both backups show alike must be alike in the copy. Of one that changed only a bound is known, and what lies outside of it is said only
//! where no ordinary life of a table leads there. Deliberately no alarm: rows in a table that both backups found empty (a queue is busy by day); fewer
//! rows in a small table; a table that was made anew between the backups (its oid differs); a sequence that began again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::digest::Content;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{Manifest, Sequence, Table, TableName};

use super::judge::{incomparable, is_nameless, name, said};
use crate::reading::{Position, State};

/// A table is emptied by truncating and loading, which a snapshot may fall into: it is said as a warning, above so many rows.
const ROWS_DROPPED_FROM: u64 = 100;
/// And only when less than this part of the rows is left.
const ROWS_DROPPED_PART: u64 = 10;
/// A server that was not shut down goes on so many numbers after the last one that it logged (`SEQ_LOG_VALS` in `sequence.c`).
const NUMBERS_LOGGED_AHEAD: i64 = 32;

/// How far the copy is known to be what production was, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Tables that both backups show alike, and that were compared exactly.
    pub tables_exact: u64,
    /// Tables whose number of rows was compared with a backup's.
    pub tables_bounded: u64,
    /// Tables of which only the number of rows is known, or that could not be read.
    pub tables_unknown: u64,
    /// Tables of the copy that neither backup has.
    pub tables_new: u64,
    /// Tables of a backup that the copy has not, because they were made later, or dropped before.
    pub tables_dropped: u64,
    /// Sequences that were compared with both backups.
    pub sequences_compared: u64,
    /// Sequences of which only the position is known.
    pub sequences_unknown: u64,
    /// Whether the large objects were compared exactly.
    pub large_objects_exact: bool,
    /// Rows of all tables that were read.
    pub rows: u64,
}

/// What the copy shows that cannot be, and how much is known.
pub fn between(state: &State, before: Option<&Manifest>, after: Option<&Manifest>) -> (Vec<Finding>, Facts) {
    let mut facts = Facts { rows: state.tables.values().map(|content| content.rows).sum(), ..Facts::default() };
    let mut findings: Vec<Finding> = [before, after].into_iter().flatten().filter_map(|manifest| incomparable(state, manifest)).take(1).collect();
    let exact = before.zip(after).is_some() && findings.is_empty();
    tables(state, before, after, exact, &mut findings, &mut facts);
    sequences(state, before, after, &mut findings, &mut facts);
    if let (Some(before), Some(after), Some(seen), true) = (before, after, state.large_objects, exact)
        && before.large_objects == after.large_objects
    {
        facts.large_objects_exact = seen == before.large_objects;
        if !facts.large_objects_exact && before.large_objects.content.rows > 0 {
            findings.push(
                mismatch("large objects", format!("{} objects, {} bytes, digest {}", seen.content.rows, seen.bytes, seen.content.digest))
                    .expected(format!("{} objects, {} bytes", before.large_objects.content.rows, before.large_objects.bytes)),
            );
        }
    }
    (findings, facts)
}

fn mismatch(subject: impl Into<String>, seen: String) -> Finding {
    Finding::new(FindingKind::ContentMismatch, subject, seen).hint(
        "both backups around the copy's time agree and the copy does not. Either the copy is damaged, or somebody changed this and changed it back in between: \
         compare the rows with those of an archive (docs/runbook.md), and restore from another source until that is known",
    )
}

/// By name, both backups' tables.
fn by_name(manifest: Option<&Manifest>) -> BTreeMap<TableName, &Table> {
    manifest.into_iter().flat_map(|manifest| &manifest.tables).filter(|table| !is_nameless(table)).map(|table| (name(table), table)).collect()
}

fn tables(state: &State, before: Option<&Manifest>, after: Option<&Manifest>, exact: bool, findings: &mut Vec<Finding>, facts: &mut Facts) {
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&TableName> = old.keys().chain(new.keys()).chain(state.tables.keys()).chain(&state.incomplete).collect();
    for table in names {
        let subject = format!("{}.{}", table.schema, table.name);
        let (a, b) = (old.get(table), new.get(table));
        let Some(seen) = state.tables.get(table) else {
            if state.incomplete.contains(table) || state.counted.contains_key(table) {
                facts.tables_unknown += 1;
            } else if let (Some(a), Some(b)) = (a, b)
                && a.oid == b.oid
            {
                findings.push(
                    Finding::new(FindingKind::SchemaDiffers, subject, "the table is not in the copy, and both backups around its time have it")
                        .expected(said(a.content))
                        .hint("restore from another source; the table is in the archives"),
                );
            } else {
                facts.tables_dropped += 1;
            }
            continue;
        };
        // Recovery empties such a table: nothing can be said of its rows.
        if state.unlogged.contains(table) {
            facts.tables_unknown += 1;
            continue;
        }
        match (a, b) {
            (None, None) => {
                facts.tables_new += u64::from(before.or(after).is_some());
                facts.tables_unknown += u64::from(before.or(after).is_none());
            }
            (Some(a), Some(b)) if exact && is_alike(a, b) => {
                facts.tables_exact += 1;
                if *seen != a.comparable().0 {
                    findings.push(mismatch(subject, said(*seen)).expected(said(a.content)));
                }
            }
            (a, b) => {
                facts.tables_bounded += 1;
                let least = a.into_iter().chain(b).map(|table| table.content.rows).min().unwrap_or(0);
                findings.extend(dropped(&subject, *seen, least));
            }
        }
    }
}

/// Whether nothing happened to a table between two backups, as far as they can tell. Of one that both found empty nothing is known: it may fill and empty
/// itself all day.
fn is_alike(a: &Table, b: &Table) -> bool {
    a.oid == b.oid && a.comparable() == b.comparable() && a.content.rows > 0
}

fn dropped(subject: &str, seen: Content, least: u64) -> Option<Finding> {
    (least >= ROWS_DROPPED_FROM && seen.rows < least / ROWS_DROPPED_PART).then(|| {
        Finding::new(FindingKind::RowsDropped, subject, format!("{} rows", seen.rows))
            .expected(format!("about {least} rows, as the backups around the copy's time have"))
            .hint("a table that is emptied and loaded again may be caught in between; if this one is not, restore its rows from an archive")
    })
}

fn sequences(state: &State, before: Option<&Manifest>, after: Option<&Manifest>, findings: &mut Vec<Finding>, facts: &mut Facts) {
    let by_name = |manifest: Option<&Manifest>| -> BTreeMap<(String, String), Sequence> {
        let sequences = manifest.into_iter().flat_map(|manifest| &manifest.sequences);
        sequences.map(|sequence| ((sequence.schema.clone(), sequence.name.clone()), sequence.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    for seen in &state.sequences {
        let key = (seen.schema.clone(), seen.name.clone());
        let (Some(a), Some(b)) = (old.get(&key), new.get(&key)) else {
            facts.sequences_unknown += 1;
            continue;
        };
        let step = |position: (i64, bool)| ordered(position, seen.increment);
        let (at, from, to) = (step((seen.last_value, seen.is_called)), step((a.last_value, a.is_called)), step((b.last_value, b.is_called)));
        // One that begins again, by itself or by somebody's doing, may stand anywhere.
        if seen.cycles || seen.is_unlogged || to < from {
            facts.sequences_unknown += 1;
            continue;
        }
        facts.sequences_compared += 1;
        if at < from {
            findings.push(
                Finding::new(
                    FindingKind::ContentMismatch,
                    format!("sequence {}.{}", seen.schema, seen.name),
                    position(seen.last_value, seen.is_called),
                )
                .expected(format!("not before {}, where it was already at the backup before", position(a.last_value, a.is_called)))
                .hint("new rows would get numbers that are taken: setval() it beyond the largest number in use before the copy is used"),
            );
        } else if from == to && at > to && !is_logged_ahead(seen, a) {
            findings.push(
                mismatch(format!("sequence {}.{}", seen.schema, seen.name), position(seen.last_value, seen.is_called))
                    .expected(position(a.last_value, a.is_called)),
            );
        }
    }
}

fn position(last_value: i64, is_called: bool) -> String {
    format!("last_value {last_value}, is_called {is_called}")
}

/// Larger is later, whichever way the sequence goes.
fn ordered((last_value, is_called): (i64, bool), increment: i64) -> (i128, bool) {
    (i128::from(last_value) * i128::from(increment.signum()), is_called)
}

/// Whether a position is what recovery makes of the other.
fn is_logged_ahead(seen: &Position, before: &Sequence) -> bool {
    let ahead = (i128::from(seen.last_value) - i128::from(before.last_value)).abs();
    ahead <= i128::from(NUMBERS_LOGGED_AHEAD + 1) * i128::from(seen.increment).abs()
}
