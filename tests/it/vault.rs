//! What leaves the blast radius, as it runs for a user: the real `template.yaml` and `vault.yaml`, IAM enforced, in two accounts and two regions. Snapshots
//! reach the other account by way of the other region, archives are replicated to it, retention ends in each place what no rule keeps, and the
//! last copy, restored, holds what the source held.

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_rds::Client as Rds;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local::cloud::{OTHER_REGION, REGION};
use local::database::{self, literal, with_database, with_user};
use local::{Cloud, Deployed, Instance, slack};
use serde_json::{Value, json};
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::report::{self, Outcome, Report};
use shared::store::Store;
use shared_postgres::proof;
use tests::world::{file, run, unique, world};

use crate::permissions;

const PATIENCE: Duration = Duration::from_secs(90);
const DATABASE: &str = "app";
/// Calls until everything that is under way is done; each takes a good part of a second.
const CALLS_MAX: usize = 100;

/// A stack that guards an instance of its own, with a vault in another region and one in another account.
struct Scene {
    cloud: &'static Cloud,
    account: String,
    other: String,
    instance: Instance,
    slack: slack::Slack,
    deployed: Deployed,
    far: Deployed,
    store: Store,
}

impl Scene {
    async fn build() -> Self {
        let (cloud, number) = (&world().await.cloud, unique());
        let (account, other) = (format!("4{number:011}"), format!("5{number:011}"));
        let instance = cloud.create_instance(&account, "app-db", 17).await.expect("create the instance");
        fill(cloud, &account, &instance).await;
        let slack = slack::Slack::start(&slack::Options::default()).await.expect("start Slack");
        cloud.put_secret(&account, "/lifeboat/dev/slack", &slack.token).await.expect("store the token");
        let key = cloud.database_key(&account, REGION).await.expect("the instance's key");
        let rules = ["SnapshotRetention", "CopyRetention", "ArchiveRetention"].map(|name| (name, "last=1".to_owned()));
        let mut parameters = vec![
            ("Databases", DATABASE.to_owned()),
            ("SlackApiUrl", slack.api_url.clone()),
            ("SlackChannel", "C0OPS".to_owned()),
            ("InstanceKeyArn", key),
            ("RetentionFloor", "1".to_owned()),
            ("RetentionDeletionsMax", "100".to_owned()),
        ];
        parameters.extend(rules);
        // Twice: the vaults name the stack's roles, and the stack the vaults' keys, buckets and roles.
        let deployed = cloud.deploy_lifeboat(&account, "lifeboat-dev", "dev", &instance, &parameters).await.expect("deploy the stack");
        let near = vault(cloud, &account, &account, &deployed, &[("NextAccount", &other)]).await;
        let far = vault(cloud, &other, &account, &deployed, &[("SnapshotKeyArn", near.output("VaultKeyArn").expect("a key"))]).await;
        let output = |deployed: &Deployed, name: &str| deployed.output(name).expect("an output").to_owned();
        parameters.extend([
            ("CopyRegion", OTHER_REGION.to_owned()),
            ("CopyKeyArn", output(&near, "VaultKeyArn")),
            ("CopyAccountRoleArn", output(&far, "CopyRoleArn")),
            ("CopyAccountKeyArn", output(&far, "VaultKeyArn")),
            ("CopyAccountRetentionRoleArn", output(&far, "RetentionRoleArn")),
            ("ReplicaBucketName", output(&far, "ReplicaBucketName")),
            ("ReplicaRegion", OTHER_REGION.to_owned()),
            ("ReplicaAccount", other.clone()),
            ("ReplicaKeyArn", output(&far, "VaultKeyArn")),
        ]);
        let deployed =
            cloud.deploy_lifeboat(&account, "lifeboat-dev", "dev", &instance, &parameters).await.expect("deploy the stack with its vaults");
        let store = Store::new(aws_sdk_s3::Client::new(&cloud.sdk_config(&account)), output(&deployed, "BackupBucketName"));
        Self { cloud, account, other, instance, slack, deployed, far, store }
    }

    fn output(&self, name: &str) -> &str {
        self.deployed.output(name).expect("an output")
    }

