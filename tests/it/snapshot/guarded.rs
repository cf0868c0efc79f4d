//! An instance in an account of its own, what is needed to copy its snapshots elsewhere, and `snapshot` run on it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbSnapshot, Tag};
use local::cloud::{OTHER_REGION, REGION};
use local::database;
use local::{Instance, Outcome, Runner};
use serde_json::{Value, json};
use shared::finding::FindingKind;
use shared::report::Report;
use sqlx::Connection as _;
use tests::bed::{Bed, GUARDED};
use tests::world::unique;

pub(crate) const LIMIT: Duration = Duration::from_secs(100);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// The tests' day: slots of theirs are on it.
pub(crate) const DAY: &str = "2026-11-23";

/// An account with the guarded instance, and another account.
pub(crate) struct Guarded {
    pub(crate) bed: Bed,
    pub(crate) instance: Instance,
    pub(crate) other_account: String,
    /// Settings of the function, beside those of every function.
    settings: Vec<(String, String)>,
}

/// Where copies go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    No,
    Region,
    Account,
    Both,
}

impl Guarded {
    pub(crate) async fn new(copies: Copies) -> Self {
        let bed = Bed::new().await;
        let instance = bed.world.cloud.create_instance(&bed.account, GUARDED, 17).await.expect("create the instance");
        let mut guarded = Self { bed, instance, other_account: format!("3{:011}", unique()), settings: Vec::new() };
        if matches!(copies, Copies::Region | Copies::Both) {
            let key = guarded.key(&guarded.bed.account, OTHER_REGION).await;
            guarded.set("COPY_REGION", OTHER_REGION);
            guarded.set("COPY_KEY_ARN", &key);
        }
        if matches!(copies, Copies::Account | Copies::Both) {
            let region = if copies == Copies::Both { OTHER_REGION } else { REGION };
            let key = guarded.key(&guarded.other_account, region).await;
            guarded.set("COPY_ACCOUNT_KEY_ARN", &key);
            guarded.set("COPY_ACCOUNT_ROLE_ARN", &guarded.role().await);
            guarded.let_both_use_the_instances_key().await;
        }
        guarded
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).expect("a setting")
    }

    fn policy(&self) -> String {
        let principals = [&self.bed.account, &self.other_account].map(|account| format!("arn:aws:iam::{account}:root"));
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "kms:*", "Resource": "*"});
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    }

    /// A key that both accounts may use.
    async fn key(&self, account: &str, region: &str) -> String {
        let kms = aws_sdk_kms::Client::new(&self.bed.world.cloud.sdk_config_in(account, region));
        let made = kms.create_key().policy(self.policy()).send().await.expect("create a key");
        made.key_metadata.and_then(|key| key.arn).expect("a key has an ARN")
    }

    async fn let_both_use_the_instances_key(&self) {
        let key = self.bed.world.cloud.database_key(&self.bed.account, REGION).await.expect("the instance's key");
        let kms = aws_sdk_kms::Client::new(&self.bed.config);
        kms.put_key_policy().key_id(key).policy_name("default").policy(self.policy()).send().await.expect("set the key's policy");
    }

    /// The other account's role that makes the copies.
    async fn role(&self) -> String {
        let trust = json!({"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{}:root", self.bed.account)}, "Action": "sts:AssumeRole"});
        let actions = ["rds:CopyDBSnapshot", "rds:AddTagsToResource", "rds:DescribeDBSnapshots", "rds:DescribeAccountAttributes", "kms:*"];
        let may = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let document = |statement: Value| json!({"Version": "2012-10-17", "Statement": [statement]});
        let template = json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
                "RoleName": "lifeboat-copy",
                "AssumeRolePolicyDocument": document(trust),
                "Policies": [{"PolicyName": "copy", "PolicyDocument": document(may)}],
            }}},
            "Outputs": {"Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}}},
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("role.json");
        std::fs::write(&file, template.to_string()).expect("write the template");
        let deployed = self.bed.world.cloud.deploy(&self.other_account, "vault", &file, &json!({})).await.expect("deploy the role");
        deployed.output("Role").expect("the role's ARN").to_owned()
    }

    // ------------------------------------------------------------------------------------------------------------------------------------
    // The function
    // ------------------------------------------------------------------------------------------------------------------------------------

    pub(crate) fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let settings: Vec<(&str, &str)> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.bed.environment(&self.instance, &[&settings[..], more].concat())
    }

    pub(crate) async fn runner(&self, more: &[(&str, &str)]) -> Runner {
        Runner::start(&self.bed.world.function("snapshot"), &self.environment(more)).await.expect("start snapshot")
    }

    pub(crate) async fn ask(&self, request: &Value) -> Value {
        match self.runner(&[]).await.invoke(request, LIMIT).await {
            Outcome::Ok(value) => value,
            other => panic!("{request}: {other:?}"),
        }
    }

    /// A run whose answer is its report.
    pub(crate) async fn report(&self, request: &Value) -> Report {
        serde_json::from_value(self.ask(request).await).expect("a report")
    }

    /// Reconciles until the steps come to an end; the steps of each run.
    pub(crate) async fn settle(&self, now: &str) -> Report {
        let runner = self.runner(&[]).await;
        let request = json!({"kind": "reconcile", "scheduledAt": now});
        for _ in 0..60 {
            self.rest().await;
            let report = match runner.invoke(&request, LIMIT).await {
                Outcome::Ok(value) => serde_json::from_value::<Report>(value).expect("a report"),
                other => panic!("{other:?}"),
            };
            if report.fact("stepsTaken") == Some(0.0) && self.is_at_rest().await {
                return report;
            }
        }
        panic!("it does not come to an end");
    }

    // ------------------------------------------------------------------------------------------------------------------------------------
    // What is there
    // ------------------------------------------------------------------------------------------------------------------------------------

    pub(crate) fn rds(&self) -> Client {
        Client::new(&self.bed.config)
    }

    pub(crate) fn rds_in(&self, account: &str, region: &str) -> Client {
        Client::new(&self.bed.world.cloud.sdk_config_in(account, region))
    }

    /// Home, the other region, and the other account in both.
    fn places(&self) -> [Client; 4] {
        let account = &self.bed.account;
        [(account, REGION), (account, OTHER_REGION), (&self.other_account, REGION), (&self.other_account, OTHER_REGION)]
            .map(|(account, region)| self.rds_in(account, region))
    }

    pub(crate) async fn snapshots(&self) -> Vec<DbSnapshot> {
        listed(&self.rds()).await
    }

    /// `id status` of all snapshots at home.
    pub(crate) async fn home(&self) -> Vec<String> {
        words(&self.snapshots().await)
    }

    async fn is_at_rest(&self) -> bool {
        for rds in self.places() {
            if listed(&rds).await.iter().any(|snapshot| snapshot.status() == Some("creating")) {
                return false;
            }
        }
        true
    }

    /// Waits until nothing is being made anywhere. What is held stays as it is, so there is an end.
    pub(crate) async fn rest(&self) {
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        let _ = tokio::time::timeout(Duration::from_secs(30), async {
            while !self.is_at_rest().await {
                looks.tick().await;
            }
        })
        .await;
    }

    pub(crate) async fn set_rds(&self, settings: &Value) {
        self.bed.world.cloud.set_rds(&self.bed.account, REGION, settings).await.expect("set RDS");
    }

    // ------------------------------------------------------------------------------------------------------------------------------------
    // What is in it
    // ------------------------------------------------------------------------------------------------------------------------------------

    pub(crate) async fn write(&self, rows: &str) {
        let sql =
            format!("CREATE TABLE IF NOT EXISTS ledger (n int, t text); INSERT INTO ledger SELECT n, md5(n::text) FROM generate_series({rows}) n");
        database::run_as_admin(&self.instance, "postgres", &sql).await.expect("write rows");
    }

    /// The rows of the ledger, and a digest of them.
    pub(crate) async fn content(&self) -> String {
        content(&self.instance).await
    }

    /// Restores a snapshot where it is, and gives its content.
    pub(crate) async fn restored(&self, account: &str, region: &str, id: &str) -> String {
        let name = format!("restored-{}", unique());
        let call = self.rds_in(account, region).restore_db_instance_from_db_snapshot().db_instance_identifier(&name).db_snapshot_identifier(id);
        call.send().await.unwrap_or_else(|error| panic!("restore {id}: {error:?}"));
        let instance = self.bed.world.cloud.wait_for_instance(account, region, &name).await.expect("the restored instance");
        // Like RDS, it has the source's users and passwords.
        content(&instance).await
    }

    pub(crate) async fn end(self) {
        for account in [&self.other_account, &self.bed.account] {
            self.bed.world.cloud.drop_account(account).await.expect("drop the account");
        }
    }
}

