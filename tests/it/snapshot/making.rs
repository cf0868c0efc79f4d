//! Snapshots at home: made once, found again, made up for, refused.

use local::Outcome;
use local::cloud::REGION;
use serde_json::{Value, json};
use shared::finding::FindingKind;
use shared::report::Outcome as Verdict;
use tests::bed::GUARDED;
use tests::world::run;

use super::guarded::{Copies, Guarded, LIMIT, daily, kinds, tags};

#[test]
fn the_same_event_twice_makes_one_snapshot_and_it_holds_the_data() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        guarded.write("1, 500").await;
        let then = guarded.content().await;
        let (first, second) = (guarded.runner(&[]).await, guarded.runner(&[]).await);
        let request = daily("01:00:00");
        let (first, second) = tokio::join!(first.invoke(&request, LIMIT), second.invoke(&request, LIMIT));
        assert!(matches!((&first, &second), (Outcome::Ok(_), Outcome::Ok(_))), "{first:?} {second:?}");
        guarded.rest().await;
        guarded.write("501, 600").await;
        let again = guarded.report(&request).await;
        assert_eq!((again.fact("stepsTaken"), again.fact("dailySnapshots")), (Some(0.0), Some(1.0)), "{again:?}");
        assert_eq!(guarded.home().await, ["daily-20261123t010000z available"]);
        let made = &guarded.snapshots().await[0];
        let made_tags = tags(made);
        for (name, value) in [
            ("lifeboat:created-by", "lifeboat"),
            ("lifeboat:stage", "dev"),
            ("lifeboat:instance", GUARDED),
            ("lifeboat:kind", "daily"),
            ("lifeboat:expiry-class", "daily"),
            ("lifeboat:slot", "2026-11-23T01-00-00Z"),
        ] {
            assert_eq!(made_tags.get(name).map(String::as_str), Some(value), "{made_tags:?}");
        }
        let restored = guarded.restored(&guarded.bed.account, REGION, made.db_snapshot_identifier().unwrap_or_default()).await;
        assert_eq!(restored, then);
        assert_ne!(guarded.content().await, then, "the source went on");
        guarded.end().await;
    });
}

#[test]
fn a_pipeline_polls_by_repeating_its_call() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        guarded.set_rds(&json!({"holdSnapshots": true})).await;
        let request = json!({"kind": "preDeploy", "requestId": "Build 7", "release": "1.2.3", "gitSha": "0badcafe"});
        let first = guarded.ask(&request).await;
        let id = first["snapshot"].as_str().expect("an id").to_owned();
        assert!(id.starts_with("lifeboat-dev-app-db-predeploy-build-7-") && first["status"] == "creating", "{first}");
        let second = guarded.ask(&request).await;
        assert_eq!((second["snapshot"].as_str(), second["status"].as_str()), (Some(id.as_str()), Some("creating")));
        // Meanwhile the instance is backing up: another pipeline has to ask again.
        let other = json!({"kind": "preDeploy", "requestId": "8"});
        let waits = guarded.ask(&other).await;
        assert_eq!((waits["status"].as_str(), &waits["arn"]), (Some("creating"), &Value::Null), "{waits}");
        assert_eq!(waits["report"]["findings"][0]["kind"], "instanceNotAvailable");
        guarded.set_rds(&json!({"holdSnapshots": false})).await;
        guarded.rest().await;
        let done = guarded.ask(&request).await;
        assert_eq!((done["snapshot"].as_str(), done["status"].as_str(), done["percent"].as_i64()), (Some(id.as_str()), Some("available"), Some(100)));
        assert!(done["arn"].as_str().is_some_and(|arn| arn.ends_with(&id)), "{done}");
        assert_eq!(guarded.ask(&other).await["status"], "creating");
        guarded.rest().await;
        assert_eq!(guarded.home().await.len(), 2);
        let made = guarded.snapshots().await;
        let made = made.iter().find(|seen| seen.db_snapshot_identifier() == Some(&id)).expect("the snapshot");
        let tags = tags(made);
        assert_eq!(["lifeboat:request-id", "lifeboat:release", "lifeboat:git-sha"].map(|name| tags[name].as_str()), ["Build 7", "1.2.3", "0badcafe"]);
        // The polls that found what was known told nobody: two reports are in the archive.
        let archived = guarded.bed.store.list("reports/snapshot/").await.expect("list");
        assert_eq!(archived.len(), 2, "{archived:?}");
        guarded.end().await;
    });
}

