//! `backup-verify` against a bucket: every kind of damage is found, named, and told from every other, starting from backups that are shown clean.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use backup_verify::BackupVerify;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local::host::now;
use local::proxy::{Fault, HttpProxy, Occurrence, Rule};
use serde_json::{Value, json};
use shared::finding::{FindingKind, Severity};
use shared::key::MANIFEST;
use shared::lambda::{Handler, Run};
use shared::manifest::Manifest;
use shared::report::{Outcome, Report};
use tests::bed::GUARDED;
use tests::world::{run, unique};

mod planted;
use planted::{Bucket, Planted, Sample, sample};

/// A bucket with one good backup, four hours old.
struct Case {
    bucket: Bucket,
    sample: Sample,
    planted: Planted,
    /// The slot of the backup.
    slot: DateTime<Utc>,
}

impl Case {
    async fn clean() -> Self {
        let (bucket, sample) = (Bucket::new().await, sample().await);
        let slot = now().trunc_subsecs(0) - TimeDelta::hours(4);
        let planted = bucket.plant(&sample, "app", slot).await;
        let case = Self { bucket, sample, planted, slot };
        let report = case.verify(&json!({"kind": "verify"})).await;
        assert_eq!((report.outcome, &report.findings), (Outcome::Ok, &vec![]), "it is shown clean first: {}", report.summary);
        case
    }

    async fn invoke(&self, config: &SdkConfig, request: &Value, limit: Duration) -> Result<Report, shared::failure::Failure> {
        let bucket = self.bucket.bed.store.bucket.clone();
        let topic = self.bucket.topic_arn.clone();
        let lookup = move |name: &str| match name {
            "LIFEBOAT_STAGE" => Some("dev".to_owned()),
            "LIFEBOAT_INSTANCE" => Some(GUARDED.to_owned()),
            "LIFEBOAT_BUCKET" => Some(bucket.clone()),
            "LIFEBOAT_TOPIC_ARN" => Some(topic.clone()),
            "DATABASES" => Some("*".to_owned()),
            _ => None,
        };
        let handler = Handler::<BackupVerify>::new(&lookup, config);
        let run = Run::new(format!("request-{}", unique()), now(), limit);
        let answer = handler.invoke(request.clone(), &run, now).await?;
        Ok(serde_json::from_value(answer).expect("the answer is a report"))
    }

    async fn verify(&self, request: &Value) -> Report {
        self.invoke(&self.bucket.bed.config, request, Duration::from_mins(5)).await.expect("the job is done, whatever it finds")
    }

    /// Kinds above a note, of a run that reads everything.
    async fn kinds(&self) -> BTreeSet<FindingKind> {
        kinds(&self.verify(&json!({"kind": "verify", "deep": "all"})).await)
    }

    /// Shows that the damage is found as this kind and no other, in this object, by the daily run and by the one for this backup.
    async fn assert_found(&self, kind: FindingKind, subject: &str) {
        for request in [json!({"kind": "verify"}), json!({"kind": "verify", "manifest": self.planted.key.object(MANIFEST)})] {
            let report = self.verify(&request).await;
            assert_eq!(kinds(&report), BTreeSet::from([kind]), "{request}: {:#?}", report.findings);
            assert!(report.findings.iter().any(|finding| finding.subject == subject), "{subject} is not named: {:#?}", report.findings);
            assert_eq!(report.outcome, Outcome::of(&report.findings));
        }
    }

    /// Key of the first object whose name fits.
    fn object(&self, fits: impl Fn(&str) -> bool) -> String {
        let object = self.planted.manifest.objects.iter().find(|object| fits(&object.name)).expect("there is such an object");
        self.planted.key.object(&object.name)
    }

    /// Key of a slice of the big table.
    fn slice(&self, number: usize) -> String {
        let table = self.planted.manifest.tables.iter().find(|table| table.name == "many").expect("the big table");
        self.planted.key.object(&table.objects[number])
    }

    async fn records(&self) -> Vec<String> {
        self.bucket.bed.store.list("verifications/").await.expect("list").into_iter().map(|object| object.key).collect()
    }
}