async fn content(instance: &Instance) -> String {
    let mut connection = database::connect(instance, &instance.admin_url).await.expect("connect");
    let sql = "SELECT count(*) || ' rows, ' || md5(coalesce(string_agg(n || ' ' || t, ',' ORDER BY n), '')) FROM ledger";
    let content = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("read the ledger");
    connection.close().await.expect("close");
    content
}

pub(crate) async fn listed(rds: &Client) -> Vec<DbSnapshot> {
    let answer = rds.describe_db_snapshots().snapshot_type("manual").send().await.expect("list snapshots");
    let mut snapshots = answer.db_snapshots.unwrap_or_default();
    snapshots.sort_by(|a, b| a.db_snapshot_identifier().cmp(&b.db_snapshot_identifier()));
    snapshots
}

pub(crate) fn words(snapshots: &[DbSnapshot]) -> Vec<String> {
    let short = |id: &str| id.trim_start_matches("lifeboat-dev-app-db-").to_owned();
    snapshots.iter().map(|seen| format!("{} {}", short(seen.db_snapshot_identifier().unwrap_or("?")), seen.status().unwrap_or("?"))).collect()
}

pub(crate) fn tags(snapshot: &DbSnapshot) -> BTreeMap<String, String> {
    let pair = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()));
    snapshot.tag_list().iter().filter_map(pair).collect()
}

pub(crate) fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

pub(crate) fn daily(time: &str) -> Value {
    json!({"kind": "daily", "scheduledAt": format!("{DAY}T{time}Z")})
}
