//! A stack's backups to retain: an account with an instance, snapshots of any age, archives in any state, and the shipped binary.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_rds::types::Tag;
use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use local::cloud::REGION;
use local::host::now;
use local::{Instance, Outcome, Runner};
use serde_json::{Value, json};
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Lifeboat;
use shared::report::{Outcome as Verdict, Report};
use shared::snapshot::{Owner, Purpose};
use shared::verification::{self, Record};
use tests::bed::{Bed, GUARDED};

pub(super) const LIMIT: Duration = Duration::from_mins(2);
/// What others' snapshots are copied from, in a moment instead of a backup each.
const SEED: &str = "by-hand-seed";
const DATABASE: &str = "app";

/// Short policies, so that little is enough for something to be deleted.
pub(super) const POLICIES: [(&str, &str); 5] = [
    ("SNAPSHOT_RETENTION", "last=1"),
    ("PRE_DEPLOY_RETENTION", "last=1"),
    ("COPY_RETENTION", "last=1"),
    ("ARCHIVE_RETENTION", "last=1"),
    ("RETENTION_FLOOR", "1"),
];

/// An archive's data: retention reads none of it, it goes by the listing and the record of its verification.
const OBJECTS: [(&str, &[u8]); 2] = [("toc.dat", b"a table of contents"), ("3301.dat", b"rows")];

pub(super) struct Case {
    pub(super) bed: Bed,
    pub(super) instance: Instance,
    pub(super) rds: aws_sdk_rds::Client,
    started_at: DateTime<Utc>,
}

pub(super) fn owner() -> Owner {
    Owner { stage: "dev".to_owned(), instance: GUARDED.to_owned() }
}

impl Case {
    pub(super) async fn new() -> Self {
        let bed = Bed::new().await;
        let instance = bed.world.cloud.create_instance(&bed.account, GUARDED, 17).await.expect("create the guarded instance");
        let rds = aws_sdk_rds::Client::new(&bed.config);
        let case = Self { bed, instance, rds, started_at: now().trunc_subsecs(0) };
        case.rds.create_db_snapshot().db_instance_identifier(GUARDED).db_snapshot_identifier(SEED).send().await.expect("make a snapshot by hand");
        case.wait_available(REGION, SEED).await;
        case
    }

    pub(super) fn day(&self, days_ago: i64) -> DateTime<Utc> {
        self.started_at - TimeDelta::days(days_ago)
    }

    pub(super) async fn wait_available(&self, region: &str, id: &str) {
        self.bed.world.cloud.wait_for_snapshot(&self.bed.account, region, id).await.expect("it becomes available");
    }

    /// A snapshot of any name, tags and age.
    pub(super) async fn plant(&self, id: &str, tags: &[(String, String)], made: DateTime<Utc>) {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let copy = self.rds.copy_db_snapshot().source_db_snapshot_identifier(SEED).target_db_snapshot_identifier(id).set_tags(Some(tags));
        copy.send().await.expect("plant a snapshot");
        self.wait_available(REGION, id).await;
        self.made_at(REGION, id, made).await;
    }

    /// Makes a snapshot as old as it should be.
    pub(super) async fn made_at(&self, region: &str, id: &str, made: DateTime<Utc>) {
        let made = made.to_rfc3339_opts(SecondsFormat::Secs, true);
        self.bed.world.cloud.set_rds(&self.bed.account, region, &json!({"snapshot": id, "createdAt": made})).await.expect("set its age");
    }

    /// A snapshot of ours, with tags added or changed; gives its id.
    pub(super) async fn ours(&self, purpose: &Purpose, days_ago: i64, more: &[(&str, &str)]) -> String {
        let id = owner().id(purpose, 1);
        let mut tags = owner().tags(purpose, self.day(days_ago));
        tags.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.plant(&id, &tags.into_iter().collect::<Vec<_>>(), self.day(days_ago)).await;
        id
    }

    pub(super) async fn daily(&self, days_ago: i64) -> String {
        self.ours(&Purpose::Daily(self.day(days_ago)), days_ago, &[]).await
    }

