//! Manual snapshots as RDS shows them, the quota for them, and the deletion of one. What is deleted was described again right before, and was still ours
//! and still what the plan saw.

use std::collections::BTreeMap;

use aws_sdk_rds::Client;
use aws_sdk_rds::operation::delete_db_snapshot::DeleteDBSnapshotError;
use aws_sdk_rds::operation::describe_db_snapshots::DescribeDBSnapshotsError;
use aws_sdk_rds::types::DbSnapshot;
use chrono::{DateTime, Utc};
use shared::aws;
use shared::failure::Failure;
use shared::snapshot::{INSTANCE, Owner};

use crate::execute::Done;
use crate::model::{Place, Snapshot, Status};

/// What RDS calls the quota of manual snapshots (API reference, AccountQuota).
const QUOTA: &str = "ManualSnapshots";

/// Manual snapshots of an account in a region, and how many it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// So many are there, of whomever.
    pub used: i64,
    /// So many may be.
    pub max: i64,
}

/// Our snapshots of a place, and those that have our name or our instance's tag.
///
/// # Errors
/// When they cannot be listed.
pub async fn list(client: &Client, owner: &Owner, place: Place) -> Result<Vec<Snapshot>, Failure> {
    let mut pages = client.describe_db_snapshots().snapshot_type("manual").into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| aws::failure(error).context("list the manual snapshots (rds:DescribeDBSnapshots)"))?;
        listed.extend(page.db_snapshots.unwrap_or_default().iter().filter_map(|shown| read(shown, owner, place)));
    }
    Ok(listed)
}

/// A snapshot, unless it has nothing to do with our instance.
fn read(shown: &DbSnapshot, owner: &Owner, place: Place) -> Option<Snapshot> {
    let id = shown.db_snapshot_identifier()?.to_owned();
    let tags: BTreeMap<String, String> =
        shown.tag_list().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect();
    let resembles = id.starts_with(&owner.id_prefix()) || tags.get(INSTANCE) == Some(&owner.instance);
    resembles.then(|| Snapshot {
        place,
        arn: shown.db_snapshot_arn().unwrap_or_default().to_owned(),
        owned: owner.read(&id, &tags),
        id,
        status: Status::read(shown.status().unwrap_or_default()),
        created_at: shown.snapshot_create_time().and_then(time),
    })
}

fn time(time: &aws_sdk_rds::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

/// The quota of manual snapshots; `None` when RDS does not say.
///
/// # Errors
/// When RDS cannot be asked.
pub async fn quota(client: &Client) -> Result<Option<Quota>, Failure> {
    let answer = client.describe_account_attributes().send().await;
    let answer = answer.map_err(|error| aws::failure(error).context("read the quotas (rds:DescribeAccountAttributes)"))?;
    let found = answer.account_quotas().iter().find(|quota| quota.account_quota_name() == Some(QUOTA));
    Ok(found.and_then(|quota| Some(Quota { used: quota.used()?, max: quota.max()? })))
}

/// Deletes a snapshot if it is still what was planned for.
///
/// # Errors
/// When RDS refuses.
pub async fn delete(client: &Client, owner: &Owner, planned: &Snapshot) -> Result<Done, Failure> {
    let described = client.describe_db_snapshots().snapshot_type("manual").db_snapshot_identifier(&planned.id).send().await;
    let described = match described {
        Ok(described) => described,
        Err(error) if error.as_service_error().is_some_and(DescribeDBSnapshotsError::is_db_snapshot_not_found_fault) => return Ok(Done::GoneAlready),
        Err(error) => return Err(aws::failure(error).context("look at it once more (rds:DescribeDBSnapshots)")),
    };
    let found = described.db_snapshots().iter().find(|shown| shown.db_snapshot_identifier() == Some(&planned.id));
    let Some(found) = found else { return Ok(Done::GoneAlready) };
    let now = read(found, owner, planned.place);
    if planned.owned.is_none() || now.as_ref() != Some(planned) {
        return Ok(Done::Changed);
    }
    match client.delete_db_snapshot().db_snapshot_identifier(&planned.id).send().await {
        Ok(_) => Ok(Done::Deleted),
        // The reply to an earlier attempt was lost.
        Err(error) if error.as_service_error().is_some_and(DeleteDBSnapshotError::is_db_snapshot_not_found_fault) => Ok(Done::Deleted),
        Err(error) => Err(aws::failure(error).context("delete it (rds:DeleteDBSnapshot)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::types::Tag;
    use shared::snapshot::Purpose;

    #[test]
    fn only_what_has_to_do_with_the_instance_is_looked_at() {
        let owner = Owner { stage: "prod".into(), instance: "app-db".into() };
        let purpose = Purpose::PreDeploy("build-7".into());
        let shown = |id: &str, tags: &BTreeMap<String, String>| {
            let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
            DbSnapshot::builder().db_snapshot_identifier(id).status("available").db_snapshot_arn("arn").set_tag_list(Some(tags)).build()
        };
        let tags = owner.tags(&purpose, DateTime::UNIX_EPOCH);
        let ours = read(&shown(&owner.id(&purpose, 1), &tags), &owner, Place::Home).expect("ours");
        assert!(ours.owned.is_some() && ours.status == Status::Available && ours.created_at.is_none());
        for (id, tags) in [("by-hand", &tags), ("lifeboat-prod-app-db-by-hand", &BTreeMap::new())] {
            assert!(read(&shown(id, tags), &owner, Place::Home).expect("it resembles ours").owned.is_none(), "{id}");
        }
        assert_eq!(read(&shown("by-hand", &BTreeMap::new()), &owner, Place::Home), None);
    }
}
