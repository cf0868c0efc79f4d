//! Are the definitions in the copy those of the backup? `pg_dump` describes the copy as it described the source; the entries of both tables of contents
//! are compared one by one, so that what differs has a name.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::json;
use shared::archive::schema_fingerprint;
use shared::archive::toc::{Entry, Toc, section};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use tokio::time::{Instant, timeout_at};

use super::contents::{TOC, reason_to_leave_out, text};
use super::{Place, Roles, stock};
use crate::ledger;
use crate::statement::session_name;

/// The step in the ledger.
pub(super) const STEP: &str = "schema";
/// Names in one finding.
const NAMES_MAX: usize = 20;

/// What is compared of an entry: kind, schema, name, owner, definition.
type Line = [Vec<u8>; 5];

/// Compares the definitions. Whether the time sufficed.
///
/// # Errors
/// When the server cannot be reached.
pub(super) async fn compare(place: &Place<'_>, control: &mut Connection, toc: &Toc, until: Instant) -> Result<bool, Failure> {
    let done = ledger::read(control).await?;
    if done.contains_key(STEP) {
        return Ok(true);
    }
    let mut findings = Vec::new();
    if schema_fingerprint(toc) != place.job.manifest.schema_fingerprint {
        findings.push(
            Finding::new(FindingKind::SchemaDiffers, "toc.dat", schema_fingerprint(toc))
                .expected(place.job.manifest.schema_fingerprint.clone())
                .hint("the table of contents does not have the fingerprint of its own manifest: the backup was written wrong, report it"),
        );
    }
    let Some(copy) = describe_copy(place, until).await? else { return Ok(false) };
    // What could not be restored has a finding already, and what it had is not missed twice.
    let lost = stock::left_out(&done);
    let refused = |entry: &Entry| done.contains_key(&format!("failed statement {}", entry.dump_id));
    let (roles, superuser) = (place.job.roles, place.superuser);
    let expected = lines(toc, roles, superuser, |entry| lost.contains(&entry.dump_id) || refused(entry));
    let seen = lines(&copy, roles, superuser, |_| false);
    let (missing, more) = (difference(&expected, &seen), difference(&seen, &expected));
    let explained = !lost.is_empty() || done.keys().any(|step| step.starts_with("failed ") || step.starts_with("without owner "));
    if !missing.is_empty() || (!more.is_empty() && !explained) {
        let seen = format!("not as they were: {}; only in the copy: {}", names(&missing), names(&more));
        let hint = "the copy's definitions are not those that were dumped: compare with pg_dump --schema-only of both";
        findings.push(Finding::new(FindingKind::SchemaDiffers, place.job.database, seen).hint(hint));
    }
    let left_out: BTreeMap<&str, usize> = place.contents.left_out.iter().map(|(what, count)| (what.as_str(), *count)).collect();
    let detail = json!({"compared": expected.values().sum::<usize>(), "leftOut": left_out, "findings": findings});
    ledger::record(control, STEP, &detail).await?;
    Ok(true)
}

/// What pg_dump says of the copy; `None` when the time did not suffice.
async fn describe_copy(place: &Place<'_>, until: Instant) -> Result<Option<Toc>, Failure> {
    let folder = tempfile::Builder::new().prefix("lifeboat-restore-drill-").tempdir().context("make a temporary folder")?;
    let sql_ascii = place.job.manifest.session.client_encoding == "SQL_ASCII";
    let arguments: Vec<OsString> = vec![
        "--format=directory".into(),
        "--file=copy".into(),
        "--schema-only".into(),
        "--no-sync".into(),
        "--no-password".into(),
        "--exclude-schema=lifeboat_drill".into(),
        "--lock-wait-timeout=60000".into(),
        format!("--encoding={}", if sql_ascii { "SQL_ASCII" } else { "UTF8" }).into(),
    ];
    let environment = place.job.access.libpq_environment(place.job.database, &session_name(place.job.drill, "pg_dump"));
    let Ok(ended) = timeout_at(until, place.job.programs.run("pg_dump", &arguments, &environment, folder.path())).await else { return Ok(None) };
    ended.context("describe the copy")?;
    let bytes = tokio::fs::read(folder.path().join("copy").join(TOC)).await.context("read toc.dat")?;
    Toc::parse(&bytes).map(Some).map_err(|why| Failure::new(FailureKind::Corrupt, why))
}

/// The entries that are compared, counted: not the rows, not what is never restored, not what a dump without rows never has.
fn lines(toc: &Toc, roles: Roles, superuser: bool, is_lost: impl Fn(&Entry) -> bool) -> BTreeMap<Line, usize> {
    let mut lines = BTreeMap::new();
    let mut current = section::PRE_DATA;
    for entry in &toc.entries {
        if (section::PRE_DATA..=section::POST_DATA).contains(&entry.section) {
            current = entry.section;
        }
        let kind = text(&entry.description);
        let about_large_object = text(&entry.tag).starts_with("LARGE OBJECT");
        let has_no_rows =
            current == section::DATA || ["MATERIALIZED VIEW DATA", "BLOB", "BLOB METADATA", "BLOBS"].contains(&kind.as_str()) || about_large_object;
        if has_no_rows || reason_to_leave_out(entry, roles, superuser).is_some() || is_lost(entry) {
            continue;
        }
        let owner = if roles == Roles::None { &None } else { &entry.owner };
        let line = [&entry.description, &entry.namespace, &entry.tag, owner, &entry.definition].map(|text| text.clone().unwrap_or_default());
        *lines.entry(line).or_default() += 1;
    }
    lines
}

fn difference(from: &BTreeMap<Line, usize>, other: &BTreeMap<Line, usize>) -> Vec<String> {
    let differing = from.iter().filter(|(line, count)| other.get(*line).copied().unwrap_or(0) < **count);
    let name = |line: &Line| {
        let text = |place: usize| String::from_utf8_lossy(&line[place]).into_owned();
        if line[1].is_empty() { format!("{} {}", text(0), text(2)) } else { format!("{} {}.{}", text(0), text(1), text(2)) }
    };
    differing.map(|(line, _)| name(line)).collect()
}

fn names(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > NAMES_MAX => format!("{shown} and {} more", count - NAMES_MAX),
        _ => shown,
    }
}

/// Everything that an archive holds and a copy is not asked to have, as a note.
pub(super) fn note(place: &Place<'_>) -> Option<Finding> {
    let kinds: Vec<String> =
        place.contents.left_out.iter().filter(|(what, _)| *what != "privilege").map(|(what, count)| format!("{what} ({count})")).collect();
    (!kinds.is_empty()).then(|| {
        Finding::new(FindingKind::RestoreStatementLeftOut, place.job.database, format!("left out: {}", kinds.join(", ")))
            .hint("a scratch copy has another name and other owners; a real restore sets them by the manual's last step")
    })
}