fn kinds(report: &Report) -> BTreeSet<FindingKind> {
    report.findings.iter().filter(|finding| finding.severity > Severity::Note).map(|finding| finding.kind).collect()
}

#[test]
fn a_clean_backup_is_counted_to_the_last_row_and_recorded() {
    run(async {
        let case = Case::clean().await;
        let report = case.verify(&json!({"kind": "verify"})).await;
        let manifest = &case.planted.manifest;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let expected = [
            ("databases", 1.0),
            ("archives", 1.0),
            ("archivesVerified", 1.0),
            ("objectsVerified", manifest.objects.len() as f64),
            ("bytesRead", manifest.size_bytes() as f64),
            ("rowsCounted", (manifest.rows() + manifest.large_objects.content.rows) as f64),
        ];
        for (fact, value) in expected {
            assert_eq!(report.fact(fact), Some(value), "{fact}");
        }
        assert!(report.fact("backupAgeSecondsMax").is_some_and(|age| (14_400.0..15_000.0).contains(&age)));
        assert!(report.summary.contains("1 backup of 1 database, the newest at most 4 h old"), "{}", report.summary);
        let records = case.records().await;
        assert_eq!(records.len(), 2, "one for each verification");
        let record: shared::verification::Record = serde_json::from_slice(&case.bucket.bytes(&records[1]).await).expect("a record");
        assert!(record.is_good() && record.manifest_checksum == manifest.checksum && record.rows > 0);
    });
}

#[test]
fn a_flipped_bit_is_corrupt() {
    run(async {
        for pick in [|name: &str| name.ends_with(".dat.zst"), |name: &str| name == "toc.dat", |name: &str| name == "globals.sql"] {
            let case = Case::clean().await;
            let key = case.object(pick);
            let mut bytes = case.bucket.bytes(&key).await;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            case.bucket.overwrite(&key, bytes).await;
            case.assert_found(FindingKind::ObjectCorrupt, &key).await;
        }
    });
}

#[test]
fn a_short_object_is_truncated() {
    run(async {
        let case = Case::clean().await;
        let mut bytes = case.bucket.bytes(&case.slice(1)).await;
        bytes.truncate(bytes.len() - 1);
        case.bucket.overwrite(&case.slice(1), bytes).await;
        case.assert_found(FindingKind::ObjectTruncated, &case.slice(1)).await;
    });
}

#[test]
fn an_object_that_is_gone_is_missing_hidden_or_for_good() {
    run(async {
        let case = Case::clean().await;
        case.bucket.delete(&case.slice(0)).await;
        case.assert_found(FindingKind::ObjectMissing, &case.slice(0)).await;
        let case = Case::clean().await;
        case.bucket.delete_for_good(&case.slice(0)).await;
        case.assert_found(FindingKind::ObjectMissing, &case.slice(0)).await;
    });
}

#[test]
fn two_slices_that_changed_places_are_swapped() {
    run(async {
        let case = Case::clean().await;
        let (first, second) = (case.bucket.bytes(&case.slice(0)).await, case.bucket.bytes(&case.slice(1)).await);
        case.bucket.overwrite(&case.slice(0), second).await;
        case.bucket.overwrite(&case.slice(1), first).await;
        case.assert_found(FindingKind::ObjectSwapped, &case.slice(1)).await;
    });
}

#[test]
fn the_same_bytes_written_again_are_replaced() {
    run(async {
        let case = Case::clean().await;
        case.bucket.overwrite(&case.slice(0), case.bucket.bytes(&case.slice(0)).await).await;
        case.assert_found(FindingKind::ObjectReplaced, &case.slice(0)).await;
        assert_eq!(kinds(&case.verify(&json!({"kind": "verify", "deep": "none"})).await), BTreeSet::from([FindingKind::ObjectReplaced]));
    });
}

#[test]
fn an_object_that_nobody_promised_is_extra() {
    run(async {
        let case = Case::clean().await;
        let key = case.planted.key.object("notes.txt");
        case.bucket.overwrite(&key, b"hello".to_vec()).await;
        case.assert_found(FindingKind::ObjectExtra, &key).await;
    });
}