    /// An archive, complete and verified to this outcome, or not verified; without a manifest if `complete` is false.
    pub(super) async fn archive(&self, days_ago: i64, complete: bool, outcome: Option<Verdict>) -> ArchiveKey {
        let slot = self.day(days_ago);
        let key = ArchiveKey { instance: GUARDED.into(), database: DATABASE.into(), slot, run_id: format!("{:08x}", slot.timestamp()) };
        for (name, bytes) in OBJECTS {
            self.put(&key.object(name), bytes.to_vec()).await;
        }
        if complete {
            self.put(&key.object(MANIFEST), b"{}".to_vec()).await;
        }
        if let Some(outcome) = outcome {
            let record = Record {
                format: verification::FORMAT,
                instance: key.instance.clone(),
                database: key.database.clone(),
                scheduled_at: slot,
                run_id: key.run_id.clone(),
                verified_at: now(),
                outcome,
                manifest_checksum: "c0ffee".into(),
                objects: OBJECTS.len() as u64,
                bytes: OBJECTS.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
                rows: 1,
                findings: Vec::new(),
                findings_left_out: 0,
                lifeboat: Lifeboat { version: "0.1.0".into(), git_sha: "abc".into() },
            };
            self.put(&record.key(&key, "1"), serde_json::to_vec(&record).expect("write the record")).await;
        }
        self.later().await;
        key
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.s3().put_object().bucket(&self.bed.store.bucket).key(key).body(ByteStream::from(bytes)).send().await.expect("store an object");
    }

    pub(super) fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::new(&self.bed.config)
    }

    /// Goes on when S3's clock, which counts seconds, has gone on: what is written next is newer than what was written before.
    async fn later(&self) {
        let probe = "probe/clock";
        let mut first = None;
        for _ in 0..5_000 {
            self.put(probe, Vec::new()).await;
            let seen = self.bed.store.list(probe).await.expect("list")[0].modified_at.trunc_subsecs(0);
            if *first.get_or_insert(seen) < seen {
                return;
            }
        }
        panic!("S3's clock stands still");
    }

    /// The function behind an endpoint, with settings changed or added.
    pub(super) async fn runner(&self, endpoint: &str, more: &[(&str, &str)]) -> Runner {
        let settings = [&POLICIES[..], &[("AWS_ENDPOINT_URL", endpoint)], more].concat();
        Runner::start(&self.bed.world.function("retention"), &self.bed.environment(&self.instance, &settings)).await.expect("start retention")
    }

    /// One run in a process of its own.
    pub(super) async fn retain(&self, request: &Value, more: &[(&str, &str)]) -> Answer {
        let outcome = self.runner(&self.bed.world.cloud.endpoint, more).await.invoke(request, LIMIT).await;
        Answer::new(outcome)
    }

    /// Everything of anybody: snapshots by id, archives by folder with the number of their objects.
    pub(super) async fn backups(&self) -> BTreeSet<String> {
        let shown = self.rds.describe_db_snapshots().snapshot_type("manual").into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let ids = shown.expect("list the snapshots").into_iter().filter_map(|snapshot| snapshot.db_snapshot_identifier);
        let mut backups: BTreeSet<String> = ids.collect();
        let listed = self.bed.store.list("dumps/").await.expect("list the archives");
        backups.extend(listed.iter().filter_map(|object| ArchiveKey::parse(&object.key).map(|(key, _)| key.prefix())));
        backups
    }
}

/// What a run answered.
pub(super) struct Answer {
    pub(super) report: Report,
    /// Action, what, why.
    pub(super) decisions: Vec<(String, String, String)>,
}

impl Answer {
    pub(super) fn new(outcome: Outcome) -> Self {
        let Outcome::Ok(value) = outcome else { panic!("the run did not succeed: {outcome:?}") };
        let text = |one: &Value, name: &str| one[name].as_str().expect("a text").to_owned();
        let decisions = value["decisions"].as_array().expect("a list of decisions").iter();
        let decisions = decisions.map(|one| (text(one, "action"), text(one, "what"), text(one, "why"))).collect();
        Self { report: serde_json::from_value(value).expect("the answer is a report"), decisions }
    }

    /// Ids and folders of what is deleted.
    pub(super) fn deleted(&self) -> BTreeSet<String> {
        let deleted = self.decisions.iter().filter(|(action, ..)| action == "delete");
        deleted.map(|(_, what, _)| what.split(' ').nth(1).expect("a name").to_owned()).collect()
    }

    /// The reason for a backup.
    pub(super) fn why(&self, name: &str) -> &str {
        let found = self.decisions.iter().find(|(_, what, _)| what.split(' ').nth(1) == Some(name));
        found.map_or_else(|| panic!("nothing is said of {name}: {:#?}", self.decisions), |(_, _, why)| why)
    }
}