    /// Fires a schedule, and gives the report of that run.
    async fn fire(&self, schedule: &str, job: &str, at: DateTime<Utc>) -> Report {
        self.cloud.fire(&self.account, self.output(schedule), Some(at)).await.expect("fire");
        let id = report::id(job, &self.instance.id, at);
        let bucket =
            local::bucket::Bucket { client: aws_sdk_s3::Client::new(&self.cloud.sdk_config(&self.account)), name: self.store.bucket.clone() };
        bucket.wait_for_report(job, PATIENCE, |report| report.id == id).await.unwrap_or_else(|failure| panic!("{job}: {failure}"))
    }

    /// Invokes a function as an operator does, and gives its answer.
    async fn ask(&self, function: &str, request: &Value) -> Value {
        let lambda = aws_sdk_lambda::Client::new(&self.cloud.sdk_config(&self.account));
        let call = lambda.invoke().function_name(self.output(function)).payload(Blob::new(request.to_string()));
        let answer = call.send().await.expect("invoke");
        assert!(answer.function_error().is_none(), "{:?}", answer.payload());
        serde_json::from_slice(answer.payload().expect("an answer").as_ref()).expect("JSON")
    }

    fn rds(&self, account: &str, region: &str) -> Rds {
        Rds::new(&self.cloud.sdk_config_in(account, region))
    }

    /// Ids of the manual snapshots of a place that are available.
    async fn snapshots(&self, account: &str, region: &str) -> Vec<String> {
        let answer = self.rds(account, region).describe_db_snapshots().snapshot_type("manual").send().await.expect("describe");
        let there = answer.db_snapshots().iter().filter(|snapshot| snapshot.status() == Some("available"));
        let mut ids: Vec<String> = there.filter_map(|snapshot| snapshot.db_snapshot_identifier().map(str::to_owned)).collect();
        ids.sort_unstable();
        ids
    }

    /// Home, the other region, the other account.
    fn places(&self) -> [(&str, &str); 3] {
        [(&self.account, REGION), (&self.account, OTHER_REGION), (&self.other, OTHER_REGION)]
    }

    /// Reconciles until so many snapshots are in every place, and nothing is left to do.
    async fn reconcile(&self, count: usize) {
        for _ in 0..CALLS_MAX {
            let answer = self.ask("SnapshotFunctionName", &json!({"kind": "reconcile", "dryRun": true})).await;
            let report: Report = serde_json::from_value(answer.get("report").unwrap_or(&answer).clone()).expect("a report");
            assert!(report.outcome <= Outcome::Attention, "{report:#?}");
            let mut done = true;
            for (account, region) in self.places() {
                done &= self.snapshots(account, region).await.len() == count;
            }
            if done && answer["steps"].as_array().is_some_and(|steps| steps.iter().all(|step| step["action"] == "wait")) {
                return;
            }
            self.ask("SnapshotFunctionName", &json!({"kind": "reconcile"})).await;
        }
        panic!("the copies were not done in {CALLS_MAX} calls");
    }

    async fn archives(&self, store: &Store) -> Vec<ArchiveKey> {
        let listed = store.list("dumps/").await.expect("list");
        let keys = listed.iter().filter_map(|object| ArchiveKey::parse(&object.key));
        keys.filter(|(_, name)| *name == MANIFEST).map(|(archive, _)| archive).collect()
    }

    fn replica(&self) -> Store {
        let client = aws_sdk_s3::Client::new(&self.cloud.sdk_config_in(&self.other, OTHER_REGION));
        Store::new(client, self.far.output("ReplicaBucketName").expect("a bucket"))
    }

    async fn end(self) {
        for account in [&self.account, &self.other] {
            self.cloud.drop_account(account).await.expect("drop the account");
        }
    }
}

async fn fill(cloud: &Cloud, account: &str, instance: &Instance) {
    database::create(instance, DATABASE).await.expect("create the database");
    let sql = format!(
        "CREATE ROLE backup LOGIN PASSWORD {password}; GRANT pg_read_all_data TO backup;
         CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 20000) n; ALTER TABLE orders ADD PRIMARY KEY (id)",
        password = literal("never-to-be-printed"),
    );
    database::run_as_admin(instance, DATABASE, &sql).await.expect("fill");
    let url = with_user(&with_database(&instance.master_url, DATABASE).expect("a URL"), "backup", "never-to-be-printed").expect("a URL");
    cloud.put_secret(account, "/lifeboat/dev/database-url", &url).await.expect("store the URL");
}