#[test]
fn a_manifest_is_damaged_replaced_or_missing() {
    run(async {
        let case = Case::clean().await;
        let key = case.planted.key.object(MANIFEST);
        let text = String::from_utf8(case.bucket.bytes(&key).await).expect("text");
        case.bucket.overwrite(&key, text.replacen("\"rows\": 3000", "\"rows\": 2999", 1).into_bytes()).await;
        case.assert_found(FindingKind::ManifestDamaged, &key).await;

        let mut other = Manifest::open(text.as_bytes()).expect("open");
        other.lifeboat.git_sha = "another".into();
        case.bucket.overwrite(&key, other.seal().expect("seal")).await;
        case.assert_found(FindingKind::ObjectReplaced, &key).await;

        case.bucket.delete(&key).await;
        let report = case.verify(&json!({"kind": "verify"})).await;
        assert_eq!(kinds(&report), BTreeSet::from([FindingKind::ObjectMissing, FindingKind::BackupMissing]), "{:#?}", report.findings);
        assert!(report.findings.iter().any(|finding| finding.subject == key), "{:#?}", report.findings);
    });
}

#[test]
fn bytes_that_are_as_written_but_not_what_was_counted_are_a_mismatch() {
    run(async {
        let case = Case::clean().await;
        let mut wrong = case.sample.clone();
        let table = wrong.manifest.tables.iter_mut().find(|table| table.name == "many").expect("the big table");
        table.content.rows += 1;
        let slot = case.slot + TimeDelta::hours(1);
        let planted = case.bucket.plant(&wrong, "app", slot).await;
        let report = case.verify(&json!({"kind": "verify"})).await;
        assert_eq!(kinds(&report), BTreeSet::from([FindingKind::ContentMismatch]), "{:#?}", report.findings);
        assert_eq!(report.findings[0].subject, format!("{}public.many", planted.key.prefix()));
        assert!(
            report.findings[0].seen.contains("3000 rows")
                && report.findings[0].expected.as_ref().is_some_and(|expected| expected.contains("3001 rows"))
        );
    });
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_healthy() {
    run(async {
        let case = Case::clean().await;
        let proxy = HttpProxy::start(&case.bucket.bed.world.cloud.endpoint).await.expect("start the proxy");
        let config = case.bucket.bed.world.cloud.sdk_config_through(&proxy.url, &case.bucket.bed.account);
        let request = json!({"kind": "verify", "manifest": case.planted.key.object(MANIFEST)});
        // The record of the first verification and the manifest are read first, then the objects.
        let clean = case.invoke(&config, &request, Duration::from_mins(5)).await.expect("verify");
        assert_eq!(clean.outcome, Outcome::Ok);
        let before = proxy.count("s3:GetObject");
        proxy.fail("s3:GetObject", before + 4, Fault::Denied);
        let report = case.invoke(&config, &request, Duration::from_mins(5)).await.expect("verify");
        assert_eq!(kinds(&report), BTreeSet::from([FindingKind::ObjectUnreadable]), "{:#?}", report.findings);
        assert_eq!((report.outcome, report.findings.len()), (Outcome::Unknown, 1));
        assert!(report.findings[0].seen.contains("s3:GetObject"), "{}", report.findings[0].seen);
        proxy.heal();
        assert_eq!(case.invoke(&config, &request, Duration::from_mins(5)).await.expect("verify").outcome, Outcome::Ok, "the next run is good again");
    });
}

#[test]
fn streams_that_break_are_resumed() {
    run(async {
        let case = Case::clean().await;
        let proxy = HttpProxy::start(&case.bucket.bed.world.cloud.endpoint).await.expect("start the proxy");
        let config = case.bucket.bed.world.cloud.sdk_config_through(&proxy.url, &case.bucket.bed.account);
        let request = json!({"kind": "verify", "manifest": case.planted.key.object(MANIFEST)});
        for occurrence in (3..30).step_by(2) {
            proxy.add(Rule { operation: Some("s3:GetObject".into()), occurrence: Occurrence::Nth(occurrence), fault: Fault::TruncatedReply(100) });
        }
        let report = case.invoke(&config, &request, Duration::from_mins(5)).await.expect("verify");
        assert_eq!((report.outcome, &report.findings), (Outcome::Ok, &vec![]));
        assert!(proxy.recorded().iter().any(|recorded| recorded.fault == Some(Fault::TruncatedReply(100))), "streams were broken");
        assert_eq!(report.fact("bytesRead"), case.verify(&request).await.fact("bytesRead"), "no byte was counted twice");
    });
}

#[test]
fn a_bucket_that_cannot_be_listed_fails_the_run_and_names_the_action() {
    run(async {
        let case = Case::clean().await;
        for (operation, action) in [("s3:ListObjectVersions", "s3:ListBucketVersions"), ("s3:ListObjectsV2", "s3:ListBucket")] {
            let proxy = HttpProxy::start(&case.bucket.bed.world.cloud.endpoint).await.expect("start the proxy");
            let config = case.bucket.bed.world.cloud.sdk_config_through(&proxy.url, &case.bucket.bed.account);
            proxy.add(Rule { operation: Some(operation.into()), occurrence: Occurrence::Every, fault: Fault::Denied });
            let failure = case.invoke(&config, &json!({"kind": "verify"}), Duration::from_mins(5)).await.expect_err("it cannot do its job");
            assert_eq!(failure.kind, shared::failure::FailureKind::Denied);
            assert!(failure.to_string().contains(action), "{failure}");
        }
    });
}

#[test]
fn what_was_found_stays_found_until_it_is_read_again() {
    run(async {
        let case = Case::clean().await;
        let good = case.bucket.bytes(&case.slice(0)).await;
        let mut bytes = good.clone();
        bytes[20] ^= 1;
        case.bucket.overwrite(&case.slice(0), bytes).await;
        assert_eq!(case.kinds().await, BTreeSet::from([FindingKind::ObjectCorrupt]));
        // A newer good backup does not make the old one whole, also when nobody reads it again; its version shows in the listing too.
        case.bucket.plant(&case.sample, "app", case.slot + TimeDelta::hours(1)).await;
        let listed = case.verify(&json!({"kind": "verify", "deep": "none"})).await;
        assert_ne!(listed.outcome, Outcome::Ok, "{:#?}", listed.findings);
        // Without the version that somebody wrote over it, the original is what a reader gets.
        let versions = case.bucket.bed.store.list_versions(&case.slice(0)).await.expect("list");
        let newest = versions.iter().find(|version| version.is_latest).and_then(|version| version.version_id.clone()).expect("a version");
        case.bucket.s3().delete_object().bucket(&case.bucket.bed.store.bucket).key(case.slice(0)).version_id(newest).send().await.expect("delete");
        assert_eq!(case.bucket.bytes(&case.slice(0)).await, good);
        let carried = case.verify(&json!({"kind": "verify", "deep": "none"})).await;
        assert_eq!(kinds(&carried), BTreeSet::from([FindingKind::ObjectCorrupt]), "nobody has read it since");
        assert!(carried.findings[0].seen.contains("not read again since"), "{:#?}", carried.findings);
        assert_eq!(case.kinds().await, BTreeSet::new());
    });
}

#[test]
fn what_the_schedule_promised_is_missing_stale_or_unfinished() {
    run(async {
        let case = Case::clean().await;
        let at = |hours: i64| json!({"kind": "verify", "deep": "none", "scheduledAt": case.slot + TimeDelta::hours(hours)});
        assert_eq!(kinds(&case.verify(&at(26)).await), BTreeSet::new());
        let nothing_ran = case.verify(&at(27)).await;
        assert_eq!(kinds(&nothing_ran), BTreeSet::from([FindingKind::RunMissing, FindingKind::BackupStale]));

        let run_key = case.bucket.plant_run(case.slot + TimeDelta::hours(24), &["app"]).await;
        let report = case.verify(&at(27)).await;
        assert_eq!(kinds(&report), BTreeSet::from([FindingKind::BackupStale]));
        let note = report.findings.iter().find(|finding| finding.kind == FindingKind::RunUnfinished).expect("the run is noted");
        assert_eq!(note.subject, run_key);

        case.bucket.plant(&case.sample, "app", case.slot + TimeDelta::hours(25)).await;
        assert_eq!(kinds(&case.verify(&at(27)).await), BTreeSet::new());
        case.bucket.plant_run(case.slot + TimeDelta::hours(26), &["app", "crm"]).await;
        assert_eq!(kinds(&case.verify(&at(29)).await), BTreeSet::from([FindingKind::BackupMissing]));
        // The database was dropped: its old backups stay, nobody waits for new ones.
        case.bucket.plant_run(case.slot + TimeDelta::hours(28), &["crm"]).await;
        case.bucket.plant_backup(&case.sample, "crm", case.slot + TimeDelta::hours(28)).await;
        let report = case.verify(&at(53)).await;
        assert_eq!((kinds(&report), report.fact("databases")), (BTreeSet::new(), Some(1.0)), "{:#?}", report.findings);
    });
}

#[test]
fn an_empty_bucket_is_not_healthy() {
    run(async {
        let case = Case::clean().await;
        let case = Case { bucket: Bucket::new().await, ..case };
        let report = case.verify(&json!({"kind": "verify"})).await;
        assert_eq!((kinds(&report), report.outcome), (BTreeSet::from([FindingKind::RunMissing]), Outcome::Failed));
    });
}

#[test]
fn what_was_not_read_in_time_is_overdue_and_the_oldest_is_read_first() {
    run(async {
        let case = Case::clean().await;
        let old = case.bucket.plant_backup(&case.sample, "app", case.slot - TimeDelta::days(40)).await;
        let listed = case.verify(&json!({"kind": "verify", "deep": "none"})).await;
        assert_eq!(kinds(&listed), BTreeSet::from([FindingKind::RereadOverdue]));
        assert!(listed.findings[0].seen.contains(&old.key.prefix()), "{:#?}", listed.findings);
        assert_eq!(case.kinds().await, BTreeSet::new(), "it was read now");
        assert_eq!(kinds(&case.verify(&json!({"kind": "verify", "deep": "none"})).await), BTreeSet::new());
    });
}

#[test]
fn too_little_time_is_said_and_nothing_is_called_healthy() {
    run(async {
        let case = Case::clean().await;
        case.bucket.plant(&case.sample, "app", case.slot + TimeDelta::hours(1)).await;
        // Two seconds are kept for the end, so there is no time at all.
        let report = case.invoke(&case.bucket.bed.config, &json!({"kind": "verify"}), Duration::from_secs(2)).await.expect("a report");
        assert!(kinds(&report).contains(&FindingKind::NotChecked), "{:#?}", report.findings);
        assert_ne!(report.outcome, Outcome::Ok);
        let request = json!({"kind": "verify", "manifest": case.planted.key.object(MANIFEST)});
        let report = case.invoke(&case.bucket.bed.config, &request, Duration::from_secs(2)).await.expect("a report");
        assert_eq!((kinds(&report), report.fact("archivesVerified")), (BTreeSet::from([FindingKind::NotChecked]), Some(0.0)));
    });
}

#[test]
fn a_dry_run_reads_the_listing_and_writes_nothing() {
    run(async {
        let case = Case::clean().await;
        let before = case.bucket.bed.store.list("").await.expect("list");
        let report = case.verify(&json!({"kind": "verify", "dryRun": true})).await;
        assert_eq!((report.outcome, report.fact("bytesRead")), (Outcome::Ok, Some(0.0)));
        assert!(report.summary.contains("dry run: 1 would be read"), "{}", report.summary);
        assert_eq!(case.bucket.bed.store.list("").await.expect("list"), before);
    });
}

#[test]
fn a_key_that_is_no_manifest_of_this_instance_is_refused() {
    run(async {
        let case = Case::clean().await;
        let mine = case.planted.key.object(MANIFEST);
        for key in [mine.replace(GUARDED, "other-db"), case.slice(0), "x".to_owned()] {
            let request = json!({"kind": "verify", "manifest": key});
            let failure = case.invoke(&case.bucket.bed.config, &request, Duration::from_mins(5)).await.expect_err("refused");
            assert_eq!(failure.kind, shared::failure::FailureKind::BadRequest);
        }
        let gone = json!({"kind": "verify", "manifest": mine.replace("/app/", "/crm/")});
        assert_eq!(kinds(&case.verify(&gone).await), BTreeSet::from([FindingKind::ObjectMissing]));
    });
}
