//! Is a database of this server what a backup says? For whoever restored one and wants to know before using it.

use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::report::{Report, Unit};
use shared::store::Store;
use shared_postgres::{Access, proof};

use crate::request::Compare;

/// Compares, and says in the report what differs.
///
/// # Errors
/// When there is no such manifest, or the database cannot be read.
pub async fn compare(store: &Store, access: &Access, request: &Compare, instance: &str, report: &mut Report) -> Result<(), Failure> {
    let is_manifest = ArchiveKey::parse(&request.manifest).is_some_and(|(archive, name)| name == MANIFEST && archive.instance == instance);
    if !is_manifest {
        return Err(Failure::new(FailureKind::BadRequest, format!("{} is not the key of a manifest of {instance}", request.manifest))
            .hint("a manifest's key looks like dumps/INSTANCE/DATABASE/2026-11-23T02-00-00Z-RUNID/manifest.json"));
    }
    let address = store.address(&request.manifest);
    let bytes = store.get(&request.manifest).await?.ok_or_else(|| Failure::new(FailureKind::BadRequest, format!("there is no {address}")))?;
    let manifest = match Manifest::open(&bytes) {
        Ok(manifest) => manifest,
        Err(message) => {
            report.findings.push(Finding::new(FindingKind::ManifestDamaged, &request.manifest, message));
            "the manifest is damaged, so nothing was compared".clone_into(&mut report.summary);
            return Ok(());
        }
    };
    let mut connection = access.connect(&request.database, "lifeboat compare").await?;
    let proof = proof::compare(&mut connection, &manifest).await?;
    report.subject.database = Some(request.database.clone());
    report.count("tablesCompared", proof.tables, Unit::Count);
    report.count("rowsCompared", proof.rows, Unit::Count);
    report.link("manifest", address);
    report.summary = if proof.findings.is_empty() {
        format!("{} is what the backup says: {} tables, {} rows", request.database, proof.tables, proof.rows)
    } else {
        format!("{} is not proved to be what the backup says: {} findings", request.database, proof.findings.len())
    };
    report.findings.extend(proof.findings);
    Ok(())
}
