//! An archive as it is listed against its manifest: pure. Nothing is read but the manifest itself.

use std::collections::BTreeMap;

use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST};
use shared::listing::Version;
use shared::manifest::{Manifest, Object};
use shared::report::slot_name;

/// How an object of the manifest stands in the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Size and version are those of the manifest.
    AsWritten,
    /// The size is right, the version is another.
    Replaced,
    /// The size is another.
    OtherSize,
    /// It is not there.
    Missing,
}

/// An object of the manifest and what the listing says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the manifest has it.
    pub object: Object,
    /// Its key.
    pub key: String,
    /// How it stands.
    pub standing: Standing,
    /// What a reader gets now.
    pub current: Option<Version>,
    /// What is wrong, if anything.
    pub finding: Option<Finding>,
}

/// Reads a manifest and holds it against the place where it lies.
///
/// # Errors
/// A finding, when it is damaged or belongs to another backup.
pub fn open_manifest(archive: &ArchiveKey, bytes: &[u8]) -> Result<Manifest, Box<Finding>> {
    let damaged = |seen: String| {
        let finding = Finding::new(FindingKind::ManifestDamaged, archive.object(MANIFEST), seen);
        finding.hint("without its manifest nothing is known about this backup: look for an older version of the object, and dump again")
    };
    let manifest = Manifest::open(bytes).map_err(|why| Box::new(damaged(why)))?;
    let place = [
        ("instance", archive.instance.clone(), manifest.instance.clone()),
        ("database", archive.database.clone(), manifest.database.clone()),
        ("slot", slot_name(archive.slot), slot_name(manifest.scheduled_at)),
        ("run", archive.run_id.clone(), manifest.run_id.clone()),
    ];
    match place.into_iter().find(|(_, expected, seen)| expected != seen) {
        Some((what, expected, seen)) => {
            Err(Box::new(damaged(format!("it is the manifest of another backup: of the {what} {seen}")).expected(expected)))
        }
        None => Ok(manifest),
    }
}

/// What is wrong with an archive whose manifest is not there, when it once was: objects remain that no restore can make sense of.
pub fn lost_manifest(archive: &ArchiveKey, versions: &[Version], was_verified: bool) -> Option<Finding> {
    let key = archive.object(MANIFEST);
    let marker = versions.iter().find(|version| version.key == key && version.is_latest && version.is_delete_marker);
    let remain = versions.iter().filter(|version| version.is_latest && !version.is_delete_marker).count();
    let seen = match marker {
        _ if remain == 0 => return None,
        Some(marker) => format!("deleted at {}; {remain} objects of the backup remain", slot_name(marker.modified_at)),
        None if was_verified => format!("it was there when the backup was verified; {remain} objects of the backup remain"),
        None => return None,
    };
    let finding = Finding::new(FindingKind::ObjectMissing, key, seen).expected("a backup is deleted whole, its manifest first");
    Some(match marker.and_then(|marker| marker.version_id.as_deref()) {
        Some(version_id) => finding.hint(undelete(version_id)),
        None => finding,
    })
}

fn undelete(version_id: &str) -> String {
    format!("to get it back, delete the delete marker: aws s3api delete-object with --version-id {version_id}")
}

/// Compares every object of the manifest with the listing; the second part is what does not belong to one of them.
pub fn compare(archive: &ArchiveKey, manifest: &Manifest, versions: &[Version]) -> (Vec<Listed>, Vec<Finding>) {
    let prefix = archive.prefix();
    let mut by_name: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
    for version in versions {
        if let Some(name) = version.key.strip_prefix(&prefix) {
            by_name.entry(name).or_default().push(version);
        }
    }
    let listed = manifest
        .objects
        .iter()
        .map(|object| {
            let versions = by_name.remove(object.name.as_str()).unwrap_or_default();
            compare_object(archive, object, &versions)
        })
        .collect();
    let mut others = Vec::new();
    if let Some(manifests) = by_name.remove(MANIFEST) {
        others.extend(rewritten_manifest(archive, &manifests));
    }
    for (name, versions) in by_name {
        if let Some(current) = versions.iter().find(|version| version.is_latest && !version.is_delete_marker) {
            let seen = format!("{} bytes, written at {}", current.size_bytes, slot_name(current.modified_at));
            others.push(
                Finding::new(FindingKind::ObjectExtra, archive.object(name), seen)
                    .expected("only the objects that the manifest names")
                    .hint("pg_restore ignores it; find out who writes here"),
            );
        }
    }
    (listed, others)
}

