//! Is a restored archive what its manifest says? Pure: a reading on one side, the manifest on the other.
//!
//! A digest is made of text, and text depends on settings and on the server's major: where those differ the verdict is "not checked", never "bad" and
//! never "good".

use std::collections::{BTreeMap, BTreeSet};

use shared::digest::Content;
use shared::finding::{Finding, FindingKind};
use shared::manifest::{LargeObjects, Manifest, Table, TableName};

use crate::reading::{Position, State};

/// What differs from the manifest, beside what could not be read. Empty, and nothing unreadable: the database is what the manifest says.
pub fn archive(state: &State, manifest: &Manifest) -> Vec<Finding> {
    if let Some(finding) = incomparable(state, manifest) {
        return vec![finding];
    }
    let mut findings = tables(state, manifest);
    findings.extend(large_objects(state, &manifest.large_objects));
    findings.extend(sequences(state, manifest));
    findings
}

/// That text of this server cannot be compared with the manifest's, if so.
pub(super) fn incomparable(state: &State, manifest: &Manifest) -> Option<Finding> {
    let is_same = state.session.as_ref() == Some(&manifest.session) && state.server_major == manifest.server.major;
    (!is_same).then(|| {
        Finding::new(
            FindingKind::NotChecked,
            &manifest.database,
            format!("the text of this server (major {}, {:?}) cannot be compared with that of the backup", state.server_major, state.session),
        )
        .expected(format!("major {}, {:?}", manifest.server.major, manifest.session))
        .hint("restore into a server of the same major, into a database of the same encoding and lc_monetary")
    })
}

/// The name of a manifest's table.
pub(super) fn name(table: &Table) -> TableName {
    TableName { schema: table.schema.clone(), name: table.name.clone() }
}

/// Whether a table has a name that cannot be asked for.
pub(super) fn is_nameless(table: &Table) -> bool {
    table.by_pg_dump && [&table.schema, &table.name].iter().any(|name| name.contains(char::REPLACEMENT_CHARACTER))
}

pub(super) fn said(content: Content) -> String {
    format!("{} rows, digest {}", content.rows, content.digest)
}

/// Rows that were loaded through a partition root may be in any leaf, so those tables are compared as one.
fn tables(state: &State, manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut groups: BTreeMap<String, (Content, Option<Content>)> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for table in &manifest.tables {
        let name = name(table);
        let subject = match &table.through_root {
            Some(root) => format!("{}.{} and its partitions", root.schema, root.name),
            None => format!("{}.{}", table.schema, table.name),
        };
        if is_nameless(table) {
            let seen = "its name is not text, so it cannot be asked for; its bytes in the archive are checked by backup-verify";
            findings.push(Finding::new(FindingKind::NotChecked, subject, seen));
            continue;
        }
        let (expected, seen) = groups.entry(subject.clone()).or_insert((Content::default(), Some(Content::default())));
        expected.merge(table.comparable().0);
        if let Some(content) = state.tables.get(&name) {
            if let Some(seen) = seen {
                seen.merge(*content);
            }
        } else {
            *seen = None;
            // Why it could not be read is said by the reading.
            if !state.incomplete.contains(&name) {
                findings.push(
                    Finding::new(FindingKind::ContentMismatch, format!("{}.{}", name.schema, name.name), "the table is not there")
                        .expected(said(table.content))
                        .hint("look for a statement of the restore that failed"),
                );
            }
        }
        known.insert(name);
    }
    for (subject, (expected, seen)) in groups {
        if let Some(seen) = seen.filter(|seen| *seen != expected) {
            findings.push(
                Finding::new(FindingKind::ContentMismatch, subject, said(seen)).expected(said(expected)).hint(
                    "the copy does not hold what was backed up: verify the archive (backup-verify), restore it again, and keep the one before it",
                ),
            );
        }
    }
    for name in state.tables.keys().filter(|name| !known.contains(name)) {
        findings.push(
            Finding::new(FindingKind::SchemaDiffers, format!("{}.{}", name.schema, name.name), "the table is in the copy and not in the backup")
                .hint("restore into a new, empty database"),
        );
    }
    findings
}

fn large_objects(state: &State, expected: &LargeObjects) -> Option<Finding> {
    // What could not be read was said by the reading.
    let seen = state.large_objects.filter(|seen| seen != expected)?;
    let said = |objects: &LargeObjects| format!("{} objects, {} bytes, digest {}", objects.content.rows, objects.bytes, objects.content.digest);
    Some(Finding::new(FindingKind::ContentMismatch, "large objects", said(&seen)).expected(said(expected)))
}

fn sequences(state: &State, manifest: &Manifest) -> Vec<Finding> {
    let positions: BTreeMap<(&str, &str), &Position> =
        state.sequences.iter().map(|position| ((position.schema.as_str(), position.name.as_str()), position)).collect();
    let mut findings = Vec::new();
    for sequence in &manifest.sequences {
        let subject = format!("sequence {}.{}", sequence.schema, sequence.name);
        let seen = match positions.get(&(sequence.schema.as_str(), sequence.name.as_str())) {
            Some(seen) if (seen.last_value, seen.is_called) == (sequence.last_value, sequence.is_called) => continue,
            Some(seen) => format!("last_value {}, is_called {}", seen.last_value, seen.is_called),
            None if state.unreadable.iter().any(|finding| finding.subject == subject) => continue,
            None => "it is not there".to_owned(),
        };
        findings.push(
            Finding::new(FindingKind::ContentMismatch, subject, seen)
                .expected(format!("last_value {}, is_called {}", sequence.last_value, sequence.is_called))
                .hint("new rows would get numbers that are taken: setval() it to the expected position before the copy is used"),
        );
    }
    findings
}
