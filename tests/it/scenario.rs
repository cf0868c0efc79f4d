//! The whole line, as it runs for a user: the real template, deployed with IAM enforced, wakes the dump on its schedule; the manifest wakes the check; a message
//! arrives in Slack. Every call that a function makes is allowed by its own role.

use std::time::Duration;

use local::cloud::Call;
use local::database::{self, identifier, literal, with_database, with_user};
use local::{Cloud, Deployed, Instance, slack};
use serde_json::json;
use shared::finding::FindingKind;
use shared::report::{Outcome, Report};
use shared::store::Store;
use tests::world::{run, unique, world};

use crate::permissions;

const PATIENCE: Duration = Duration::from_secs(90);

/// A deployed stack that guards a database of its own, through a least-privilege role.
struct Stack {
    cloud: &'static Cloud,
    account: String,
    deployed: Deployed,
    instance: Instance,
    database: String,
    role: String,
    slack: slack::Slack,
    store: Store,
}

impl Stack {
    async fn deploy() -> Self {
        let world = world().await;
        let (instance, number) = (world.server(17).await, unique());
        let (account, database, role) = (format!("3{number:011}"), format!("line_{number}"), format!("backup_{number}"));
        database::create(&instance, &database).await.expect("create");
        let sql = format!(
            "CREATE ROLE {role} LOGIN PASSWORD {password}; GRANT pg_read_all_data TO {role};
             CREATE TABLE customers AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 100000) n; ALTER TABLE customers ADD PRIMARY KEY (id)",
            role = identifier(&role),
            password = literal("never-to-be-printed"),
        );
        database::run_as_admin(&instance, &database, &sql).await.expect("fill");
        let slack = slack::Slack::start(&slack::Options::default()).await.expect("start Slack");
        let cloud = &world.cloud;
        let url = with_user(&with_database(&instance.master_url, &database).expect("a URL"), &role, "never-to-be-printed").expect("a URL");
        cloud.put_secret(&account, "/lifeboat/dev/database-url", &url).await.expect("store the URL");
        cloud.put_secret(&account, "/lifeboat/dev/slack", &slack.token).await.expect("store the token");
        let parameters = [("Databases", database.clone()), ("SlackApiUrl", slack.api_url.clone()), ("SlackChannel", "C0OPS".to_owned())];
        let deployed = cloud.deploy_lifeboat(&account, "lifeboat-dev", "dev", &instance, &parameters).await.expect("deploy");
        let bucket = deployed.output("BackupBucketName").expect("an output").to_owned();
        let store = Store::new(aws_sdk_s3::Client::new(&cloud.sdk_config(&account)), bucket);
        Self { cloud, account, deployed, instance, database, role, slack, store }
    }

    /// The report of a job that fits, as soon as it is in the bucket.
    async fn report(&self, job: &str, fits: impl Fn(&Report) -> bool) -> Report {
        let bucket =
            local::bucket::Bucket { client: aws_sdk_s3::Client::new(&self.cloud.sdk_config(&self.account)), name: self.store.bucket.clone() };
        bucket.wait_for_report(job, PATIENCE, fits).await.unwrap_or_else(|failure| panic!("{job}: {failure}"))
    }

    async fn fire(&self, output: &str) {
        self.cloud.fire(&self.account, self.deployed.output(output).expect("an output"), None).await.expect("fire");
    }

    async fn calls(&self) -> Vec<Call> {
        self.cloud.calls(&self.account, 0).await.expect("the calls")
    }

    async fn end(self) {
        self.cloud.drop_account(&self.account).await.expect("drop the account");
        database::drop(&self.instance, &self.database).await.expect("drop");
        database::run_as_admin(&self.instance, "postgres", &format!("DROP ROLE {}", identifier(&self.role))).await.expect("drop the role");
    }
}

#[test]
fn a_schedule_makes_a_backup_that_is_proved_and_told() {
    run(async {
        let stack = Stack::deploy().await;
        stack.fire("DumpScheduleName").await;
        let dump = stack.report("logical-dump", |_| true).await;
        assert_eq!(dump.outcome, Outcome::Ok, "{dump:#?}");
        assert_eq!(dump.fact("rows"), Some(100_000.0));
        // The manifest woke this one.
        let proof = stack.report("backup-verify", |report| report.fact("rowsCounted") == Some(100_000.0)).await;
        assert_eq!(proof.outcome, Outcome::Ok, "{proof:#?}");
        stack.fire("VerifyScheduleName").await;
        let daily = stack.report("backup-verify", |report| report.id != proof.id && report.fact("databases") == Some(1.0)).await;
        assert_eq!(daily.outcome, Outcome::Ok, "{daily:#?}");
        for job in ["logical-dump", "backup-verify"] {
            let message = stack.slack.wait_for(PATIENCE, |message| message.body.to_string().contains(job)).await.expect("a message");
            assert!(message.body.to_string().contains(&stack.instance.id), "{message:?}");
        }
        permissions::none_was_missing(&stack.calls().await);
        stack.end().await;
    });
}

#[test]
fn a_call_that_the_role_forbids_names_the_action() {
    run(async {
        let stack = Stack::deploy().await;
        let policies = aws_sdk_s3::Client::new(&stack.cloud.sdk_config(&stack.account));
        let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{}/dumps/*", stack.store.bucket)}]});
        policies.put_bucket_policy().bucket(&stack.store.bucket).policy(deny.to_string()).send().await.expect("put the policy");
        stack.fire("DumpScheduleName").await;
        let report = stack.report("logical-dump", |_| true).await;
        let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::RunFailed).expect("it failed");
        assert!(finding.seen.contains("s3:PutObject") && finding.seen.contains("Denied"), "{finding:?}");
        assert!(finding.hint.as_deref().is_some_and(|hint| hint.contains("role")), "{finding:?}");
        assert!(!serde_json::to_string(&report).expect("text").contains("never-to-be-printed"), "the password was told");
        stack.end().await;
    });
}
