//! Copies in another region: a source waits for its copy, a copy for its source, and where the copies cannot be seen nothing goes.

use std::collections::BTreeSet;

use aws_sdk_rds::types::Tag;
use local::cloud::{OTHER_REGION, REGION};
use serde_json::json;
use shared::finding::FindingKind;
use shared::snapshot::{COPY_OF, COPY_TO, Purpose};
use tests::world::run;

use super::case::{Case, owner};

/// A snapshot that is promised a copy in the other region.
async fn promised(case: &Case, days_ago: i64) -> String {
    case.ours(&Purpose::Daily(case.day(days_ago)), days_ago, &[(COPY_TO, OTHER_REGION)]).await
}

/// The copy of one, as `snapshot` makes it.
async fn copy(case: &Case, id: &str, days_ago: i64) {
    let rds = aws_sdk_rds::Client::new(&case.bed.world.cloud.sdk_config_in(&case.bed.account, OTHER_REGION));
    let arn = format!("arn:aws:rds:{REGION}:{}:snapshot:{id}", case.bed.account);
    // Without encryption no key and no signed request of the source's region is needed.
    case.bed.world.cloud.set_rds(&case.bed.account, REGION, &json!({"snapshot": id, "encrypted": false})).await.expect("make it plain");
    let mut tags = owner().tags(&Purpose::Daily(case.day(days_ago)), case.day(days_ago));
    tags.insert(COPY_TO.to_owned(), OTHER_REGION.to_owned());
    tags.insert(COPY_OF.to_owned(), arn.clone());
    let tags = tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let call = rds.copy_db_snapshot().source_db_snapshot_identifier(arn).target_db_snapshot_identifier(id).set_tags(Some(tags));
    call.send().await.expect("copy to the other region");
    case.wait_available(OTHER_REGION, id).await;
    case.made_at(OTHER_REGION, id, case.day(days_ago)).await;
}

async fn copies(case: &Case) -> BTreeSet<String> {
    let rds = aws_sdk_rds::Client::new(&case.bed.world.cloud.sdk_config_in(&case.bed.account, OTHER_REGION));
    let shown = rds.describe_db_snapshots().snapshot_type("manual").send().await.expect("list the copies");
    shown.db_snapshots().iter().filter_map(|snapshot| snapshot.db_snapshot_identifier.clone()).collect()
}

#[test]
fn a_source_goes_when_its_copy_is_there_and_the_copy_after_it() {
    run(async {
        let case = Case::new().await;
        let mut ids = Vec::new();
        for days_ago in [5, 4, 3, 2] {
            ids.push(promised(&case, days_ago).await);
        }
        for (id, days_ago) in [(&ids[0], 5), (&ids[2], 3), (&ids[3], 2)] {
            copy(&case, id, days_ago).await;
        }
        let there = [("COPY_REGION", OTHER_REGION)];
        // Without the destination's role or region, nothing is known of the copies.
        let blind = [("COPY_REGION", OTHER_REGION), ("COPY_ACCOUNT_ROLE_ARN", "arn:aws:iam::210987654321:role/nobody")];
        let answer = case.retain(&json!({"kind": "retain"}), &blind).await;
        assert_eq!(answer.deleted(), BTreeSet::new(), "{:#?}", answer.decisions);
        let unread = answer.report.findings.iter().find(|finding| finding.kind == FindingKind::NotChecked).expect("it is said");
        assert!(unread.subject == "snapshots, 210987654321/eu-west-1" && unread.seen.contains("COPY_ACCOUNT_RETENTION_ROLE_ARN"), "{unread:?}");

        let answer = case.retain(&json!({"kind": "retain"}), &there).await;
        assert_eq!(answer.deleted(), BTreeSet::from([ids[0].clone(), ids[2].clone()]), "{:#?}", answer.decisions);
        assert_eq!(answer.why(&ids[1]), "kept: its copy in eu-west-1 is promised and not available");
        assert!(answer.report.findings.iter().any(|finding| finding.kind == FindingKind::KeptForCopy && finding.seen.contains(&ids[1])));
        assert_eq!(copies(&case).await, BTreeSet::from([ids[0].clone(), ids[2].clone(), ids[3].clone()]), "the copies stay in this run");
        assert!(answer.report.fact("regionCopyAgeHours").is_some_and(|age| (48.0..49.0).contains(&age)));

        let answer = case.retain(&json!({"kind": "retain"}), &there).await;
        assert_eq!(answer.deleted(), BTreeSet::from([ids[0].clone(), ids[2].clone()]), "now the copies themselves: {:#?}", answer.decisions);
        assert_eq!(copies(&case).await, BTreeSet::from([ids[3].clone()]));
        let left = case.backups().await;
        assert!(left.contains(&ids[1]) && left.contains(&ids[3]) && !left.contains(&ids[0]) && !left.contains(&ids[2]), "{left:?}");
    });
}
