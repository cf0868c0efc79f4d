//! What can be restored: the newest good snapshot, a named one, a point in time, archives. Each is looked at before it is promised.

use std::collections::BTreeMap;

use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::types::DbSnapshot;
use chrono::{DateTime, Utc};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::snapshot::Owner;
use shared::store::Store;

use crate::plan::{Planned, PlannedArchive};

/// Snapshots of a page (API reference, DescribeDBSnapshots), and pages.
const PAGE: i32 = 100;
const PAGES_MAX: usize = 100;
const GIB: u64 = 1 << 30;

/// Something to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub source: Planned,
    /// Version of PostgreSQL that it needs.
    pub engine_version: String,
    /// Gibibytes that it needs at least.
    pub storage_gib: i32,
}

fn nothing(what: impl Into<String>, hint: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, what).hint(hint)
}

/// The newest snapshot of this stack that is available; for the other region, the newest copy.
///
/// # Errors
/// When there is none.
pub async fn latest_snapshot(rds: &aws_sdk_rds::Client, owner: &Owner) -> Result<Found, Failure> {
    let (mut newest, mut marker): (Option<DbSnapshot>, Option<String>) = (None, None);
    for _ in 0..PAGES_MAX {
        let answer = rds.describe_db_snapshots().snapshot_type("manual").max_records(PAGE).set_marker(marker).send().await;
        let answer = answer.map_err(|error| aws::failure(error).context("list snapshots (rds:DescribeDBSnapshots)"))?;
        for seen in answer.db_snapshots() {
            let tags: BTreeMap<String, String> =
                seen.tag_list().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect();
            let is_ours = owner.read(seen.db_snapshot_identifier().unwrap_or_default(), &tags).is_some() && seen.status() == Some("available");
            if is_ours && newest.as_ref().is_none_or(|known| data_at(known) < data_at(seen)) {
                newest = Some(seen.clone());
            }
        }
        marker = answer.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    newest.as_ref().map(found).ok_or_else(|| {
        nothing(
            "there is no snapshot of this stack that is available",
            "take one: invoke the function `snapshot` with {\"kind\": \"daily\"}; or name one",
        )
    })
}

/// The snapshot of an id or ARN.
///
/// # Errors
/// When there is none, or it is not available.
pub async fn snapshot(rds: &aws_sdk_rds::Client, id: &str) -> Result<Found, Failure> {
    let answer = match rds.describe_db_snapshots().db_snapshot_identifier(id).send().await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("DBSnapshotNotFound") => {
            return Err(nothing(format!("there is no snapshot {id} in this region"), "list them: aws rds describe-db-snapshots"));
        }
        Err(error) => return Err(aws::failure(error).context(format!("describe the snapshot {id} (rds:DescribeDBSnapshots)"))),
    };
    let seen =
        answer.db_snapshots().first().ok_or_else(|| nothing(format!("there is no snapshot {id}"), "list them: aws rds describe-db-snapshots"))?;
    if seen.status() != Some("available") {
        return Err(nothing(format!("the snapshot {id} is {}", seen.status().unwrap_or("unknown")), "wait until it is available"));
    }
    Ok(found(seen))
}

/// When the data of a snapshot is from; a copy keeps its source's time.
fn data_at(seen: &DbSnapshot) -> DateTime<Utc> {
    let time = seen.original_snapshot_create_time().or_else(|| seen.snapshot_create_time());
    seen.snapshot_database_time().or(time).and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())).unwrap_or_default()
}

fn found(seen: &DbSnapshot) -> Found {
    Found {
        source: Planned::Snapshot {
            arn: seen.db_snapshot_arn().unwrap_or_default().to_owned(),
            id: seen.db_snapshot_identifier().unwrap_or_default().to_owned(),
            data_at: data_at(seen),
        },
        engine_version: seen.engine_version().unwrap_or_default().to_owned(),
        storage_gib: seen.allocated_storage().unwrap_or(20),
    }
}

