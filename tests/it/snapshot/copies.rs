//! Copies: hop by hop, with the keys and rights that RDS asks for, until the last one can be restored with the data of the source.

use aws_sdk_rds::types::DbSnapshot;
use local::cloud::{OTHER_REGION, REGION};
use serde_json::{Value, json};
use shared::finding::FindingKind;
use tests::bed::GUARDED;
use tests::world::run;

use super::guarded::{Copies, DAY, Guarded, daily, kinds, listed, tags, words};

const ID: &str = "lifeboat-dev-app-db-daily-20261123t010000z";

async fn copy(guarded: &Guarded, account: &str, region: &str) -> DbSnapshot {
    let found = listed(&guarded.rds_in(account, region)).await;
    found.into_iter().find(|copy| copy.db_snapshot_identifier() == Some(ID)).unwrap_or_else(|| panic!("no copy in {account} {region}"))
}

/// Makes a snapshot, lets it be copied, and compares the last copy's content with what the source was.
async fn arrives(copies: Copies, account_is_other: bool, region: &str) -> Guarded {
    let guarded = Guarded::new(copies).await;
    guarded.write("1, 300").await;
    let then = guarded.content().await;
    guarded.report(&daily("01:00:00")).await;
    guarded.rest().await;
    guarded.write("301, 400").await;
    let report = guarded.settle(&format!("{DAY}T02:00:00Z")).await;
    let account = if account_is_other { &guarded.other_account } else { &guarded.bed.account };
    let last = copy(&guarded, account, region).await;
    assert_eq!(last.status(), Some("available"));
    assert_eq!(guarded.restored(account, region, ID).await, then, "{report:?}");
    guarded
}

/// With whom the snapshot of a place is shared.
async fn shared_with(guarded: &Guarded, region: &str) -> Vec<String> {
    let rds = guarded.rds_in(&guarded.bed.account, region);
    let answer = rds.describe_db_snapshot_attributes().db_snapshot_identifier(ID).send().await.expect("attributes");
    let result = answer.db_snapshot_attributes_result.expect("attributes");
    result
        .db_snapshot_attributes()
        .iter()
        .filter(|seen| seen.attribute_name() == Some("restore"))
        .flat_map(|seen| seen.attribute_values().to_vec())
        .collect()
}

#[test]
fn a_copy_arrives_in_another_region() {
    run(async {
        let guarded = arrives(Copies::Region, false, OTHER_REGION).await;
        let (source, copy) = (&guarded.snapshots().await[0], copy(&guarded, &guarded.bed.account, OTHER_REGION).await);
        assert_eq!(copy.kms_key_id(), Some(guarded.setting("COPY_KEY_ARN")));
        assert_eq!(tags(&copy).get("lifeboat:copy-of").map(String::as_str), source.db_snapshot_arn());
        assert_eq!(tags(source)["lifeboat:copied-to"], OTHER_REGION);
        guarded.end().await;
    });
}

#[test]
fn a_copy_arrives_in_another_account() {
    run(async {
        let guarded = arrives(Copies::Account, true, REGION).await;
        assert_eq!(shared_with(&guarded, REGION).await, [""; 0], "the sharing was taken back");
        assert_eq!(tags(&guarded.snapshots().await[0])["lifeboat:copied-to"], format!("{}/{REGION}", guarded.other_account));
        guarded.end().await;
    });
}

#[test]
fn a_copy_arrives_in_another_account_by_way_of_another_region() {
    run(async {
        let guarded = arrives(Copies::Both, true, OTHER_REGION).await;
        assert_eq!(shared_with(&guarded, OTHER_REGION).await, [""; 0]);
        let (first, last) = (copy(&guarded, &guarded.bed.account, OTHER_REGION).await, copy(&guarded, &guarded.other_account, OTHER_REGION).await);
        assert_eq!(tags(&last).get("lifeboat:copy-of").map(String::as_str), first.db_snapshot_arn());
        assert_eq!(last.kms_key_id(), Some(guarded.setting("COPY_ACCOUNT_KEY_ARN")));
        // A copy that its own policy ends is not made again.
        let rds = guarded.rds_in(&guarded.other_account, OTHER_REGION);
        rds.delete_db_snapshot().db_snapshot_identifier(ID).send().await.expect("delete the copy");
        let report = guarded.settle(&format!("{DAY}T03:00:00Z")).await;
        assert_eq!((words(&listed(&rds).await), report.fact("stepsWaiting")), (vec![], Some(0.0)), "{report:?}");
        guarded.end().await;
    });
}

