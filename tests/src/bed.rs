//! A test's own account: a bucket, a topic, a parameter; and `logical-dump` run in it, outside the cloud's Lambda, so that a test has its environment,
//! its deadline and its death in hand.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration};
use local::{Instance, Outcome, Runner};
use serde_json::Value;
use shared::key::MANIFEST;
use shared::manifest::Manifest;
use shared::report::Report;
use shared::store::Store;

use crate::world::{World, unique, world};

/// The instance that beds pretend to guard.
pub const GUARDED: &str = "app-db";
const URL_PARAMETER: &str = "/lifeboat/dev/database-url";
const LIMIT: Duration = Duration::from_mins(5);

/// A test's own account.
pub struct Bed {
    /// The cloud.
    pub world: &'static World,
    /// Its id.
    pub account: String,
    /// Its bucket.
    pub store: Store,
    /// Clients' configuration as its root.
    pub config: SdkConfig,
    topic_arn: String,
}

impl Bed {
    /// A new account.
    pub async fn new() -> Self {
        let world = world().await;
        let account = format!("2{:011}", unique());
        let config = world.cloud.sdk_config(&account);
        let s3 = aws_sdk_s3::Client::new(&config);
        let bucket = format!("backups-{account}");
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
        s3.create_bucket().bucket(&bucket).create_bucket_configuration(place).send().await.expect("create a bucket");
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(versions).send().await.expect("switch versions on");
        let topic = aws_sdk_sns::Client::new(&config).create_topic().name("ops").send().await.expect("create a topic");
        Self { world, account, store: Store::new(s3, bucket), config, topic_arn: topic.topic_arn.unwrap_or_default() }
    }

    /// Puts the database URL where the function reads it.
    pub async fn set_url(&self, instance: &Instance, url: &str) {
        let url = if instance.tls { url.to_owned() } else { format!("{url}?sslmode=disable") };
        let ssm = aws_sdk_ssm::Client::new(&self.config);
        let put = ssm.put_parameter().name(URL_PARAMETER).value(url).r#type(aws_sdk_ssm::types::ParameterType::SecureString).overwrite(true);
        put.send().await.expect("put the database URL");
    }

    /// The environment of `logical-dump` against this account, with `more` on top.
    pub fn environment(&self, instance: &Instance, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> = [
            ("AWS_ENDPOINT_URL", self.world.cloud.endpoint.as_str()),
            ("AWS_REGION", local::cloud::REGION),
            ("AWS_ACCESS_KEY_ID", &self.account),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("LIFEBOAT_STAGE", "dev"),
            ("LIFEBOAT_INSTANCE", GUARDED),
            ("LIFEBOAT_BUCKET", &self.store.bucket),
            ("LIFEBOAT_TOPIC_ARN", &self.topic_arn),
            ("DATABASE_URL_PARAMETER", URL_PARAMETER),
            ("DATABASE_CA_FILE", &instance.ca_file.display().to_string()),
            ("POSTGRES_CLIENT_FOLDER", &instance.bin_folder.display().to_string()),
            // Small tables must make several slices.
            ("SLICE_BYTES", "16384"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        // The client programs of these wheels were built without zstd.
        let gzip = [("COMPRESSION", "gzip:1")];
        let more = if matches!(instance.major, 16 | 18) { [&gzip[..], more].concat() } else { more.to_vec() };
        for (name, value) in &more {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        environment
    }

    /// Starts `logical-dump`.
    pub async fn dumper(&self, instance: &Instance, more: &[(&str, &str)]) -> Runner {
        Runner::start(&self.world.function("logical-dump"), &self.environment(instance, more)).await.expect("start logical-dump")
    }

    /// One dump of the URL's server, in a process of its own.
    pub async fn dump(&self, instance: &Instance, url: &str, request: &Value) -> Outcome {
        self.set_url(instance, url).await;
        self.dumper(instance, &[]).await.invoke(request, LIMIT).await
    }

    /// The manifest of a database's only backup that a good run names.
    pub async fn manifest(&self, report: &Report, database: &str) -> (String, Manifest) {
        let link = report.links.iter().find(|link| link.title == format!("backup of {database}")).expect("the report links the backup");
        let key = link.target.strip_prefix(&self.store.address("")).expect("the link is in the bucket").to_owned();
        let bytes = self.store.get(&key).await.expect("read the manifest").expect("there is a manifest");
        (key, Manifest::open(&bytes).expect("the manifest is sound"))
    }

    /// Keys of all manifests.
    pub async fn manifests(&self) -> Vec<String> {
        let listed = self.store.list("dumps/").await.expect("list");
        listed.into_iter().map(|object| object.key).filter(|key| key.ends_with(MANIFEST)).collect()
    }

    /// Multipart uploads that are open.
    pub async fn open_uploads(&self) -> usize {
        self.store.list_open_uploads("").await.expect("list uploads").len()
    }
}

/// The report of a run that answered.
pub fn report(outcome: Outcome) -> Report {
    match outcome {
        Outcome::Ok(value) => serde_json::from_value(value).expect("the answer is a report"),
        other => panic!("the run did not succeed: {other:?}"),
    }
}
