//! `retention` against the local cloud: the shipped binary, real snapshots behind RDS's API, a bucket with versions; what a dry run says is what a run does, and
//! whatever happens on the way, the next run goes on.

mod case;
mod copies;
mod faults;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use shared::finding::FindingKind;
use shared::key::MANIFEST;
use shared::report::Outcome as Verdict;
use shared::snapshot::{EXPIRY_CLASS, Purpose};
use tests::world::run;

use case::{Case, owner};

#[test]
fn a_run_does_what_the_dry_run_said_and_nothing_else() {
    run(async {
        let case = Case::new().await;
        let mut dailies = Vec::new();
        for days_ago in [30, 20, 10, 3, 2, 1] {
            dailies.push(case.daily(days_ago).await);
        }
        let kept = case.ours(&Purpose::PreDeploy("forever".into()), 200, &[(EXPIRY_CLASS, "keep")]).await;
        let before_deploy = case.ours(&Purpose::PreDeploy("build-1".into()), 100, &[]).await;
        // Of others: a name like ours, and our tags under another name.
        let lookalike = format!("{}daily-by-hand", owner().id_prefix());
        case.plant(&lookalike, &[], case.day(400)).await;
        let tagged: Vec<(String, String)> = owner().tags(&Purpose::Daily(case.day(500)), case.day(500)).into_iter().collect();
        case.plant("tags-were-copied", &tagged, case.day(500)).await;
        let mut archives = Vec::new();
        for (days_ago, outcome) in [
            (40, Some(Verdict::Ok)),
            (30, Some(Verdict::Failed)),
            (20, None),
            (10, Some(Verdict::Ok)),
            (5, Some(Verdict::Attention)),
            (1, Some(Verdict::Ok)),
        ] {
            archives.push(case.archive(days_ago, true, outcome).await.prefix());
        }
        let settings =
            [("SNAPSHOT_RETENTION", "last=2"), ("RETENTION_FLOOR", "3"), ("RETENTION_DELETIONS_MAX", "100"), ("ARCHIVE_RETENTION", "last=1")];

        let before = case.backups().await;
        let dry = case.retain(&json!({"kind": "retain", "dryRun": true}), &settings).await;
        assert_eq!(case.backups().await, before, "a dry run deletes nothing");
        assert!(case.bed.store.list("reports/").await.expect("list").is_empty(), "a dry run is only answered");
        assert!(dry.report.summary.starts_with("dry run: 6 of 16 backups would be deleted"), "{}", dry.report.summary);

        let real = case.retain(&json!({"kind": "retain"}), &settings).await;
        assert_eq!(real.decisions, dry.decisions);
        let expected: BTreeSet<String> = [&dailies[..3], &archives[..3]].concat().into_iter().collect();
        assert_eq!(real.deleted(), expected, "{:#?}", real.decisions);
        assert_eq!(case.backups().await, before.difference(&expected).cloned().collect(), "exactly those are gone");
        assert_eq!(case.bed.store.list("reports/retention/").await.expect("list").len(), 1);
        assert_eq!((real.report.fact("backupsDeleted"), real.report.fact("backupsKept")), (Some(6.0), Some(10.0)));
        assert!(real.report.summary.starts_with("3 snapshots and 3 archives deleted, 10 backups kept"), "{}", real.report.summary);
        for (name, why) in [
            (&dailies[5], "kept: the newest good one"),
            (&dailies[3], "kept: one of the 3 newest good ones (floor)"),
            (&kept, "kept: its tag lifeboat:expiry-class is `keep`, or is missing"),
            (&before_deploy, "kept: the newest good one"),
            (&lookalike, "kept: not ours, by its name or its tags"),
            (&dailies[0], "deleted: no rule keeps it; 5 newer good ones"),
            (&archives[1], "deleted: failed or damaged, and older than the newest of 4 good ones"),
        ] {
            assert_eq!(real.why(name), why, "{name}");
        }

        let again = case.retain(&json!({"kind": "retain"}), &settings).await;
        assert_eq!(again.deleted(), BTreeSet::new(), "nothing is left to do");
        assert!(again.report.summary.starts_with("nothing of 10 backups deleted"), "{}", again.report.summary);
        assert!(again.report.fact("dailySnapshotAgeHours").is_some_and(|age| (24.0..25.0).contains(&age)));
        assert!(again.report.fact("archiveAgeHours").is_some_and(|age| (24.0..25.0).contains(&age)));
    });
}

