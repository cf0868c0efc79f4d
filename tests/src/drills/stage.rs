//! A stack with a network of its own, in an account of its own, that guards an instance: what drills are played on.

use std::time::Duration;

use crate::world::{unique, world};
use aws_sdk_lambda::primitives::Blob;
use chrono::{DateTime, Utc};
use local::cloud::REGION;
use local::database::{self, literal, with_database, with_user};
use local::execution::Execution;
use local::{Cloud, Deployed, Instance, slack};
use restore_drill::identity::DrillId;
use restore_drill::result::DrillResult;
use restore_drill::step::Milestone;
use serde_json::{Value, json};
use shared::store::Store;

pub const DATABASE: &str = "app";
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A stack that guards an instance.
pub struct Stage {
    pub cloud: &'static Cloud,
    pub account: String,
    pub instance: Instance,
    pub slack: slack::Slack,
    pub deployed: Deployed,
    pub store: Store,
    parameters: Vec<(&'static str, String)>,
}

impl Stage {
    /// A stack with further parameters.
    pub async fn new(more: &[(&'static str, String)]) -> Self {
        Self::new_with(|_| more.to_vec()).await
    }

    /// A stack with further parameters, which may name its account.
    pub async fn new_with(more: impl FnOnce(&str) -> Vec<(&'static str, String)>) -> Self {
        Self::of_major(17, more).await
    }

    /// The same, whose instance is of a major.
    pub async fn of_major(major: u32, more: impl FnOnce(&str) -> Vec<(&'static str, String)>) -> Self {
        let (cloud, number) = (&world().await.cloud, unique());
        let account = format!("6{number:011}");
        let instance = cloud.create_instance(&account, "app-db", major).await.expect("create the instance");
        fill(cloud, &account, &instance).await;
        let slack = slack::Slack::start(&slack::Options::default()).await.expect("start Slack");
        cloud.put_secret(&account, "/lifeboat/dev/slack", &slack.token).await.expect("store the token");
        let network = cloud.network(&account).await.expect("a network");
        let mut parameters = vec![
            ("Databases", DATABASE.to_owned()),
            ("SlackApiUrl", slack.api_url.clone()),
            ("SlackChannel", "C0OPS".to_owned()),
            ("VpcId", network.vpc_id),
            ("VpcSubnetIds", network.subnet_ids.join(",")),
            ("VpcSecurityGroupIds", network.security_group_id),
        ];
        parameters.extend(more(&account));
        let deployed = cloud.deploy_lifeboat(&account, "lifeboat-dev", "dev", &instance, &parameters).await.expect("deploy the stack");
        let bucket = deployed.output("BackupBucketName").expect("a bucket").to_owned();
        let store = Store::new(aws_sdk_s3::Client::new(&cloud.sdk_config(&account)), bucket);
        Self { cloud, account, instance, slack, deployed, store, parameters }
    }

    /// Deploys again, with more.
    pub async fn redeploy(&mut self, more: Vec<(&'static str, String)>) {
        self.parameters.extend(more);
        let deployed = self.cloud.deploy_lifeboat(&self.account, "lifeboat-dev", "dev", &self.instance, &self.parameters).await;
        self.deployed = deployed.expect("deploy the stack again");
    }

    pub fn output(&self, name: &str) -> &str {
        self.deployed.output(name).expect("an output")
    }

    /// Invokes a function as an operator does, and gives its answer, or its error.
    pub async fn ask(&self, function: &str, request: &Value) -> Result<Value, Value> {
        let lambda = aws_sdk_lambda::Client::new(&self.cloud.sdk_config(&self.account));
        let call = lambda.invoke().function_name(self.output(function)).payload(Blob::new(request.to_string()));
        let answer = call.send().await.expect("invoke");
        let value = serde_json::from_slice(answer.payload().expect("an answer").as_ref()).expect("JSON");
        if answer.function_error().is_some() { Err(value) } else { Ok(value) }
    }

    pub async fn dump(&self) {
        let answer = self.ask("LogicalDumpFunctionName", &json!({"kind": "dump"})).await.expect("dump");
        assert_eq!(answer["outcome"], "ok", "{answer:#}");
    }

    /// A daily snapshot that is available; its id.
    pub async fn snapshot(&self, slot: DateTime<Utc>) -> String {
        self.ask("SnapshotFunctionName", &json!({"kind": "daily", "scheduledAt": slot})).await.expect("take a snapshot");
        let id = format!("lifeboat-dev-app-db-{}", slot.format("daily-%Y%m%dt%H%M%Sz"));
        self.cloud.wait_for_snapshot(&self.account, REGION, &id).await.expect("available");
        id
    }

    pub async fn sql(&self, sql: &str) {
        database::run_as_admin(&self.instance, DATABASE, sql).await.expect("run SQL");
    }

    /// Begins a drill; its id and execution.
    pub async fn begin(&self, request: &Value) -> (DrillId, String) {
        let answer = self.ask("RestoreDrillFunctionName", request).await.unwrap_or_else(|error| panic!("{error:#}"));
        let drill = answer["drill"].as_str().expect("an id").parse().expect("an id");
        (drill, answer["execution"].as_str().expect("an execution").to_owned())
    }

    /// Plays a drill to its end.
    pub async fn play(&self, request: &Value) -> (DrillId, Execution, Option<DrillResult>) {
        let (drill, execution) = self.begin(request).await;
        let ended = self.cloud.wait_for_execution(&self.account, &execution, PATIENCE).await.expect("an end");
        (drill.clone(), ended, self.result(&drill).await)
    }

    pub async fn result(&self, drill: &DrillId) -> Option<DrillResult> {
        let bytes = self.store.get(&drill.key(Milestone::Judged.object())).await.expect("read")?;
        Some(serde_json::from_slice(&bytes).expect("a result"))
    }

    /// Instances of the account, but for the guarded one.
    pub async fn others(&self) -> Vec<String> {
        self.cloud.scratch_instances(&self.account, &self.instance.id).await.expect("list instances")
    }

    /// Parameters that drills made.
    pub async fn secrets(&self) -> Vec<String> {
        let ssm = aws_sdk_ssm::Client::new(&self.cloud.sdk_config(&self.account));
        let answer = ssm.get_parameters_by_path().path("/lifeboat/dev/drills/").recursive(true).send().await.expect("list");
        answer.parameters().iter().filter_map(|parameter| parameter.name().map(str::to_owned)).collect()
    }

    /// The ARN of a role of the stack, from the calls that were made with it.
    pub async fn role(&self, logical_id: &str) -> String {
        let calls = self.cloud.calls(&self.account, 0).await.expect("the calls");
        let principal = calls.iter().map(|call| call.principal.clone()).find(|principal| principal.contains(logical_id)).expect("a call of the role");
        let name = principal.rsplit('/').find(|part| part.contains(logical_id)).expect("a name").to_owned();
        format!("arn:aws:iam::{}:role/{name}", self.account)
    }

    pub async fn end(self) {
        self.cloud.drop_account(&self.account).await.expect("drop the account");
    }
}

async fn fill(cloud: &Cloud, account: &str, instance: &Instance) {
    database::create(instance, DATABASE).await.expect("create the database");
    // The master user makes the roles, as on RDS: so it may lock them.
    let roles = format!(
        "CREATE ROLE backup LOGIN PASSWORD {password}; GRANT pg_read_all_data TO backup; CREATE ROLE application LOGIN PASSWORD {password}",
        password = literal("never-to-be-printed"),
    );
    let mut connection = database::connect(instance, &instance.master_url).await.expect("connect");
    database::run(&mut connection, &roles).await.expect("make the roles");
    let sql = "CREATE TABLE orders (id int PRIMARY KEY, name text NOT NULL, placed_at timestamptz NOT NULL DEFAULT now());
         INSERT INTO orders (id, name) SELECT n, md5(n::text) FROM generate_series(1, 20000) n;
         CREATE TABLE items (id bigserial PRIMARY KEY, order_id int NOT NULL REFERENCES orders, amount numeric(10, 2));
         INSERT INTO items (order_id, amount) SELECT 1 + n % 20000, n::numeric / 7 FROM generate_series(1, 30000) n;
         CREATE INDEX ON items (order_id); CREATE TABLE empty (id int)";
    let owner = with_database(&instance.master_url, DATABASE).expect("a URL");
    let mut connection = database::connect(instance, &owner).await.expect("connect");
    database::run(&mut connection, sql).await.expect("fill");
    let url = with_user(&with_database(&instance.master_url, DATABASE).expect("a URL"), "backup", "never-to-be-printed").expect("a URL");
    cloud.put_secret(account, "/lifeboat/dev/database-url", &url).await.expect("store the URL");
}
