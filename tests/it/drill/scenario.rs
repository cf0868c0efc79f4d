//! Drills as they run for a user: the real template with IAM enforced, the machine as the clock, real servers behind the instances.

use chrono::{SubsecRound, TimeDelta};
use local::cloud::{OTHER_REGION, REGION};
use local::database::{self, with_database, with_user};
use restore_drill::tell::PAGE;
use serde_json::json;
use shared::finding::{FindingKind, Severity};
use shared::report::Outcome;
use tests::world::run;

use crate::permissions;
use tests::drills::stage::{PATIENCE, Stage};

#[test]
fn a_snapshot_and_an_archive_are_restored_proved_and_removed() {
    run(async {
        let stage = Stage::new(&[]).await;
        let now = local::host::now().trunc_subsecs(0);
        stage.dump().await;
        let snapshot = stage.snapshot(now - TimeDelta::hours(1)).await;
        stage.dump().await;

        let freshness = json!({"database": "app", "sql": "SELECT max(placed_at) - interval '3 days' FROM orders"});
        let request = json!({"kind": "drill", "source": {"latest": "snapshot"}, "freshness": freshness});
        let (drill, ended, result) = stage.play(&request).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        // The user's own query says how old the data is: three days, which is more than was promised.
        let days = result.recovery_point_seconds / 86_400.0;
        assert!((3.0..3.1).contains(&days) && result.outcome == Outcome::Failed && ended.status == "FAILED", "{result:#?}");
        assert_eq!(result.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::RecoveryPointExceeded]);

        let (drill, ended, result) = stage.play(&json!({"kind": "drill", "source": {"latest": "snapshot"}})).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        assert!(result.source.contains(&snapshot), "{result:#?}");
        assert_eq!((ended.status.as_str(), result.outcome), ("SUCCEEDED", Outcome::Ok), "{result:#?}");
        let figures = result.databases.iter().find(|one| one.name == "app").expect("the database");
        assert_eq!((figures.tables, figures.exact + figures.bounded, figures.rows), (3, 3, 50_000), "{result:#?}");
        assert!(figures.checked_relations >= 5 && result.recovery_time_seconds.is_some(), "{result:#?}");
        assert!(result.findings.iter().all(|finding| finding.severity == Severity::Note), "{result:#?}");
        let page = stage.store.get(&drill.key(PAGE)).await.expect("read").expect("a page");
        assert!(String::from_utf8(page).expect("text").contains("Restored and proved"));

        let (drill, ended, result) = stage.play(&json!({"kind": "drill", "source": {"latest": "archive"}})).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        assert_eq!((ended.status.as_str(), result.outcome), ("SUCCEEDED", Outcome::Ok), "{result:#?}");
        assert_eq!((result.databases[0].tables, result.databases[0].exact, result.databases[0].rows), (3, 3, 50_000), "{result:#?}");

        let status = stage.ask("RestoreDrillFunctionName", &json!({"kind": "status", "drill": drill})).await.expect("an answer");
        assert_eq!(status["state"], "succeeded", "{status:#}");
        assert_eq!((stage.others().await, stage.secrets().await), (Vec::<String>::new(), Vec::new()));
        let told = stage.slack.wait_for(PATIENCE, |message| message.body.to_string().contains("restored and proved")).await;
        told.expect("the report reaches Slack");
        stage.ask("RestoreDrillFunctionName", &json!({"kind": "sweep"})).await.expect("an answer");
        let calls = stage.cloud.calls(&stage.account, 0).await.expect("the calls");
        permissions::none_was_missing(&calls);
        permissions::none_is_idle(&calls, |role| role.starts_with("RestoreDrill"));
        stage.end().await;
    });
}

