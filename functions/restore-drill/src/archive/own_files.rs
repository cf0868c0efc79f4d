//! What pg_dump wrote into files of its own: configuration tables of extensions, tables whose names are not text, large objects. They are brought into a
//! temporary folder, a bounded number of bytes at a time, and restored by `pg_restore`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::json;
use shared::archive::blobs;
use shared::archive::toc::Entry;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::manifest::Object;
use shared_postgres::Connection;
use tokio::time::{Instant, timeout_at};

use super::Place;
use super::contents::describe;
use super::object::{Source, Trouble, fetch, fetch_into};
use super::stock;
use crate::ledger;

/// Files of one transaction: many small ones are not worth a process each.
const FILES_MAX: usize = 1_000;

/// Restores them in their order. Whether all were.
///
/// # Errors
/// When S3 or the server cannot be reached.
pub(super) async fn restore(place: &Place<'_>, control: &mut Connection, until: Instant) -> Result<bool, Failure> {
    let objects: HashMap<&str, &Object> = place.job.manifest.objects.iter().map(|object| (object.name.as_str(), object)).collect();
    for entry in &place.contents.own_files {
        if ledger::read(control).await?.contains_key(&format!("own files {}", entry.dump_id)) {
            continue;
        }
        match timeout_at(until, restore_entry(place, control, entry, &objects, until)).await {
            Ok(Ok(true)) => {}
            Err(_) | Ok(Ok(false)) => return Ok(false),
            Ok(Err(Trouble::Failed(failure))) => return Err(failure.context(format!("restore {}", describe(entry)))),
            Ok(Err(Trouble::Damaged(finding))) => {
                ledger::record(control, &format!("damaged {}", entry.data_file().unwrap_or_default()), &json!({"finding": finding})).await?;
            }
        }
        ledger::record(control, &format!("own files {}", entry.dump_id), &json!({})).await?;
    }
    Ok(true)
}

async fn restore_entry(
    place: &Place<'_>,
    control: &mut Connection,
    entry: &Entry,
    objects: &HashMap<&str, &Object>,
    until: Instant,
) -> Result<bool, Trouble> {
    let source = |object| Source { store: place.job.store, archive: place.job.archive, manifest: place.job.manifest, object };
    let name = entry.data_file().unwrap_or_default();
    let object = find(objects, &name)?;
    if !entry.is("BLOBS") {
        let pieces = vec![vec![(String::new(), object)]];
        return restore_pieces(place, control, entry, None, &pieces, &source, until).await;
    }
    let contents = fetch(source(object)).await?;
    let contents = String::from_utf8(contents).map_err(|error| Failure::new(FailureKind::Corrupt, format!("read {name}: {error}")))?;
    let mut pieces: Vec<Vec<(String, &Object)>> = Vec::new();
    let mut bytes = 0;
    for large in blobs::parse(&contents).map_err(|why| Failure::new(FailureKind::Corrupt, why))? {
        let object = find(objects, &large.file_name)?;
        bytes += object.size_bytes;
        let line = (format!("{} {}\n", large.oid, large.file_name), object);
        if let Some(piece) = pieces.last_mut().filter(|piece| piece.len() < FILES_MAX && bytes <= place.job.folder_bytes_max) {
            piece.push(line);
        } else {
            bytes = object.size_bytes;
            pieces.push(vec![line]);
        }
    }
    restore_pieces(place, control, entry, Some(&object.name), &pieces, &source, until).await
}

fn find<'a>(objects: &HashMap<&str, &'a Object>, file: &str) -> Result<&'a Object, Failure> {
    let found = ["", ".zst", ".gz"].iter().find_map(|suffix| objects.get(format!("{file}{suffix}").as_str()));
    found.copied().ok_or_else(|| Failure::new(FailureKind::Corrupt, format!("the archive names {file}, which the manifest does not")))
}

/// Restores an entry piece by piece: each is a folder with its files and, for large objects, a table of contents that names these alone.
async fn restore_pieces<'a>(
    place: &Place<'_>,
    control: &mut Connection,
    entry: &Entry,
    contents_name: Option<&str>,
    pieces: &[Vec<(String, &'a Object)>],
    source: &impl Fn(&'a Object) -> Source<'a>,
    until: Instant,
) -> Result<bool, Trouble> {
    for (number, piece) in pieces.iter().enumerate() {
        let phase = format!("own files {} {number}", entry.dump_id);
        if ledger::read(control).await?.contains_key(&format!("{phase} 0")) {
            continue;
        }
        let bytes: u64 = piece.iter().map(|(_, object)| object.size_bytes).sum();
        if bytes > place.job.folder_bytes_max {
            let seen = format!("{bytes} bytes, and the temporary folder takes {}", place.job.folder_bytes_max);
            let finding =
                Finding::new(FindingKind::NotChecked, describe(entry), seen).hint("give the function more ephemeral storage, or restore it by hand");
            ledger::record(control, &format!("{phase} 0"), &json!({"finding": finding})).await?;
            continue;
        }
        let folder = tempfile::Builder::new().prefix("lifeboat-restore-drill-").tempdir().context("make a temporary folder")?;
        let mut listed = String::new();
        for (line, object) in piece {
            match fetch_into(source(object), folder.path()).await {
                Ok(()) => listed.push_str(line),
                // One damaged large object must not cost the others of its batch.
                Err(Trouble::Damaged(finding)) if contents_name.is_some() => {
                    ledger::record(control, &format!("damaged {}", object.name), &json!({"finding": finding})).await?;
                    let _ = tokio::fs::remove_file(folder.path().join(&object.name)).await;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if let Some(name) = contents_name {
            write(folder.path(), name, &listed).await?;
        }
        if !stock::restore(place, control, &phase, std::slice::from_ref(entry), folder.path(), until).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    tokio::fs::write(folder.join(name), text).await.context(format!("write {name}"))
}