/// The guarded instance as of a time, or of the latest restorable time.
///
/// # Errors
/// When the time is none, or lies outside what can be restored.
pub async fn point_in_time(rds: &aws_sdk_rds::Client, instance: &str, time: &str) -> Result<Found, Failure> {
    let answer = rds.describe_db_instances().db_instance_identifier(instance).send().await;
    let answer = answer.map_err(|error| {
        let failure = aws::failure(error).context(format!("describe the instance {instance} (rds:DescribeDBInstances)"));
        failure
            .hint("of an instance that was deleted, its retained automated backups can be restored by hand (runbook), or a snapshot by this function")
    })?;
    let seen = answer.db_instances().first().ok_or_else(|| nothing(format!("there is no instance {instance}"), "restore a snapshot"))?;
    let latest = seen.latest_restorable_time().and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
    let latest = latest.ok_or_else(|| {
        nothing(format!("{instance} has no point-in-time recovery"), "switch automated backups on: the report of `snapshot` says how")
    })?;
    let data_at = if time == "latest" {
        latest
    } else {
        let asked = DateTime::parse_from_rfc3339(time)
            .map_err(|error| nothing(format!("`{time}` is no time: {error}"), "write it as 2026-11-23T02:00:00Z, or `latest`"))?
            .with_timezone(&Utc);
        if asked > latest {
            return Err(nothing(
                format!("{time} is not restorable yet: the latest restorable time is {latest}"),
                "ask for that, or wait some minutes",
            ));
        }
        asked
    };
    Ok(Found {
        source: Planned::PointInTime { instance: instance.to_owned(), data_at, latest: time == "latest" },
        engine_version: seen.engine_version().unwrap_or_default().to_owned(),
        storage_gib: seen.allocated_storage().unwrap_or(20),
    })
}

/// The newest archive of each database, or of these.
///
/// # Errors
/// When one has none.
pub async fn latest_archives(store: &Store, instance: &str, databases: Option<&[String]>) -> Result<Found, Failure> {
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for folder in store.list_folder(&key::dumps(instance)).await?.folders {
        // A folder's name begins with its slot, so the newest comes last; one without a manifest is no backup.
        for archive in store.list_folder(&folder).await?.folders.iter().rev() {
            let manifest = format!("{archive}{MANIFEST}");
            if let Some((parsed, _)) = ArchiveKey::parse(&manifest)
                && store.head(&manifest).await?.is_some()
            {
                newest.insert(parsed.database, manifest);
                break;
            }
        }
    }
    let mut archives = Vec::new();
    let wanted = databases.map_or_else(|| newest.keys().cloned().collect(), <[String]>::to_vec);
    if wanted.is_empty() {
        return Err(nothing(format!("there is no archive of {instance}"), "make one: invoke `logical-dump` with {\"kind\": \"dump\"}"));
    }
    for database in wanted {
        let manifest = newest.get(&database).ok_or_else(|| {
            nothing(format!("there is no archive of the database {database}"), "look what there is: aws s3 ls s3://BUCKET/dumps/INSTANCE/")
        })?;
        archives.push(manifest.clone());
    }
    open(store, &archives).await
}

/// The archive with this manifest, or below this prefix.
///
/// # Errors
/// When there is none of this instance.
pub async fn archive(store: &Store, instance: &str, key: &str) -> Result<Found, Failure> {
    let manifest = if key.ends_with(MANIFEST) { key.to_owned() } else { format!("{}/{MANIFEST}", key.trim_end_matches('/')) };
    let of_instance = ArchiveKey::parse(&manifest).is_some_and(|(archive, name)| name == MANIFEST && archive.instance == instance);
    if !of_instance {
        return Err(nothing(format!("{key} is no archive of {instance}"), "it looks like dumps/INSTANCE/DATABASE/2026-11-23T02-00-00Z-RUNID/"));
    }
    open(store, &[manifest]).await
}

async fn open(store: &Store, manifests: &[String]) -> Result<Found, Failure> {
    let (mut archives, mut bytes, mut engine_version) = (Vec::new(), 0, String::new());
    for key in manifests {
        let stored =
            store.get(key).await?.ok_or_else(|| nothing(format!("there is no {}", store.address(key)), "its run may not have come to its end"))?;
        let manifest = Manifest::open(&stored).map_err(|message| Failure::new(FailureKind::Corrupt, format!("{}: {message}", store.address(key))))?;
        bytes += manifest.size_bytes();
        engine_version.clone_from(&manifest.server.version);
        archives.push(PlannedArchive {
            manifest: key.clone(),
            checksum: manifest.checksum,
            database: manifest.database,
            data_at: manifest.snapshot_at,
        });
    }
    // Rows are compressed in the archive, and have indexes in the database: ten times is plenty.
    let storage_gib = i32::try_from((bytes * 10).div_ceil(GIB)).unwrap_or(i32::MAX);
    let engine_version = engine_version.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(Found { source: Planned::Archives { archives }, engine_version, storage_gib })
}