#[test]
fn what_was_missed_or_failed_is_made_up_for() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        // Nothing yet: an event is a hint, and what is missing is found by looking.
        let woken = json!({"kind": "reconcile", "event": "RDS-EVENT-0042", "about": "somebody-elses", "scheduledAt": "2026-11-23T01:17:00Z"});
        let planned = guarded.ask(&json!({"kind": "reconcile", "scheduledAt": "2026-11-23T01:17:00Z", "dryRun": true})).await;
        assert_eq!(planned["steps"][0]["action"], "create", "{planned}");
        assert_eq!(guarded.home().await, [""; 0], "a dry run changes nothing");
        guarded.set_rds(&json!({"failNextSnapshots": 1})).await;
        guarded.ask(&woken).await;
        guarded.rest().await;
        assert_eq!(guarded.home().await, ["daily-20261123t010000z failed"]);
        // The failed one is said, and tried again under the next id.
        let report = guarded.report(&woken).await;
        assert!(kinds(&report).contains(&FindingKind::SnapshotFailed) && report.outcome == Verdict::Failed, "{report:?}");
        guarded.rest().await;
        assert_eq!(guarded.home().await, ["daily-20261123t010000z failed", "daily-20261123t010000z-a2 available"]);
        let quiet = guarded.report(&woken).await;
        assert_eq!((kinds(&quiet), quiet.fact("stepsTaken")), (vec![], Some(0.0)), "{quiet:?}");
        // A day and three hours later, as a clock says that is ahead: the slot is stale by it, RDS's time is not in its future, one is made, once.
        for (at, count) in [("2036-11-24T04:10:00Z", 3), ("2036-11-24T04:50:00Z", 3)] {
            guarded.ask(&json!({"kind": "reconcile", "scheduledAt": at})).await;
            guarded.rest().await;
            assert_eq!(guarded.home().await.len(), count, "{at}");
        }
        guarded.end().await;
    });
}

#[test]
fn what_cannot_be_made_is_said_with_what_to_do() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        let rds = guarded.rds();
        // Somebody else's snapshot has the id: it is left alone, and ours gets the next.
        let foreign = "lifeboat-dev-app-db-daily-20261123t010000z";
        rds.create_db_snapshot().db_instance_identifier(GUARDED).db_snapshot_identifier(foreign).send().await.expect("a foreign snapshot");
        guarded.rest().await;
        let report = guarded.report(&daily("01:00:00")).await;
        assert!(kinds(&report).contains(&FindingKind::SnapshotIdTaken), "{report:?}");
        guarded.rest().await;
        assert_eq!(guarded.home().await, ["daily-20261123t010000z available", "daily-20261123t010000z-a2 available"]);

        guarded.set_rds(&json!({"snapshotQuota": 2})).await;
        let report = guarded.report(&daily("02:00:00")).await;
        let refused = report.findings.iter().find(|finding| finding.kind == FindingKind::SnapshotStepRefused).expect("refused");
        assert!(refused.hint.as_ref().is_some_and(|hint| hint.contains("quota")) && refused.seen.contains("SnapshotQuotaExceeded"), "{refused:?}");
        assert!(kinds(&report).contains(&FindingKind::SnapshotQuota));
        assert_eq!((report.fact("homeManualSnapshots"), report.fact("homeManualSnapshotsQuota")), (Some(2.0), Some(2.0)));
        let reply = guarded.ask(&json!({"kind": "preDeploy", "requestId": "9"})).await;
        assert_eq!(reply["status"], "failed", "somebody must act: {reply}");
        guarded.set_rds(&json!({"snapshotQuota": 100})).await;

        guarded.set_rds(&json!({"instance": GUARDED, "status": "stopped"})).await;
        let report = guarded.report(&daily("03:00:00")).await;
        let waits = report.findings.iter().find(|finding| finding.kind == FindingKind::InstanceNotAvailable).expect("not available");
        assert!(waits.hint.as_ref().is_some_and(|hint| hint.contains("start the instance")), "{waits:?}");
        assert_eq!(guarded.home().await.len(), 2);
        guarded.end().await;
    });
}

