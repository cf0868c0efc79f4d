//! The definitions of a copy, held against those of the backups: by pg_dump's own words, entry by entry of the tables of contents.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use shared::archive::toc::{Entry, Toc, lossy, section};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;

/// Definitions that differ are named so often; the rest is counted.
const NAMED_MAX: usize = 50;
/// Say who may do what, and what belongs to the place: they are restored by rules of their own. Large objects and what fills a materialized view are not
/// definitions, and `--schema-only` leaves them out.
const NOT_COMPARED: [&str; 12] = [
    "ACL",
    "DEFAULT ACL",
    "DATABASE",
    "DATABASE PROPERTIES",
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "SUBSCRIPTION",
    "MATERIALIZED VIEW DATA",
    "BLOB",
    "BLOB METADATA",
    "BLOBS",
];
/// Ours, in a copy.
const OURS: [&str; 2] = [crate::ledger::SCHEMA, shared_postgres::amcheck::SCHEMA];

/// The table of contents that pg_dump writes of a database, without any rows. `folder` is empty, and not needed afterwards.
///
/// # Errors
/// When pg_dump fails, or writes what cannot be read.
pub async fn of_copy(programs: &ClientPrograms, access: &Access, database: &str, drill: &str, encoding: &str, folder: &Path) -> Result<Toc, Failure> {
    let encoding = if encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" };
    let arguments: Vec<OsString> = vec![
        "--format=directory".into(),
        "--file=definitions".into(),
        "--no-sync".into(),
        "--no-password".into(),
        "--schema-only".into(),
        "--compress=0".into(),
        "--lock-wait-timeout=30000".into(),
        format!("--encoding={encoding}").into(),
        format!("--exclude-schema={}", crate::ledger::SCHEMA).into(),
    ];
    let environment = access.libpq_environment(database, &format!("lifeboat drill {drill} definitions"));
    programs.run("pg_dump", &arguments, &environment, folder).await.map_err(|failure| failure.context("dump the definitions of the copy"))?;
    let bytes = tokio::fs::read(folder.join("definitions/toc.dat")).await.context("read the definitions of the copy")?;
    Toc::parse(&bytes).map_err(|message| Failure::new(FailureKind::Corrupt, message).context("read the definitions of the copy"))
}

/// What an entry is: kind, schema, name; and the words that make it, sorted, for some have several entries.
type Definitions = BTreeMap<(String, String, String), Vec<Vec<u8>>>;

fn definitions(toc: &Toc) -> Definitions {
    let mut definitions = Definitions::new();
    for entry in toc.entries.iter().filter(|entry| is_compared(entry)) {
        let text = |text: &Option<Vec<u8>>| text.as_deref().map(lossy).unwrap_or_default();
        let key = (text(&entry.description), text(&entry.namespace), text(&entry.tag));
        definitions.entry(key).or_default().push(entry.definition.clone().unwrap_or_default());
    }
    for words in definitions.values_mut() {
        words.sort_unstable();
    }
    definitions
}

fn is_compared(entry: &Entry) -> bool {
    let is_ours = |name: &Option<Vec<u8>>| OURS.iter().any(|ours| name.as_deref() == Some(ours.as_bytes()));
    // Checks may have made amcheck in the copy.
    let is_amcheck = [&b"amcheck"[..], b"EXTENSION amcheck"].iter().any(|tag| entry.tag.as_deref() == Some(tag));
    let is_of_large_object = entry.tag.as_deref().is_some_and(|tag| tag.starts_with(b"LARGE OBJECT "));
    let is_elsewhere = entry.section == section::DATA || is_of_large_object || NOT_COMPARED.iter().any(|kind| entry.is(kind));
    !(is_elsewhere || is_amcheck || is_ours(&entry.namespace) || entry.is("SCHEMA") && is_ours(&entry.tag))
}

/// A restored archive: everything that the backup has must be there in the same words, and nothing else.
pub fn archive(backup: &Toc, copy: &Toc) -> Vec<Finding> {
    let (backup, copy) = (definitions(backup), definitions(copy));
    let mut findings = lacking(&backup, &copy, "the backup");
    for (key, _) in copy.iter().filter(|(key, _)| !backup.contains_key(*key)) {
        findings.push(
            Finding::new(FindingKind::SchemaDiffers, subject(key), "it is in the copy and not in the backup")
                .hint("restore into a new, empty database"),
        );
    }
    few(findings)
}

/// A copy of a snapshot: what both backups around its time have in the same words must be there in these words. Of one backup alone nothing follows, for
/// anybody may have changed a definition since. Definitions by pg_dumps of different versions may differ in words: then only what is missing is said.
pub fn between(before: &Toc, after: &Toc, copy: &Toc) -> Vec<Finding> {
    let are_same_version = before.pg_dump_version == copy.pg_dump_version && after.pg_dump_version == copy.pg_dump_version;
    let (old, new, copy) = (definitions(before), definitions(after), definitions(copy));
    let mut steady: Definitions = old.into_iter().filter(|(key, words)| new.get(key) == Some(words)).collect();
    if !are_same_version {
        for (key, words) in &mut steady {
            if let Some(theirs) = copy.get(key) {
                words.clone_from(theirs);
            }
        }
    }
    few(lacking(&steady, &copy, "both backups around its time"))
}

fn lacking(expected: &Definitions, copy: &Definitions, whose: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, words) in expected {
        let seen = match copy.get(key) {
            Some(theirs) if theirs == words => continue,
            Some(_) => format!("its definition is not that of {whose}"),
            None => {
                format!("{whose} has it, and the copy has it not").replace("both backups around its time has", "both backups around its time have")
            }
        };
        findings.push(
            Finding::new(FindingKind::SchemaDiffers, subject(key), seen).hint(
                "pg_restore --list and --schema-only of the archive show the definition that is expected; make it again before the copy is used",
            ),
        );
    }
    findings
}

fn subject((kind, schema, name): &(String, String, String)) -> String {
    let kind = kind.to_lowercase();
    if schema.is_empty() { format!("{kind} {name}") } else { format!("{kind} {schema}.{name}") }
}

fn few(mut findings: Vec<Finding>) -> Vec<Finding> {
    let (count, subjects) = (findings.len(), findings.iter().map(|finding| finding.subject.clone()).collect::<BTreeSet<_>>().len());
    findings.truncate(NAMED_MAX);
    if let Some(last) = findings.last_mut().filter(|_| count > NAMED_MAX) {
        last.seen = format!("{} (and {} more definitions of {subjects} differ)", last.seen, count - NAMED_MAX);
    }
    findings
}
