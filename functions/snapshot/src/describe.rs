//! RDS's and KMS's answers in our own words: each call once, with all its pages.

use std::collections::BTreeMap;

use aws_sdk_kms::types::KeyManagerType;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, DbSnapshotAttributesResult, ResourcePendingMaintenanceActions};
use chrono::{DateTime, Utc};
use shared::aws;
use shared::failure::{Failure, FailureKind};

use crate::observed::{Instance, Key, Maintenance, Quota, Snapshot, Status};

/// A page has at most 100 (API reference, DescribeDBSnapshots).
const PAGE: i32 = 100;
/// 10,000 snapshots: a hundred times the usual quota.
const PAGES_MAX: usize = 100;
/// Attribute of a snapshot that names the accounts which may copy and restore it.
pub const RESTORE: &str = "restore";

fn time(time: Option<&aws_sdk_rds::primitives::DateTime>) -> Option<DateTime<Utc>> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()))
}

/// The instance, if there is one.
///
/// # Errors
/// When RDS does not answer.
pub async fn instance(rds: &aws_sdk_rds::Client, id: &str) -> Result<Option<Instance>, Failure> {
    match rds.describe_db_instances().db_instance_identifier(id).send().await {
        Ok(answer) => Ok(answer.db_instances().first().map(read_instance)),
        Err(error) if error.code() == Some("DBInstanceNotFound") => Ok(None),
        Err(error) => Err(aws::failure(error).context(format!("describe the instance {id} (rds:DescribeDBInstances)"))),
    }
}

fn read_instance(seen: &DbInstance) -> Instance {
    let certificate = seen.certificate_details();
    Instance {
        id: seen.db_instance_identifier().unwrap_or_default().to_owned(),
        arn: seen.db_instance_arn().unwrap_or_default().to_owned(),
        status: seen.db_instance_status().unwrap_or("unknown").to_owned(),
        engine: seen.engine().unwrap_or_default().to_owned(),
        encrypted: seen.storage_encrypted().unwrap_or_default(),
        key_arn: seen.kms_key_id().map(str::to_owned),
        backup_days: seen.backup_retention_period().unwrap_or_default(),
        latest_restorable_at: time(seen.latest_restorable_time()),
        multi_az: seen.multi_az().unwrap_or_default(),
        publicly_accessible: seen.publicly_accessible().unwrap_or_default(),
        deletion_protection: seen.deletion_protection().unwrap_or_default(),
        certificate_authority: seen.ca_certificate_identifier().map(str::to_owned),
        certificate_until: certificate.and_then(|certificate| time(certificate.valid_till())),
        maintenance: Vec::new(),
    }
}

/// What AWS is going to do to an instance.
///
/// # Errors
/// When RDS does not answer.
pub async fn maintenance(rds: &aws_sdk_rds::Client, instance_arn: &str) -> Result<Vec<Maintenance>, Failure> {
    let answer = rds.describe_pending_maintenance_actions().resource_identifier(instance_arn).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("describe pending maintenance (rds:DescribePendingMaintenanceActions)"))?;
    let of_instance = answer.pending_maintenance_actions().iter().filter(|seen| seen.resource_identifier() == Some(instance_arn));
    let actions = of_instance.flat_map(ResourcePendingMaintenanceActions::pending_maintenance_action_details).map(|action| Maintenance {
        action: action.action().unwrap_or("something").to_owned(),
        description: action.description().unwrap_or_default().to_owned(),
        at: time(action.current_apply_date()).or_else(|| time(action.forced_apply_date())).or_else(|| time(action.auto_applied_after_date())),
    });
    Ok(actions.collect())
}

/// All manual snapshots of a region and account.
///
/// # Errors
/// When RDS does not answer, or there are more than anybody has.
pub async fn snapshots(rds: &aws_sdk_rds::Client) -> Result<Vec<Snapshot>, Failure> {
    let (mut found, mut marker) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let answer = rds.describe_db_snapshots().snapshot_type("manual").max_records(PAGE).set_marker(marker).send().await;
        let answer = answer.map_err(|error| aws::failure(error).context("list snapshots (rds:DescribeDBSnapshots)"))?;
        found.extend(answer.db_snapshots().iter().map(read_snapshot));
        marker = answer.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(found);
        }
    }
    Err(Failure::new(FailureKind::Other, format!("list snapshots: there are more than {}", found.len())))
}