/// A snapshot of before, dumps on both sides.
async fn guarded(more: &[(&'static str, String)]) -> Stage {
    let stage = Stage::new(more).await;
    stage.dump().await;
    stage.snapshot(local::host::now().trunc_subsecs(0) - TimeDelta::hours(1)).await;
    stage.dump().await;
    stage
}

#[test]
fn migrations_are_rehearsed_and_the_gate_opens_for_exactly_these() {
    run(async {
        let stage = guarded(&[]).await;
        let put = |name: &str, sql: &str| {
            let (key, bytes) = (format!("migrations/{name}"), sql.as_bytes().to_vec());
            let store = stage.store.clone();
            async move { store.put(&key, bytes, "application/sql").await.expect("store a migration") }
        };
        put("good/001_status.sql", "ALTER TABLE orders ADD COLUMN status text;\n").await;
        put("good/002_index.sql", "CREATE INDEX CONCURRENTLY orders_name ON orders (name);\n").await;
        put("bad/001_broken.sql", "ALTER TABLE orders ALTER COLUMN name TYPE int USING name::int;\n").await;
        put("gone/001_drop.sql", "DROP TABLE items;\n").await;
        let machine = stage.output("DeployGateMachineArn").to_owned();
        let sfn = aws_sdk_sfn::Client::new(&stage.cloud.sdk_config(&stage.account));
        let mut ends = Vec::new();
        for folder in ["good", "bad", "gone"] {
            let input = json!({
                "requestId": format!("build-{folder}"), "release": "1.4.2", "gitSha": "0badcafe",
                "migrations": {"prefix": format!("migrations/{folder}/"), "database": "app"},
            });
            let started = sfn.start_execution().state_machine_arn(&machine).name(folder).input(input.to_string()).send().await.expect("start");
            let ended = stage.cloud.wait_for_execution(&stage.account, &started.execution_arn, PATIENCE).await.expect("an end");
            ends.push((folder, ended.status.clone(), ended.error.clone().unwrap_or_default(), ended.value()));
        }
        let [good, bad, gone] = <[_; 3]>::try_from(ends).expect("three");
        assert_eq!((good.1.as_str(), good.3["mayDeploy"].as_bool()), ("SUCCEEDED", Some(true)), "{good:#?}");
        assert_eq!((bad.1.as_str(), bad.2.as_str()), ("FAILED", "MustNotDeploy"), "{bad:#?}");
        // What destroys passes with a fresh snapshot, which the gate has just taken.
        assert_eq!((gone.1.as_str(), gone.3["mayDeploy"].as_bool()), ("SUCCEEDED", Some(true)), "{gone:#?}");

        // The same drill, but other files, or no snapshot: no.
        let drill = good.3["drill"].clone();
        let gate = |drill: &serde_json::Value| json!({"kind": "gate", "drill": drill});
        put("good/003_more.sql", "SELECT 1;\n").await;
        let answer = stage.ask("RestoreDrillFunctionName", &gate(&drill)).await.expect("an answer");
        assert!(answer["mayDeploy"] == false && answer["reasons"].to_string().contains("other files"), "{answer:#}");
        let answer = stage.ask("RestoreDrillFunctionName", &gate(&gone.3["drill"])).await.expect("an answer");
        assert!(answer["mayDeploy"] == false && answer["reasons"].to_string().contains("no snapshot"), "{answer:#}");
        let page = stage.store.get(&format!("drills/{}/{PAGE}", drill.as_str().expect("an id"))).await.expect("read").expect("a page");
        assert!(String::from_utf8(page).expect("text").contains("001_status.sql"));
        assert_eq!((stage.others().await, stage.secrets().await), (Vec::<String>::new(), Vec::new()));
        permissions::none_was_missing(&stage.cloud.calls(&stage.account, 0).await.expect("the calls"));
        stage.end().await;
    });
}

#[test]
fn a_real_restore_of_a_point_in_time_stays_as_production_is() {
    run(async {
        let stage = Stage::new(&[]).await;
        stage.dump().await;
        stage.cloud.archive_now(&stage.account, REGION, &stage.instance.id).await.expect("archive WAL");
        let before = local::host::now();
        stage.sql("DELETE FROM items; DELETE FROM orders").await;
        stage.cloud.archive_now(&stage.account, REGION, &stage.instance.id).await.expect("archive WAL");
        let request = json!({"kind": "drill", "source": {"pointInTime": before}, "keep": true});
        let (drill, ended, result) = stage.play(&request).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        assert_eq!(ended.status, "SUCCEEDED", "{result:#?}");
        assert_eq!(result.databases[0].rows, 50_000, "{result:#?}");
        let kept = stage.others().await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        let rds = aws_sdk_rds::Client::new(&stage.cloud.sdk_config(&stage.account));
        stage.cloud.wait_for_instance(&stage.account, REGION, &kept[0]).await.expect("available");
        let shown = rds.describe_db_instances().db_instance_identifier(&kept[0]).send().await.expect("describe");
        let shown = &shown.db_instances()[0];
        assert!(shown.deletion_protection() == Some(true) && shown.backup_retention_period().is_some_and(|days| days > 0), "{shown:#?}");
        assert!(stage.secrets().await.is_empty());
        // The application may log in again, with its own password.
        let restored = stage.cloud.wait_for_instance(&stage.account, REGION, &kept[0]).await.expect("available");
        let url = with_user(&with_database(&restored.admin_url, "app").expect("a URL"), "application", "never-to-be-printed").expect("a URL");
        database::connect(&restored, &url).await.expect("the application logs in");
        // No role of the stack may remove it, and the sweeper knows it is none of its business.
        let sweep = json!({"kind": "sweep", "scheduledAt": before + TimeDelta::days(30)});
        stage.ask("RestoreDrillFunctionName", &sweep).await.expect("an answer");
        assert_eq!(stage.others().await, kept);
        let role = stage.cloud.role_config(&stage.account, &stage.role("RestoreDrillRole").await).await.expect("the role");
        for id in [&kept[0], &stage.instance.id] {
            let call = aws_sdk_rds::Client::new(&role).delete_db_instance().db_instance_identifier(id).skip_final_snapshot(true);
            let refused = call.send().await.expect_err("must be denied");
            assert!(shared::aws::failure(refused).to_string().contains("AccessDenied"), "{id}");
        }
        stage.end().await;
    });
}

#[test]
fn an_archive_goes_to_an_existing_server_and_leaves_nothing_there() {
    run(async {
        let name = "/test/server-url";
        let stage = Stage::new(&[("DrillServerUrlParameter", name.to_owned())]).await;
        let server = stage.cloud.create_instance(&stage.account, "test-server", 17).await.expect("create a server");
        stage.cloud.put_secret(&stage.account, name, &with_database(&server.master_url, "postgres").expect("a URL")).await.expect("store the URL");
        stage.dump().await;
        let (drill, ended, result) = stage.play(&json!({"kind": "drill", "source": {"latest": "archive"}})).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        assert_eq!((ended.status.as_str(), result.outcome), ("SUCCEEDED", Outcome::Ok), "{result:#?}");
        assert_eq!(result.databases[0].rows, 50_000);
        let mut connection = database::connect(&server, &server.admin_url).await.expect("connect");
        let left = "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'lifeboat%'";
        let left: Option<String> = sqlx::query_scalar(left).fetch_one(&mut connection).await.expect("list");
        assert_eq!(left, None);
        // Databases of a drill that nobody knows, and that is old, are swept; others are not.
        database::run(&mut connection, "CREATE DATABASE lifeboat_drill_mine").await.expect("make one");
        let mut master = database::connect(&server, &server.master_url).await.expect("connect");
        for id in ["20200101t000000z-0badcafe_1", "20991231t000000z-0badcafe_1"] {
            database::run(&mut master, &format!("CREATE DATABASE \"lifeboat_drill_{id}\"")).await.expect("make one");
        }
        let swept = stage.ask("RestoreDrillDatabaseFunctionName", &json!({"kind": "sweepDatabases"})).await.expect("an answer");
        assert_eq!(swept["findings"].as_array().map(Vec::len), Some(1), "{swept:#}");
        let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'lifeboat%'";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&mut connection).await.expect("count");
        assert_eq!(left, 2);
        stage.end().await;
    });
}

#[test]
fn what_cannot_be_restored_is_said_before_anything_is_made() {
    run(async {
        let stage = Stage::new(&[]).await;
        for (request, word) in [
            (json!({"kind": "drill", "source": {"latest": "snapshot"}}), "no snapshot"),
            (json!({"kind": "drill", "source": {"latest": "archive"}}), "no archive"),
            (json!({"kind": "drill", "source": {"latest": "copy"}}), "makes no copies"),
            (json!({"kind": "drill", "source": {"snapshot": "nowhere"}}), "no snapshot nowhere"),
            (json!({"kind": "drill", "source": {"archive": "dumps/other/app/x/"}}), "is no archive of app-db"),
            (json!({"kind": "drill", "source": {"pointInTime": "yesterday"}}), "is no time"),
            (json!({"kind": "drill", "source": {"pointInTime": "2999-01-01T00:00:00Z"}}), "latest restorable time"),
            (json!({"kind": "drill", "source": {"latest": "snapshot"}, "target": "server"}), "no snapshot"),
            (json!({"kind": "status", "drill": "20200101t000000z-0badcafe"}), "there is no drill"),
            (json!({"kind": "work", "drill": "20200101t000000z-0badcafe"}), "there is no drill"),
        ] {
            let error = stage.ask("RestoreDrillFunctionName", &request).await.expect_err("must be refused");
            let hint = error["errorMessage"].as_str().unwrap_or_default();
            assert!(hint.contains(word), "{request}: {error:#}");
        }
        assert_eq!(stage.others().await, Vec::<String>::new());
        stage.end().await;
    });
}

#[test]
fn a_copy_in_another_region_is_drilled_there() {
    run(async {
        let mut stage = Stage::new(&[]).await;
        let there = aws_sdk_rds::Client::new(&stage.cloud.sdk_config_in(&stage.account, OTHER_REGION));
        let network = stage.cloud.network_in(&stage.account, OTHER_REGION).await.expect("a network");
        let subnets = there.create_db_subnet_group().db_subnet_group_name("drills").db_subnet_group_description("drills");
        subnets.set_subnet_ids(Some(network.subnet_ids)).send().await.expect("make a subnet group");
        let group = there.create_db_parameter_group().db_parameter_group_name("drills").db_parameter_group_family("postgres17").description("drills");
        group.send().await.expect("make a parameter group");
        let quiet = aws_sdk_rds::types::Parameter::builder()
            .parameter_name("max_logical_replication_workers")
            .parameter_value("0")
            .apply_method(aws_sdk_rds::types::ApplyMethod::PendingReboot);
        let set = there.modify_db_parameter_group().db_parameter_group_name("drills").parameters(quiet.build());
        set.send().await.expect("set a parameter");
        let own_key = stage.cloud.database_key(&stage.account, REGION).await.expect("a key");
        let key = stage.cloud.database_key(&stage.account, OTHER_REGION).await.expect("a key");
        stage
            .redeploy(vec![
                ("InstanceKeyArn", own_key),
                ("CopyRegion", OTHER_REGION.to_owned()),
                ("CopyKeyArn", key),
                ("DrillCopySubnetGroup", "drills".to_owned()),
                ("DrillCopySecurityGroup", network.security_group_id),
                ("DrillCopyParameterGroup", "drills".to_owned()),
            ])
            .await;
        stage.dump().await;
        let id = stage.snapshot(local::host::now().trunc_subsecs(0) - TimeDelta::hours(1)).await;
        stage.ask("SnapshotFunctionName", &json!({"kind": "reconcile"})).await.expect("copy it");
        stage.cloud.wait_for_snapshot(&stage.account, OTHER_REGION, &id).await.expect("a copy");
        stage.dump().await;
        let (drill, ended, result) = stage.play(&json!({"kind": "drill", "source": {"latest": "copy"}})).await;
        let result = result.unwrap_or_else(|| panic!("{drill}: {ended:#?}"));
        assert_eq!((ended.status.as_str(), result.outcome, result.databases[0].rows), ("SUCCEEDED", Outcome::Ok, 50_000), "{result:#?}");
        let calls = stage.cloud.calls(&stage.account, 0).await.expect("the calls");
        permissions::none_was_missing(&calls);
        let restored = calls.iter().find(|call| call.action == "rds:RestoreDBInstanceFromDBSnapshot").expect("a restore");
        assert!(restored.resource.contains(OTHER_REGION), "{restored:#?}");
        assert_eq!((stage.others().await, stage.secrets().await), (Vec::<String>::new(), Vec::new()));
        stage.end().await;
    });
}
