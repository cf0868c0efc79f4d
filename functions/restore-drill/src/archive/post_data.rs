//! Indexes, constraints and materialized views by several connections at a time, and the statistics of every table: what takes longest after the rows.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use shared::archive::toc::{Entry, lossy};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;
use tokio::time::Instant;

use super::Place;
use super::contents::{Contents, describe, text};
use super::load::damaged_tables;
use super::work::{Item, run_all};
use crate::ledger;
use crate::statement::{Statement, identifier};

/// Makes indexes and constraints. Whether all were made, or will not be.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn build(place: &Place<'_>, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
    let items = items(place, &place.contents.heavy);
    leave_out_keys_of_damaged_tables(place, control, &items).await?;
    run_all(place, control, &items, until).await
}

/// A foreign key of a table whose rows were not loaded cannot hold: that is said, not tried.
async fn leave_out_keys_of_damaged_tables(place: &Place<'_>, control: &mut Connection, items: &[Item]) -> Result<(), Failure> {
    let done = ledger::read(control).await?;
    let damaged = damaged_tables(place, &done);
    let loads = place.contents.loads.iter().filter(|load| damaged.contains(&load.table));
    let tables: HashSet<i32> = loads.filter_map(|load| load.waits.first().copied()).collect();
    let keys = place.contents.heavy.iter().zip(items).filter(|(entry, _)| entry.is("FK CONSTRAINT"));
    for (_, item) in keys.filter(|(_, item)| item.tables.iter().any(|table| tables.contains(table))) {
        let seen = "left out, because the rows of one of its tables could not be loaded";
        let finding = Finding::new(FindingKind::RestoreStatementFailed, &item.what, seen).hint("mend the damaged object first");
        ledger::record(control, &format!("failed {}", item.statement.step), &json!({"finding": finding})).await?;
    }
    Ok(())
}

/// Fills materialized views.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn refresh(place: &Place<'_>, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
    let items = items(place, &place.contents.refreshes);
    run_all(place, control, &items, until).await
}

fn items(place: &Place<'_>, entries: &[Entry]) -> Vec<Item> {
    let (by_id, manifest) = (place.contents.by_id(), place.job.manifest);
    let mut bytes_of: HashMap<i32, u64> = HashMap::new();
    for load in &place.contents.loads {
        *bytes_of.entry(load.dump_id).or_default() += manifest.objects[load.object].size_bytes;
    }
    let item = |entry: &Entry| {
        let tablespace = entry.tablespace.as_deref().filter(|name| !name.is_empty() && place.with_tablespaces);
        Item {
            id: entry.dump_id,
            what: describe(entry),
            statement: Statement {
                key: format!("s{}", entry.dump_id),
                step: format!("statement {}", entry.dump_id),
                before: tablespace.map(|name| format!("SET LOCAL default_tablespace = {}; ", identifier(&lossy(name)))).unwrap_or_default(),
                sql: text(&entry.definition),
            },
            waits: entry.dependency_ids().collect(),
            tables: Contents::tables_of(entry, &by_id),
            is_exclusive: Contents::is_exclusive(entry),
            weight: entry.dependency_ids().filter_map(|id| bytes_of.get(&id)).sum(),
            loss: FindingKind::RestoreStatementFailed,
        }
    };
    entries.iter().map(item).collect()
}

/// Counts and samples every table, as a restored database needs it before anybody queries it. A partitioned table's leaves are part of it.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn analyze(place: &Place<'_>, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
    // Bytes, because in a SQL_ASCII database names need not be text; those tables are left to autovacuum.
    let rows = sqlx::query(
        r"SELECT c.oid::bigint,
                CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN replace(n.nspname::text, '\', '\\')::bytea ELSE convert_to(n.nspname::text, 'UTF8') END,
                CASE WHEN getdatabaseencoding() = 'SQL_ASCII' THEN replace(c.relname::text, '\', '\\')::bytea ELSE convert_to(c.relname::text, 'UTF8') END,
                greatest(pg_relation_size(c.oid), 0)
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lifeboat_drill')
            AND NOT c.relispartition",
    )
    .fetch_all(&mut *control)
    .await
    .context_sql("list tables")?;
    let mut items = Vec::new();
    for row in &rows {
        let (oid, schema, name, bytes): (i64, Vec<u8>, Vec<u8>, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let (Ok(id), Ok(schema), Ok(name)) = (i32::try_from(oid), String::from_utf8(schema), String::from_utf8(name)) else { continue };
        items.push(Item {
            id,
            what: format!("ANALYZE {schema}.{name}"),
            statement: Statement {
                key: format!("a{oid}"),
                step: format!("analyze {oid}"),
                before: String::new(),
                sql: format!("ANALYZE {}.{}", identifier(&schema), identifier(&name)),
            },
            waits: Vec::new(),
            tables: vec![id],
            is_exclusive: false,
            weight: u64::try_from(bytes).unwrap_or(0),
            // No row and no definition depends on it; a tree with a foreign table may not be sampled at all.
            loss: FindingKind::RestoreStatementLeftOut,
        });
    }
    run_all(place, control, &items, until).await
}