#[test]
fn a_dry_run_lists_the_steps_that_a_run_takes() {
    run(async {
        let guarded = Guarded::new(Copies::Both).await;
        guarded.write("1, 10").await;
        let now = format!("{DAY}T01:30:00Z");
        for _ in 0..6 {
            guarded.rest().await;
            let planned = guarded.ask(&json!({"kind": "reconcile", "scheduledAt": now, "dryRun": true})).await;
            let runner = guarded.runner(&[]).await;
            runner.invoke(&json!({"kind": "reconcile", "scheduledAt": now}), super::guarded::LIMIT).await.ok().expect("a run");
            let (lines, _) = runner.end().await;
            let steps = |value: Value| {
                value
                    .get("message")
                    .is_some_and(|message| message == "step")
                    .then(|| [value["action"].clone(), value["what"].clone(), value["why"].clone()])
            };
            let taken: Vec<_> = lines.iter().filter_map(|line| serde_json::from_str(line).ok().and_then(steps)).collect();
            let listed: Vec<_> = planned["steps"]
                .as_array()
                .expect("steps")
                .iter()
                .map(|step| [step["action"].clone(), step["what"].clone(), step["why"].clone()])
                .collect();
            assert_eq!(listed, taken);
        }
        let report = guarded.report(&json!({"kind": "reconcile", "scheduledAt": now})).await;
        assert_eq!((report.fact("regionCopies"), report.fact("accountCopies")), (Some(1.0), Some(1.0)), "{report:?}");
        guarded.end().await;
    });
}

#[test]
fn what_can_never_be_copied_is_not_tried() {
    run(async {
        let guarded = Guarded::new(Copies::Account).await;
        // The account's default key for RDS, made by being asked for.
        let kms = aws_sdk_kms::Client::new(&guarded.bed.config);
        let plain = guarded.rds().create_db_instance().db_instance_identifier("other").engine("postgres").db_instance_class("db.t4g.micro");
        let plain = plain.allocated_storage(20).master_username("lifeboat_master").master_user_password("a-long-password").storage_encrypted(true);
        plain.send().await.expect("an instance under the default key");
        let key = kms.describe_key().key_id("alias/aws/rds").send().await.expect("the default key");
        let key = key.key_metadata.and_then(|key| key.arn).expect("its ARN");
        guarded.set_rds(&json!({"instance": GUARDED, "kmsKeyId": key})).await;
        guarded.report(&daily("01:00:00")).await;
        guarded.rest().await;
        let since = guarded.bed.world.cloud.calls(&guarded.bed.account, 0).await.expect("calls").last().map_or(0, |call| call.n);
        let report = guarded.report(&json!({"kind": "reconcile", "scheduledAt": format!("{DAY}T02:00:00Z")})).await;
        assert!(kinds(&report).contains(&FindingKind::CopyImpossible), "{report:?}");
        let calls = guarded.bed.world.cloud.calls(&guarded.bed.account, since).await.expect("calls");
        assert!(calls.iter().all(|call| call.action != "rds:ModifyDBSnapshotAttribute" && call.action != "rds:CopyDBSnapshot"), "{calls:?}");
        guarded.end().await;
    });
}

#[test]
fn a_destination_that_cannot_be_reached_does_not_stop_the_snapshot() {
    run(async {
        let mut guarded = Guarded::new(Copies::Account).await;
        guarded.set("COPY_ACCOUNT_ROLE_ARN", &format!("arn:aws:iam::{}:role/nobody", guarded.other_account));
        let report = guarded.report(&daily("01:00:00")).await;
        assert!(kinds(&report).contains(&FindingKind::NotChecked), "{report:?}");
        guarded.rest().await;
        assert_eq!(guarded.home().await, ["daily-20261123t010000z available"]);
        guarded.end().await;
    });
}

#[test]
fn copies_wait_for_their_turn_and_a_failed_one_is_named() {
    run(async {
        let mut guarded = Guarded::new(Copies::Region).await;
        guarded.set("COPIES_IN_PROGRESS_MAX", "1");
        guarded.write("1, 10").await;
        // A pipeline's call begins no copies, so after it two are due.
        for request in [daily("01:00:00"), json!({"kind": "preDeploy", "requestId": "8"})] {
            guarded.ask(&request).await;
            guarded.rest().await;
        }
        let cloud = &guarded.bed.world.cloud;
        let account = guarded.bed.account.as_str();
        let there = |settings: Value| async move { cloud.set_rds(account, OTHER_REGION, &settings).await.expect("set RDS") };
        there(json!({"holdCopies": true})).await;
        let reconcile = json!({"kind": "reconcile", "scheduledAt": format!("{DAY}T02:00:00Z")});
        let report = guarded.report(&reconcile).await;
        let rds = guarded.rds_in(&guarded.bed.account, OTHER_REGION);
        assert_eq!(words(&listed(&rds).await).iter().filter(|word| word.ends_with("creating")).count(), 1);
        assert!(kinds(&report).contains(&FindingKind::CopyWaits), "{report:?}");
        there(json!({"holdCopies": false, "failNextCopies": 1})).await;
        guarded.settle(&format!("{DAY}T02:00:00Z")).await;
        let report = guarded.report(&reconcile).await;
        let failed: Vec<_> = listed(&rds).await.into_iter().filter(|copy| copy.status() == Some("failed")).collect();
        assert_eq!((failed.len(), kinds(&report).contains(&FindingKind::CopyFailed)), (1, true), "{report:?}");
        // Once it is deleted, it is made again.
        rds.delete_db_snapshot().db_snapshot_identifier(failed[0].db_snapshot_identifier().unwrap_or_default()).send().await.expect("delete");
        guarded.settle(&format!("{DAY}T02:00:00Z")).await;
        assert!(words(&listed(&rds).await).iter().all(|word| word.ends_with("available")));
        assert_eq!(listed(&rds).await.len(), 2);
        guarded.end().await;
    });
}