/// One snapshot, if it is there.
///
/// # Errors
/// When RDS does not answer.
pub async fn snapshot(rds: &aws_sdk_rds::Client, id: &str) -> Result<Option<Snapshot>, Failure> {
    match rds.describe_db_snapshots().db_snapshot_identifier(id).send().await {
        Ok(answer) => Ok(answer.db_snapshots().first().map(read_snapshot)),
        Err(error) if error.code() == Some("DBSnapshotNotFound") => Ok(None),
        Err(error) => Err(aws::failure(error).context(format!("describe the snapshot {id} (rds:DescribeDBSnapshots)"))),
    }
}

/// A snapshot as RDS shows it.
pub fn read_snapshot(seen: &DbSnapshot) -> Snapshot {
    let tags = seen.tag_list().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())));
    let status_word = seen.status().unwrap_or("unknown").to_owned();
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Snapshot {
        id: seen.db_snapshot_identifier().unwrap_or_default().to_owned(),
        arn: seen.db_snapshot_arn().unwrap_or_default().to_owned(),
        status: Status::of(&status_word),
        status_word,
        percent: seen.percent_progress().unwrap_or_default(),
        instance: seen.db_instance_identifier().unwrap_or_default().to_owned(),
        engine: seen.engine().unwrap_or_default().to_owned(),
        engine_version: seen.engine_version().unwrap_or_default().to_owned(),
        allocated_gib: seen.allocated_storage().unwrap_or_default(),
        encrypted: seen.encrypted().unwrap_or_default(),
        key_arn: text(seen.kms_key_id()),
        created_at: time(seen.snapshot_create_time()),
        original_created_at: time(seen.original_snapshot_create_time()),
        source_arn: text(seen.source_db_snapshot_identifier()),
        tags: tags.collect::<BTreeMap<_, _>>(),
        restorable_by: None,
    }
}

/// The accounts that may copy and restore a snapshot.
///
/// # Errors
/// When RDS does not answer.
pub async fn restorable_by(rds: &aws_sdk_rds::Client, id: &str) -> Result<Vec<String>, Failure> {
    let answer = rds.describe_db_snapshot_attributes().db_snapshot_identifier(id).send().await;
    let answer = answer.map_err(|error| aws::failure(error).context(format!("see with whom {id} is shared (rds:DescribeDBSnapshotAttributes)")))?;
    let attributes = answer.db_snapshot_attributes_result().map(DbSnapshotAttributesResult::db_snapshot_attributes).unwrap_or_default();
    let restore = attributes.iter().filter(|attribute| attribute.attribute_name() == Some(RESTORE));
    Ok(restore.flat_map(|attribute| attribute.attribute_values().iter().cloned()).collect())
}

/// The quota of manual snapshots, as RDS counts it: never assumed.
///
/// # Errors
/// When RDS does not answer.
pub async fn quota(rds: &aws_sdk_rds::Client) -> Result<Option<Quota>, Failure> {
    let answer = rds.describe_account_attributes().send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("read the quota of snapshots (rds:DescribeAccountAttributes)"))?;
    let quota = answer.account_quotas().iter().find(|quota| quota.account_quota_name() == Some("ManualSnapshots"));
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(quota.and_then(|quota| Some(Quota { used: count(quota.used())?, max: count(quota.max())? })))
}

/// A key. One that is not there is one that cannot be used.
///
/// # Errors
/// When KMS does not answer, or does not let us look.
pub async fn key(kms: &aws_sdk_kms::Client, arn: &str, used_for: &'static str) -> Result<Key, Failure> {
    let gone = |state: &str| Key { asked: arn.to_owned(), arn: arn.to_owned(), state: state.to_owned(), by_aws: false, deletion_at: None, used_for };
    let answer = match kms.describe_key().key_id(arn).send().await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("NotFoundException") => return Ok(gone("not found")),
        Err(error) => return Err(aws::failure(error).context(format!("describe the key of {used_for} (kms:DescribeKey)"))),
    };
    let Some(metadata) = answer.key_metadata() else { return Ok(gone("unknown")) };
    Ok(Key {
        asked: arn.to_owned(),
        arn: metadata.arn().unwrap_or(arn).to_owned(),
        state: metadata.key_state().map_or("unknown", |state| state.as_str()).to_owned(),
        by_aws: metadata.key_manager() == Some(&KeyManagerType::Aws),
        deletion_at: metadata.deletion_date().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos())),
        used_for,
    })
}