#[test]
fn the_daily_report_says_how_the_instance_is() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        let now = "2026-11-23T01:00:00Z";
        let good = json!({
            "instance": GUARDED, "backupRetentionPeriod": 7, "latestRestorableTime": "2026-11-23T00:56:00Z", "multiAZ": true, "deletionProtection": true,
            "publiclyAccessible": false, "certificateValidTill": "2027-11-23T01:00:00Z",
        });
        guarded.set_rds(&good).await;
        let report = guarded.report(&json!({"kind": "daily", "scheduledAt": now})).await;
        assert_eq!((kinds(&report), report.outcome), (vec![], Verdict::Ok), "{report:?}");
        assert_eq!((report.fact("pointInTimeLagSeconds"), report.fact("automatedBackupDays")), (Some(240.0), Some(7.0)));
        assert_eq!(report.fact("certificateDaysLeft"), Some(365.0));
        guarded.rest().await;
        let key = guarded.bed.world.cloud.database_key(&guarded.bed.account, REGION).await.expect("the instance's key");
        aws_sdk_kms::Client::new(&guarded.bed.config).schedule_key_deletion().key_id(&key).pending_window_in_days(7).send().await.expect("schedule");
        let bad = json!({
            "instance": GUARDED, "latestRestorableTime": "2026-11-23T00:00:00Z", "multiAZ": false, "deletionProtection": false, "publiclyAccessible": true,
            "certificateValidTill": "2026-12-23T01:00:00Z",
            "pendingMaintenance": [{"Action": "system-update", "Description": "New Operating System update is available"}],
        });
        guarded.set_rds(&bad).await;
        let report = guarded.report(&json!({"kind": "daily", "scheduledAt": now})).await;
        let mut found = kinds(&report);
        found.sort();
        let expected = [
            FindingKind::RecoveryPointLags,
            FindingKind::DeletionProtectionOff,
            FindingKind::SingleAvailabilityZone,
            FindingKind::PubliclyAccessible,
            FindingKind::CertificateExpires,
            FindingKind::MaintenancePending,
            FindingKind::KeyUnusable,
        ];
        assert_eq!(found, expected, "{report:?}");
        // Every hour: only what is wrong now.
        let report = guarded.report(&json!({"kind": "reconcile", "scheduledAt": now})).await;
        assert_eq!(kinds(&report), [FindingKind::RecoveryPointLags, FindingKind::KeyUnusable]);
        guarded.end().await;
    });
}

#[test]
fn a_wrong_setting_is_named_whatever_is_asked() {
    run(async {
        let guarded = Guarded::new(Copies::No).await;
        let wrong = [("COPY_REGION", REGION), ("COPIES_IN_PROGRESS_MAX", "21"), ("COPY_ACCOUNT_ROLE_ARN", "a-role")];
        let outcome = guarded.runner(&wrong).await.invoke(&daily("01:00:00"), LIMIT).await;
        let Outcome::Err { kind, message } = outcome else { panic!("{outcome:?}") };
        assert!(kind == "BadSettings" && wrong.iter().all(|(name, _)| message.contains(name)), "{message}");
        guarded.end().await;
    });
}
