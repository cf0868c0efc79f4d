//! The checks themselves: each takes what it needs and a seed, so that `cargo test` runs a few and a soak run many.

use std::collections::BTreeMap;

use local::Instance;
use local::database::{self, with_database, with_user};
use serde_json::json;
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared::manifest::Manifest;
use sqlx::Connection as _;

use crate::archive::{Held, differences, download, read};
use crate::bed::{Bed, report};
use crate::copies::{Snapshot, create_like, restore, schema, stock_dump};
use crate::torture::PASSWORD;

/// A backup, and the folder that it was copied to.
pub struct Backup {
    /// Its manifest.
    pub manifest: Manifest,
    /// Key of that.
    pub key: String,
    /// The archive, as `aws s3 sync` would bring it.
    pub folder: tempfile::TempDir,
    /// What it holds.
    pub held: Held,
    /// Stock pg_dump's archive of the same snapshot.
    pub stock: Option<tempfile::TempDir>,
}

/// Dumps a database under a snapshot, as a role, and holds the archive against stock pg_dump's of the same snapshot.
pub async fn dump_equals_stock(bed: &Bed, instance: &Instance, database: &str, encoding: &str, user: Option<&str>) -> Backup {
    let admin = with_database(&instance.admin_url, database).expect("a URL");
    let url = user.map_or_else(|| admin.clone(), |user| with_user(&admin, user, PASSWORD).expect("a URL"));
    let snapshot = Snapshot::take(instance, &admin).await;
    let outcome = bed.dump(instance, &url, &json!({"kind": "dump", "databases": [database], "snapshot": snapshot.id})).await;
    let reference = tempfile::tempdir().expect("a folder");
    stock_dump(instance, &url, &snapshot.id, encoding, &reference.path().join("stock")).await;
    snapshot.end().await;
    let mut backup = fetch(bed, &report(outcome), database).await;
    let differences = differences(&backup.held, &read(&reference.path().join("stock")));
    backup.stock = Some(reference);
    assert!(differences.is_empty(), "{database:?} as {user:?} on {}: {differences:#?}", instance.major);
    backup
}

/// The backup that a report links, on disk.
pub async fn fetch(bed: &Bed, report: &shared::report::Report, database: &str) -> Backup {
    let (key, manifest) = bed.manifest(report, database).await;
    let folder = tempfile::tempdir().expect("a folder");
    download(&bed.store, &key, folder.path()).await;
    let held = read(folder.path());
    Backup { manifest, key, folder, held, stock: None }
}

/// The backup of a manifest, on disk.
pub async fn fetch_key(bed: &Bed, key: &str) -> Backup {
    let bytes = bed.store.get(key).await.expect("read the manifest").expect("there is a manifest");
    let (manifest, folder) = (Manifest::open(&bytes).expect("the manifest is sound"), tempfile::tempdir().expect("a folder"));
    download(&bed.store, key, folder.path()).await;
    let held = read(folder.path());
    Backup { manifest, key: key.to_owned(), folder, held, stock: None }
}

/// Restores a backup into a fresh database, and says how the copy differs from the source's schema and from the manifest's counts and digests.
pub async fn restored_copy_is_proved(instance: &Instance, backup: &Backup, database: &str, copy: &str, calls: &[&[&str]]) {
    restored_copy(instance, backup, database, copy, calls).await;
    let mut findings = prove(instance, copy, &backup.manifest).await.expect("compare");
    // A table whose name is not text, in a database that promises no encoding, cannot be asked for.
    findings.retain(|finding| finding.kind != FindingKind::NotChecked || backup.manifest.session.client_encoding != "SQL_ASCII");
    assert!(findings.is_empty(), "{copy}: {findings:#?}");
    drop_copy(instance, copy).await;
}

/// Restores a backup into a fresh database like its source.
pub async fn restored_copy(instance: &Instance, backup: &Backup, database: &str, copy: &str, calls: &[&[&str]]) {
    create_like(instance, database, copy).await;
    restore(instance, backup.folder.path(), copy, calls).await.unwrap_or_else(|said| panic!("{database:?} into {copy}: {said}"));
}

/// Drops a copy. A subscription, even one that was never connected, would keep it.
pub async fn drop_copy(instance: &Instance, copy: &str) {
    database::run_as_admin(instance, copy, "DROP SUBSCRIPTION IF EXISTS \"sub \"\"q\"\"\"").await.expect("drop the subscription");
    database::drop(instance, copy).await.expect("drop the copy");
}

/// Whether the schemas of two databases are the same to pg_dump.
pub async fn schemas_are_equal(instance: &Instance, source: &str, copy: &str, encoding: &str, user: Option<&str>) {
    let url = |database: &str| {
        let admin = with_database(&instance.admin_url, database).expect("a URL");
        user.map_or_else(|| admin.clone(), |user| with_user(&admin, user, PASSWORD).expect("a URL"))
    };
    let (source_schema, copy_schema) = (schema(instance, &url(source), encoding).await, schema(instance, &url(copy), encoding).await);
    if source_schema != copy_schema {
        let lines = |schema: &[u8]| String::from_utf8_lossy(schema).lines().map(str::to_owned).collect::<Vec<_>>();
        let (left, right) = (lines(&source_schema), lines(&copy_schema));
        let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
        for (lines, step) in [(&left, 1), (&right, -1)] {
            for line in lines {
                *counts.entry(line).or_default() += step;
            }
        }
        let differing: Vec<_> = counts.iter().filter(|(_, count)| **count != 0).take(20).collect();
        panic!("the schemas of {source:?} and {copy:?} differ: {differing:#?}");
    }
}

/// What differs between a database and a manifest, by the comparison that the functions use.
///
/// # Errors
/// When the database cannot be read.
pub async fn prove(instance: &Instance, database: &str, manifest: &Manifest) -> Result<Vec<Finding>, Failure> {
    let mut connection = database::connect(instance, &with_database(&instance.admin_url, database)?).await?;
    let proof = shared_postgres::proof::compare(&mut connection, manifest).await?;
    let _ = connection.close().await;
    Ok(proof.findings)
}