fn compare_object(archive: &ArchiveKey, object: &Object, versions: &[&Version]) -> Listed {
    let key = archive.object(&object.name);
    let latest = versions.iter().find(|version| version.is_latest);
    let current = latest.filter(|version| !version.is_delete_marker);
    let original = versions.iter().find(|version| version.version_id.is_some() && version.version_id == object.version_id);
    let was = object.version_id.as_ref().map(|id| format!(", version {id}")).unwrap_or_default();
    let finding = |kind, seen: String| {
        let expected = format!("{} bytes{was}, SHA-256 {}", object.size_bytes, object.sha256);
        let finding = Finding::new(kind, key.clone(), seen).expected(expected);
        match (latest, original) {
            (Some(marker), _) if marker.is_delete_marker => finding.hint(undelete(marker.version_id.as_deref().unwrap_or_default())),
            (_, Some(original)) if original.is_latest => finding,
            (_, Some(_)) => finding.hint("the version that was written is still there: delete the versions that are newer"),
            _ => finding,
        }
    };
    let (standing, finding) = match current {
        None => {
            let seen = match latest {
                Some(marker) => format!("deleted at {}", slot_name(marker.modified_at)),
                None => "it is not there".to_owned(),
            };
            (Standing::Missing, Some(finding(FindingKind::ObjectMissing, seen)))
        }
        Some(current) if current.size_bytes != object.size_bytes => {
            let seen = format!("{} bytes, written at {}", current.size_bytes, slot_name(current.modified_at));
            (Standing::OtherSize, Some(finding(FindingKind::ObjectTruncated, seen)))
        }
        Some(current) if object.version_id.is_some() && current.version_id != object.version_id => {
            let id = current.version_id.as_deref().unwrap_or("(none)");
            let seen = format!("version {id}, written at {}", slot_name(current.modified_at));
            (Standing::Replaced, Some(finding(FindingKind::ObjectReplaced, seen)))
        }
        Some(_) => (Standing::AsWritten, None),
    };
    Listed { object: object.clone(), key, standing, current: current.map(|version| (*version).clone()), finding }
}

/// A manifest is written once. Its own checksum cannot show that somebody wrote another, consistent one over it; its versions do.
fn rewritten_manifest(archive: &ArchiveKey, versions: &[&Version]) -> Option<Finding> {
    let written: Vec<&&Version> = versions.iter().filter(|version| !version.is_delete_marker).collect();
    (written.len() > 1).then(|| {
        let seen = format!("it was written {} times", written.len());
        Finding::new(FindingKind::ObjectReplaced, archive.object(MANIFEST), seen)
            .expected("a manifest is written once")
            .hint("compare its versions; the oldest is the one that was written with the backup")
    })
}

/// The same, against the checksum that an earlier verification saw: for a bucket without versions.
pub fn changed_manifest(archive: &ArchiveKey, manifest: &Manifest, verified_checksum: &str) -> Option<Finding> {
    (manifest.checksum != verified_checksum).then(|| {
        Finding::new(FindingKind::ObjectReplaced, archive.object(MANIFEST), format!("checksum {}", manifest.checksum))
            .expected(format!("checksum {verified_checksum}, as it was verified"))
            .hint("a manifest is written once: find out who wrote another")
    })
}

#[cfg(test)]
#[path = "listing_check_tests.rs"]
mod tests;