#[test]
fn a_run_deletes_no_more_than_it_may_and_the_next_goes_on() {
    run(async {
        let case = Case::new().await;
        let mut dailies = Vec::new();
        for days_ago in (1..=6).rev() {
            dailies.push(case.daily(days_ago).await);
        }
        let settings = [("RETENTION_DELETIONS_MAX", "2"), ("DATABASES", "app")];
        for (run, left) in [(0, 3), (2, 1), (4, 0)] {
            let answer = case.retain(&json!({"kind": "retain"}), &settings).await;
            let expected: BTreeSet<String> = dailies[run..5.min(run + 2)].iter().cloned().collect();
            assert_eq!(answer.deleted(), expected, "the oldest first");
            assert_eq!(answer.report.fact("deletionsPutOff"), Some(f64::from(left)));
            assert_eq!(answer.report.findings.iter().any(|finding| finding.kind == FindingKind::DeletionsPutOff), left > 0);
        }
        let answer = case.retain(&json!({"kind": "retain"}), &settings).await;
        assert_eq!((answer.deleted().len(), answer.decisions.len()), (0, 1), "the newest good one stays for ever");
        let none: Vec<&str> = answer
            .report
            .findings
            .iter()
            .filter(|finding| finding.kind == FindingKind::NoGoodBackup)
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(none, ["archive of app"]);
        assert!(answer.report.fact("archiveAgeHours").is_some_and(|age| age > 80_000.0), "older than any alarm's limit");
    });
}

#[test]
fn the_rest_of_a_deletion_is_deleted_and_a_dump_in_the_making_is_not() {
    run(async {
        let case = Case::new().await;
        let half = case.archive(30, true, Some(Verdict::Ok)).await;
        let making = case.archive(20, false, None).await;
        let good = case.archive(1, true, Some(Verdict::Ok)).await;
        case.s3().delete_object().bucket(&case.bed.store.bucket).key(half.object(MANIFEST)).send().await.expect("delete the manifest");
        let answer = case.retain(&json!({"kind": "retain"}), &[]).await;
        assert_eq!(answer.deleted(), BTreeSet::from([half.prefix()]));
        assert_eq!(answer.why(&half.prefix()), "deleted: the rest of one whose deletion was begun");
        assert_eq!(answer.why(&making.prefix()), "kept: incomplete, and something in it changed within 24 hours");
        assert_eq!(case.backups().await.into_iter().filter(|name| name.starts_with("dumps/")).collect::<Vec<_>>(), [making.prefix(), good.prefix()]);
        // Hidden, not destroyed.
        let versions = case.bed.store.list_versions(&half.prefix()).await.expect("list the versions");
        assert_eq!(versions.iter().filter(|version| !version.is_delete_marker).count(), 3);
        assert_eq!(versions.iter().filter(|version| version.is_delete_marker).count(), 3, "one marker for each object");
    });
}

#[test]
fn more_objects_than_a_call_takes_are_deleted_in_several() {
    run(async {
        let case = Case::new().await;
        let old = case.archive(30, true, Some(Verdict::Ok)).await;
        for hundred in 0..11 {
            let puts = (0..100).map(|number| {
                let (store, key) = (&case.bed.store, old.object(&format!("{hundred}-{number}.dat")));
                async move { store.put(&key, b"x".to_vec(), "text/plain").await }
            });
            for put in join_all(puts.collect::<Vec<_>>()).await {
                put.expect("store an object");
            }
        }
        // Written after the verification, so it is not counted as good any more, nor needed.
        case.archive(2, true, Some(Verdict::Ok)).await;
        let newest = case.archive(1, true, Some(Verdict::Ok)).await;
        let answer = case.retain(&json!({"kind": "retain"}), &[]).await;
        assert!(answer.deleted().contains(&old.prefix()), "{:#?}", answer.decisions);
        let left: Vec<String> = case.backups().await.into_iter().filter(|name| name.starts_with("dumps/")).collect();
        assert_eq!(left, [newest.prefix()]);
    });
}

#[test]
fn the_quota_is_read_and_said_before_it_is_reached() {
    run(async {
        let case = Case::new().await;
        case.daily(1).await;
        let quota = |count: u32| json!({"snapshotQuota": count});
        for (max, warns) in [(3, false), (2, true)] {
            case.bed.world.cloud.set_rds(&case.bed.account, local::cloud::REGION, &quota(max)).await.expect("set the quota");
            let answer = case.retain(&json!({"kind": "retain"}), &[]).await;
            let finding = answer.report.findings.iter().find(|finding| finding.kind == FindingKind::SnapshotQuota);
            assert_eq!(finding.map(|finding| finding.seen.as_str()), warns.then_some("2 of 2 manual snapshots, of whomever"));
        }
    });
}

#[test]
fn settings_that_keep_nothing_stop_everything() {
    run(async {
        let case = Case::new().await;
        case.daily(2).await;
        let runner = case.runner(&case.bed.world.cloud.endpoint, &[("SNAPSHOT_RETENTION", "daily=0")]).await;
        let outcome = runner.invoke(&json!({"kind": "retain"}), case::LIMIT).await;
        assert!(
            matches!(&outcome, local::Outcome::Err { kind, message } if kind == "BadSettings" && message.contains("it keeps nothing")),
            "{outcome:?}"
        );
        assert_eq!(case.backups().await.len(), 2);
    });
}
