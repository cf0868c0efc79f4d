//! Everything but rows and indexes, by PostgreSQL's own `pg_restore`: definitions, owners and privileges are its business, and ours would be another's.
//!
//! It is given a table of contents with only some of the entries, and one more: our line in the ledger. All of them are one transaction
//! (`--single-transaction`), so that a piece of the restore is there whole and written down, or not at all, whenever we are killed. An entry that the
//! server refuses is written down and left out, with what depends on it, and the rest is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};
use shared::archive::toc::{Entry, Toc, section};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use tokio::time::{Instant, timeout_at};

use super::contents::{TOC, describe};
use super::{Place, Roles};
use crate::ledger;
use crate::statement::{literal, session_name};

/// Entries of one transaction: each takes a few locks, and the server has room for some thousands (`max_locks_per_transaction` × `max_connections`).
const PIECE_ENTRIES: usize = 1_000;
/// By then a piece is one entry.
const TRIES_COUNTED_MAX: usize = 16;
/// Statements that the server may refuse before we give up: each costs its piece once more.
const REFUSED_MAX: usize = 100;
/// Names in one finding.
const NAMES_MAX: usize = 10;

/// Restores entries in their order. Whether all of them were.
///
/// # Errors
/// When the server cannot be reached, or refuses more than it can be expected to.
pub(super) async fn restore(
    place: &Place<'_>,
    control: &mut Connection,
    phase: &str,
    entries: &[Entry],
    folder: &Path,
    until: Instant,
) -> Result<bool, Failure> {
    let mut at = 0;
    while at < entries.len() {
        let done = ledger::read(control).await?;
        let step = format!("{phase} {at}");
        if let Some(next) = done.get(&step).and_then(|detail| detail["next"].as_u64()).and_then(|next| usize::try_from(next).ok()) {
            at = next.max(at + 1);
            continue;
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        // A piece that was too much for one call is cut in half for the next.
        let tries = (0..TRIES_COUNTED_MAX).take_while(|number| done.contains_key(&format!("try {number} of {step}"))).count();
        let size = (PIECE_ENTRIES >> tries).max(1);
        ledger::record(control, &format!("try {tries} of {step}"), &json!({})).await?;
        let next = entries.len().min(at + size);
        if !restore_piece(place, control, &step, (&entries[at..next], next), folder, until).await? {
            return Ok(false);
        }
        at = next;
    }
    Ok(true)
}

async fn restore_piece(
    place: &Place<'_>,
    control: &mut Connection,
    step: &str,
    (entries, next): (&[Entry], usize),
    folder: &Path,
    until: Instant,
) -> Result<bool, Failure> {
    for _ in 0..=REFUSED_MAX {
        let done = ledger::read(control).await?;
        let toc = piece(place, entries, &done, step, next);
        tokio::fs::write(folder.join(TOC), toc.write()).await.context("write a table of contents")?;
        let environment = place.job.access.libpq_environment(place.job.database, &session_name(place.job.drill, "pg_restore"));
        let arguments = arguments(place);
        let Ok(ended) = timeout_at(until, place.job.programs.run("pg_restore", &arguments, &environment, folder)).await else { return Ok(false) };
        let Err(failure) = ended else { return Ok(true) };
        if failure.kind == FailureKind::Unreachable {
            return Err(failure.context("restore definitions"));
        }
        let Some((id, why)) = refused_entry(&failure.to_string()) else { return Err(failure.context("restore definitions")) };
        let Some(entry) = entries.iter().find(|entry| entry.dump_id == id) else { return Err(failure.context("restore definitions")) };
        // What a COPY says may be a row.
        let why = if entry.data_file().is_some() { "the server refused its data".to_owned() } else { why };
        if why.contains("transaction_timeout") && why.contains("unrecognized") {
            let failure = Failure::new(FailureKind::WrongVersion, "this pg_restore is made for a newer server");
            return Err(failure.hint("use the client programs of the server's own major: see layers/pg-client"));
        }
        if is_about_the_owner(&failure.to_string()) && !done.contains_key(&format!("without owner {id}")) {
            let finding =
                Finding::new(FindingKind::RestoreStatementFailed, describe(entry), format!("it was made, but its owner was not set: {why}"));
            let finding = finding.hint("the role must exist, and the restoring role must be a member of it");
            ledger::record(control, &format!("without owner {id}"), &json!({"finding": finding})).await?;
        } else {
            leave_out(control, place, entry, &why).await?;
        }
    }
    Err(Failure::new(FailureKind::Other, format!("the server refuses more than {REFUSED_MAX} statements; the last ones are in the ledger"))
        .hint("the archive does not fit this server: compare versions, extensions and roles"))
}

/// Writes down that an entry cannot be restored, nor what depends on it.
async fn leave_out(control: &mut Connection, place: &Place<'_>, entry: &Entry, why: &str) -> Result<(), Failure> {
    let all = place.contents.by_id();
    let lost = place.contents.dependents(entry.dump_id);
    let names: Vec<String> = lost.iter().take(NAMES_MAX).filter_map(|id| all.get(id)).map(|entry| describe(entry)).collect();
    let rest = lost.len().saturating_sub(names.len());
    let finding = Finding::new(FindingKind::RestoreStatementFailed, describe(entry), why);
    let finding = if names.is_empty() {
        finding
    } else {
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        finding.hint(format!("left out with it, because they need it: {}{more}", names.join(", ")))
    };
    let lost: Vec<i32> = lost.into_iter().collect();
    ledger::record(control, &format!("left out {}", entry.dump_id), &json!({"finding": finding, "with": lost})).await
}

/// Ids of the entries that were left out because the server refused them or what they need.
pub(super) fn left_out(done: &BTreeMap<String, Value>) -> BTreeSet<i32> {
    let mut ids = BTreeSet::new();
    for (step, detail) in done {
        let Some(id) = step.strip_prefix("left out ").and_then(|id| id.parse().ok()) else { continue };
        ids.insert(id);
        ids.extend(detail["with"].as_array().into_iter().flatten().filter_map(|id| i32::try_from(id.as_i64()?).ok()));
    }
    ids
}

/// The table of contents of a piece, our line last.
fn piece(place: &Place<'_>, entries: &[Entry], done: &BTreeMap<String, Value>, step: &str, next: usize) -> Toc {
    let lost = left_out(done);
    let mut toc = place.contents.toc.clone();
    toc.entries.clone_from(&place.contents.special);
    toc.entries.extend(entries.iter().filter(|entry| !lost.contains(&entry.dump_id)).cloned());
    for entry in &mut toc.entries {
        if done.contains_key(&format!("without owner {}", entry.dump_id)) {
            entry.owner = Some(Vec::new());
        }
    }
    let sql = format!("INSERT INTO lifeboat_drill.done (step, detail) VALUES ({}, '{{\"next\": {next}}}');\n", literal(step));
    toc.entries.push(Entry {
        // The highest of all: pg_restore refuses ids above the highest that it has seen.
        dump_id: place.last_dump_id + 1,
        has_data: 0,
        catalog_oid: Some(b"0".to_vec()),
        oid: Some(b"0".to_vec()),
        tag: Some(b"ledger".to_vec()),
        description: Some(b"LIFEBOAT LEDGER".to_vec()),
        section: section::PRE_DATA,
        definition: Some(sql.into_bytes()),
        drop_statement: Some(Vec::new()),
        copy_statement: None,
        namespace: None,
        tablespace: None,
        access_method: None,
        relkind: 0,
        owner: Some(Vec::new()),
        with_oids: Some(b"false".to_vec()),
        dependencies: Vec::new(),
        file_name: Some(Vec::new()),
    });
    toc
}

fn arguments(place: &Place<'_>) -> Vec<OsString> {
    let name = place.job.database.replace('\\', "\\\\").replace('\'', "\\'");
    // Only a talkative pg_restore says at which entry it stopped.
    let mut arguments: Vec<OsString> = vec![
        "--verbose".into(),
        "--format=directory".into(),
        "--single-transaction".into(),
        "--no-password".into(),
        format!("--dbname=dbname='{name}'").into(),
    ];
    if place.job.roles == Roles::None {
        arguments.extend(["--no-owner".into(), "--no-privileges".into()]);
    }
    if !place.with_tablespaces {
        arguments.push("--no-tablespaces".into());
    }
    arguments.push(".".into());
    arguments
}

/// The entry that pg_restore stopped at, and what the server said: `from TOC entry 240; 1259 17023 TABLE t owner`, `could not execute query: ERROR:  …`.
fn refused_entry(said: &str) -> Option<(i32, String)> {
    let (_, from) = said.rsplit_once("from TOC entry ")?;
    let id = from.split(';').next()?.trim().parse().ok()?;
    let (_, error) = from.split_once("ERROR: ").or_else(|| from.split_once("error: "))?;
    let ends = [" Command was:", " DETAIL:", " HINT:", " CONTEXT:", " LINE ", " | "].iter().filter_map(|mark| error.find(mark)).min();
    Some((id, error[..ends.unwrap_or(error.len())].trim().to_owned()))
}

fn is_about_the_owner(said: &str) -> bool {
    said.rsplit_once("Command was: ALTER ").is_some_and(|(_, command)| command.contains(" OWNER TO "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_restore_says_names_the_entry() {
        let said = "pg_restore ended with exit status: 1: pg_restore: while PROCESSING TOC: | pg_restore: from TOC entry 240; 1259 17023 TABLE t owner | pg_restore: error: could not execute query: ERROR:  role \"x\" does not exist Command was: ALTER TABLE public.t OWNER TO x;";
        assert_eq!(refused_entry(said), Some((240, "role \"x\" does not exist".to_owned())));
        assert!(is_about_the_owner(said));
        assert_eq!(refused_entry("pg_restore: error: connection to server failed"), None);
    }
}