async fn vault(cloud: &Cloud, account: &str, source: &str, stack: &Deployed, more: &[(&str, &str)]) -> Deployed {
    let mut parameters = json!({"Stage": "dev", "Instance": "app-db", "SourceAccount": source});
    for name in ["SnapshotRoleArn", "RetentionRoleArn", "BackupVerifyRoleArn"] {
        parameters[name] = stack.output(name).expect("an output").into();
    }
    for (name, value) in more {
        parameters[*name] = (*value).into();
    }
    cloud.deploy_in(account, OTHER_REGION, "lifeboat-vault", &file("vault.yaml"), &parameters).await.expect("deploy a vault")
}

#[test]
fn snapshots_and_archives_reach_another_region_and_account_and_end_there_in_their_turn() {
    run(async {
        let scene = Scene::build().await;
        let now = local::host::now().trunc_subsecs(0);
        let slots = [2, 1, 0].map(|hours| now - TimeDelta::hours(hours));
        for (count, slot) in slots.iter().enumerate() {
            let dump = scene.fire("DumpScheduleName", "logical-dump", *slot).await;
            assert_eq!(dump.outcome, Outcome::Ok, "{dump:#?}");
            let daily = scene.fire("SnapshotScheduleName", "snapshot", *slot).await;
            assert!(daily.outcome <= Outcome::Attention, "{daily:#?}");
            scene.reconcile(count + 1).await;
        }
        // A pipeline repeats its call until the snapshot is there.
        let request = json!({"kind": "preDeploy", "requestId": "build-7", "release": "1.4.2"});
        let mut answer = Value::Null;
        for _ in 0..CALLS_MAX {
            answer = scene.ask("SnapshotFunctionName", &request).await;
            if answer["status"] != "creating" {
                break;
            }
        }
        assert_eq!(answer["status"], "available", "{answer:#}");
        scene.reconcile(slots.len() + 1).await;

        // Hours later everything is looked at where it lies.
        let verify = scene.fire("VerifyScheduleName", "backup-verify", now + TimeDelta::hours(7)).await;
        assert_eq!(verify.outcome, Outcome::Ok, "{verify:#?}");
        assert!(verify.fact("replicaObjectsCompared").is_some_and(|compared| compared > 0.0), "{verify:#?}");

        // What a dry run says is what is done.
        let dry: Value = scene.ask("RetentionFunctionName", &json!({"kind": "retain", "dryRun": true})).await;
        let deletes = dry["decisions"].as_array().expect("decisions").iter().filter(|decision| decision["action"] == "delete").count();
        let retention = scene.fire("RetentionScheduleName", "retention", now + TimeDelta::hours(8)).await;
        assert!(retention.outcome <= Outcome::Attention, "{retention:#?}");
        // Two daily snapshots in each of three places, two archives in the bucket and in the replica.
        assert_eq!(deletes, 10, "{dry:#}");
        for (account, region) in scene.places() {
            let left = scene.snapshots(account, region).await;
            assert_eq!(left.len(), 2, "{account} {region}: {left:?}");
        }
        for store in [&scene.store, &scene.replica()] {
            assert_eq!(scene.archives(store).await.len(), 1, "{}", store.bucket);
        }
        the_last_copy_holds_what_the_source_held(&scene).await;
        nobody_deletes_what_is_not_ours(&scene).await;
        ages_are_watched(&scene, now).await;
        let others = ["RestoreDrill", "DeployGate", "IntegrityCheck", "Canary", "RotateSecret"];
        let is_of_another_story = |role: &str| others.iter().any(|other| role.starts_with(other));
        permissions::none_is_idle(&scene.cloud.calls(&scene.account, 0).await.expect("the calls"), |role| !is_of_another_story(role));
        scene.end().await;
    });
}

