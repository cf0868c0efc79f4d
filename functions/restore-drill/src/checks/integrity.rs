//! What the catalogs of a copy say about themselves: indexes that are not used, constraints that nobody enforces, collations that changed, checksums.
//!
//! Nothing here reads a row of a table of the user's.

use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::Connection;
use shared_postgres::soundness::{self, Distrust, Untrusted};

/// What is worth knowing and is no finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Whether a changed bit on disk would be noticed when its page is read.
    pub data_checksums: bool,
    /// Pages whose checksum was wrong, as the server counts them for this database.
    pub checksum_failures: i64,
    /// Extensions, with their versions.
    pub extensions: Vec<String>,
}

/// Looks. A copy of a database that has such things has them too.
///
/// # Errors
/// When the server cannot be asked.
pub async fn look(connection: &mut Connection, server_major: u32) -> Result<(Vec<Finding>, Facts), Failure> {
    let soundness = soundness::look(connection, server_major).await?;
    let mut findings = soundness.invalid_indexes.findings(|index| {
        let seen = format!("an index of {} that no query uses: its making was not finished", index.table);
        Some(Finding::new(FindingKind::IndexInvalid, &index.name, seen).hint("REINDEX INDEX CONCURRENTLY it in production, or drop it"))
    });
    findings.extend(soundness.untrusted.findings(|constraint| Some(untrusted(constraint))));
    findings.extend(soundness.collations.findings(|collation| {
        let (recorded, actual) = (&collation.recorded, &collation.actual);
        let seen = format!("the collation sorts by version {actual} now; indexes were made with version {recorded} and may be in the wrong order");
        Some(
            Finding::new(FindingKind::CollationChanged, &collation.name, seen).hint(
                "REINDEX every index on text that uses it, then ALTER COLLATION … REFRESH VERSION, or ALTER DATABASE … REFRESH COLLATION VERSION",
            ),
        )
    }));
    let checksums = soundness::checksums(connection).await?;
    if checksums.failures > 0 {
        let seen = format!("the server counted {} pages whose checksum was wrong", checksums.failures);
        findings.push(
            Finding::new(FindingKind::HeapCorrupt, "checksums", seen)
                .hint("the findings of tables and indexes name the pages; if none does, drill again from the same source"),
        );
    }
    let facts = Facts { data_checksums: checksums.on, checksum_failures: checksums.failures, extensions: checksums.extensions };
    Ok((findings, facts))
}

fn untrusted(constraint: &Untrusted) -> Finding {
    let of = &constraint.of;
    let (seen, hint) = match constraint.why {
        Distrust::Disabled => (
            format!("a foreign key of {of} whose triggers are disabled: nobody enforces it"),
            "ALTER TABLE … ENABLE TRIGGER ALL in production; then look for rows that break it",
        ),
        Distrust::NotValid | Distrust::NotEnforced => (
            format!("a constraint of {of} that is not valid for all rows, or not enforced"),
            "ALTER TABLE … VALIDATE CONSTRAINT in production says which rows are in the way",
        ),
    };
    Finding::new(FindingKind::ConstraintNotTrusted, &constraint.name, seen).hint(hint)
}
