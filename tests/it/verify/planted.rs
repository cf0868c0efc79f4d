//! Backups for tests of the verification: one real dump, taken once, and planted under any database and slot of a test's own bucket; and the ways to
//! spoil one.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, TimeDelta, Utc};
use local::database;
use serde_json::json;
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::run_list::{self, RunList};
use tokio::sync::OnceCell;

use tests::bed::{Bed, GUARDED, report};
use tests::world::world;

/// A table of several slices, one without rows, large objects, a partition tree that is loaded through its root.
const SAMPLE: &str = "
    create table many (id int primary key, body text);
    insert into many select n, md5(n::text) from generate_series(1, 3000) n;
    create table none (id int);
    create type kind as enum ('a', 'b');
    create table tree (k kind, n int) partition by hash (k);
    create table leaf_0 partition of tree for values with (modulus 2, remainder 0);
    create table leaf_1 partition of tree for values with (modulus 2, remainder 1);
    insert into tree select (array['a', 'b'])[1 + n % 2]::kind, n from generate_series(1, 100) n;
    select lo_from_bytea(9001, 'large object'), lo_from_bytea(9002, '');";

/// A dump as it was stored.
#[derive(Clone)]
pub(super) struct Sample {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its objects by name, without the manifest.
    pub objects: BTreeMap<String, Vec<u8>>,
}

static SAMPLE_DUMP: OnceCell<Sample> = OnceCell::const_new();

/// The dump, made by the first who asks.
pub(super) async fn sample() -> Sample {
    SAMPLE_DUMP.get_or_init(make).await.clone()
}

async fn make() -> Sample {
    let instance = world().await.server(17).await;
    database::create(&instance, "sample").await.expect("create a database");
    let url = database::with_database(&instance.master_url, "sample").expect("a URL");
    let mut connection = database::connect(&instance, &url).await.expect("connect");
    database::run(&mut connection, SAMPLE).await.expect("fill the database");
    let bed = Bed::new().await;
    let dumped = report(bed.dump(&instance, &url, &json!({"kind": "dump", "databases": ["sample"]})).await);
    let (manifest_key, manifest) = bed.manifest(&dumped, "sample").await;
    assert!(manifest.tables.iter().any(|table| table.objects.len() > 2), "a table has several slices");
    assert_eq!(manifest.large_objects.content.rows, 2);
    let prefix = manifest_key.trim_end_matches(MANIFEST);
    let mut objects = BTreeMap::new();
    for object in &manifest.objects {
        objects.insert(object.name.clone(), bed.store.get(&format!("{prefix}{}", object.name)).await.expect("read").expect("it is there"));
    }
    Sample { manifest, objects }
}

/// A backup in a test's bucket.
pub(super) struct Planted {
    /// Where it is.
    pub key: ArchiveKey,
    /// Its manifest, as it was stored.
    pub manifest: Manifest,
}

/// A test's own bucket.
pub(super) struct Bucket {
    /// Its account.
    pub bed: Bed,
    /// The account's topic.
    pub topic_arn: String,
}

impl Bucket {
    /// An empty one.
    pub(super) async fn new() -> Self {
        let bed = Bed::new().await;
        // The account has it already; asking again gives its name.
        let topic = aws_sdk_sns::Client::new(&bed.config).create_topic().name("ops").send().await.expect("find the topic");
        Self { bed, topic_arn: topic.topic_arn.unwrap_or_default() }
    }

    /// Stores a sample as the backup of a database for a slot, and the list of its run.
    pub(super) async fn plant(&self, sample: &Sample, database: &str, slot: DateTime<Utc>) -> Planted {
        self.plant_run(slot, &[database]).await;
        self.plant_backup(sample, database, slot).await
    }

    /// Stores a sample as a backup. Its manifest is written last.
    pub(super) async fn plant_backup(&self, sample: &Sample, database: &str, slot: DateTime<Utc>) -> Planted {
        let key = ArchiveKey { instance: GUARDED.into(), database: database.into(), slot, run_id: run_id(slot) };
        let mut manifest = sample.manifest.clone();
        manifest.instance.clone_from(&key.instance);
        manifest.database.clone_from(&key.database);
        manifest.run_id.clone_from(&key.run_id);
        manifest.scheduled_at = slot;
        for object in &mut manifest.objects {
            let stored = self.bed.store.put(&key.object(&object.name), sample.objects[&object.name].clone(), "application/octet-stream").await;
            object.version_id = stored.expect("store an object").version_id;
        }
        let bytes = manifest.seal().expect("seal");
        let manifest = Manifest::open(&bytes).expect("it is sealed");
        self.bed.store.put(&key.object(MANIFEST), bytes, "application/json").await.expect("store the manifest");
        Planted { key, manifest }
    }

    /// Stores the list of a run for every database.
    pub(super) async fn plant_run(&self, slot: DateTime<Utc>, databases: &[&str]) -> String {
        let names: Vec<String> = databases.iter().map(|name| (*name).to_owned()).collect();
        let run = RunList {
            format: run_list::FORMAT,
            instance: GUARDED.into(),
            run_id: run_id(slot),
            scheduled_at: slot,
            started_at: slot + TimeDelta::seconds(2),
            seen: names.clone(),
            chosen: names,
            every_database: true,
        };
        let key = key::run_list(GUARDED, slot, &run.run_id);
        self.bed.store.put(&key, serde_json::to_vec(&run).expect("write"), "application/json").await.expect("store the list");
        key
    }

    /// Writes over an object, as only somebody may who is not the dump.
    pub(super) async fn overwrite(&self, key: &str, bytes: Vec<u8>) {
        let put = self.s3().put_object().bucket(&self.bed.store.bucket).key(key).body(ByteStream::from(bytes));
        put.send().await.expect("write over an object");
    }

    /// Deletes an object: a delete marker hides it.
    pub(super) async fn delete(&self, key: &str) {
        self.s3().delete_object().bucket(&self.bed.store.bucket).key(key).send().await.expect("delete an object");
    }

    /// Deletes every version of an object.
    pub(super) async fn delete_for_good(&self, key: &str) {
        for version in self.bed.store.list_versions(key).await.expect("list versions") {
            let delete =
                self.s3().delete_object().bucket(&self.bed.store.bucket).key(key).version_id(version.version_id.expect("the bucket has versions"));
            delete.send().await.expect("delete a version");
        }
    }

    /// An object's bytes.
    pub(super) async fn bytes(&self, key: &str) -> Vec<u8> {
        self.bed.store.get(key).await.expect("read").expect("it is there")
    }

    /// A client as root of the account.
    pub(super) fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::new(&self.bed.config)
    }
}

fn run_id(slot: DateTime<Utc>) -> String {
    format!("{:08x}", slot.timestamp())
}