async fn the_last_copy_holds_what_the_source_held(scene: &Scene) {
    let archive = scene.archives(&scene.store).await.pop().expect("an archive");
    let manifest = Manifest::open(&scene.store.get(&archive.object(MANIFEST)).await.expect("read").expect("there is one")).expect("sound");
    let rds = scene.rds(&scene.other, OTHER_REGION);
    for id in scene.snapshots(&scene.other, OTHER_REGION).await.iter().filter(|id| id.contains("-daily-")) {
        rds.restore_db_instance_from_db_snapshot().db_instance_identifier("restored").db_snapshot_identifier(id).send().await.expect("restore");
        let restored = scene.cloud.wait_for_instance(&scene.other, OTHER_REGION, "restored").await.expect("available");
        let url = with_database(&restored.admin_url, DATABASE).expect("a URL");
        let mut connection = database::connect(&restored, &url).await.expect("connect");
        let compared = proof::compare(&mut connection, &manifest).await.expect("compare");
        assert!(compared.findings.is_empty() && compared.rows == 20_000, "{compared:#?}");
    }
}

/// IAM holds it, apart from any plan: not by another name, not without the tags, not what is tagged to be kept.
async fn nobody_deletes_what_is_not_ours(scene: &Scene) {
    let rds = scene.rds(&scene.account, REGION);
    let ours = |created_by: &str, class: &str| {
        let tag = |key: &str, value: &str| aws_sdk_rds::types::Tag::builder().key(key).value(value).build();
        vec![
            tag("lifeboat:created-by", created_by),
            tag("lifeboat:stage", "dev"),
            tag("lifeboat:instance", &scene.instance.id),
            tag("lifeboat:expiry-class", class),
        ]
    };
    let source = scene.snapshots(&scene.account, REGION).await.pop().expect("a snapshot");
    let foreign = [
        ("by-hand", ours("lifeboat", "daily")),
        ("lifeboat-dev-app-db-by-hand", ours("somebody", "daily")),
        ("lifeboat-dev-app-db-untagged", Vec::new()),
        ("lifeboat-dev-app-db-kept", ours("lifeboat", "keep")),
    ];
    for (id, tags) in &foreign {
        let copy = rds.copy_db_snapshot().source_db_snapshot_identifier(&source).target_db_snapshot_identifier(*id);
        copy.set_tags(Some(tags.clone())).send().await.expect("copy by hand");
        scene.cloud.wait_for_snapshot(&scene.account, REGION, id).await.expect("available");
    }
    for (role, may_delete_ours) in [("SnapshotRoleArn", false), ("RetentionRoleArn", true)] {
        let config = scene.cloud.role_config(&scene.account, scene.output(role)).await.expect("the role");
        let as_role = Rds::new(&config);
        for (id, _) in &foreign {
            let refused = as_role.delete_db_snapshot().db_snapshot_identifier(*id).send().await.expect_err("must be denied");
            assert!(shared::aws::failure(refused).to_string().contains("AccessDenied"), "{role} {id}");
        }
        let deleted = as_role.delete_db_snapshot().db_snapshot_identifier(&source).send().await;
        assert_eq!(deleted.is_ok(), may_delete_ours, "{role}: {deleted:?}");
    }
    let left = scene.snapshots(&scene.account, REGION).await;
    assert!(foreign.iter().all(|(id, _)| left.iter().any(|kept| kept == id)), "{left:?}");
}

/// A good measure is no alarm, and none for 31 hours is one, by itself.
async fn ages_are_watched(scene: &Scene, now: DateTime<Utc>) {
    let ages = ["daily-snapshot-age", "archive-age", "region-copy-age", "account-copy-age", "replica-age"];
    for (at, expected) in [(now + TimeDelta::minutes(10), "OK"), (now + TimeDelta::hours(40), "ALARM")] {
        let states = scene.cloud.evaluate_alarms(&scene.account, Some(at)).await.expect("evaluate");
        for name in ages {
            let state = states.get(&format!("lifeboat-dev-{name}")).map(String::as_str);
            assert_eq!(state, Some(expected), "{name} at {at}: {states:#?}");
        }
    }
    let message = scene.slack.messages();
    assert!(!message.is_empty(), "reports reach Slack");
}
