//! The story, from top to bottom: dump, verify, (sabotage,) verify again, restore, prove; snapshot; drills of both; two nights; a rotation under load; what would
//! be deleted.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use shared::failure::{Context, Failure};
use shared::finding::Severity;
use shared::human::{bytes, count};
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::report::{self, Outcome as Verdict, Report};
use shared_postgres::proof::Proof;

use super::outcome::Drill;
use super::outcome::Figures;
use super::{Claim, Outcome, Sabotage, Step};
use super::{nights, restore, rotation, snapshot};
use crate::attempt::failed;
use crate::bucket::Bucket;
use crate::host::now;
use crate::progress::Progress;
use crate::slack::Message;
use crate::world::{ACCOUNT, Plan, World};

const DUMP: &str = "logical-dump";
const VERIFY: &str = "backup-verify";
const SNAPSHOT: &str = "snapshot";
const RETENTION: &str = "retention";
const DRILL: &str = "restore-drill";
const CHECK: &str = "integrity-check";
const ROTATE: &str = "rotate-secret";
/// A function lives for 15 minutes; its retry may take as long.
const RUN_MAX: Duration = Duration::from_mins(31);
const SLACK_MAX: Duration = Duration::from_mins(2);
/// More than any promise of the template's defaults.
const STALE_AFTER: TimeDelta = TimeDelta::days(3);

/// Tells it.
pub(super) async fn tell(plan: &Plan, sabotage: Option<Sabotage>, progress: &Progress) -> Result<Outcome, Failure> {
    let (started_at, began) = (now(), Instant::now());
    let world = Box::pin(World::build(plan, progress)).await?;
    let s3 = aws_sdk_s3::Client::new(&world.cloud.sdk_config(ACCOUNT));
    let bucket = Bucket { client: s3, name: world.deployed.output("BackupBucketName")?.to_owned() };
    let mut story = Story {
        world: &world,
        bucket,
        progress,
        steps: Vec::new(),
        claims: Vec::new(),
        figures: Figures::default(),
        reports: Vec::new(),
        proof: None,
        spoilt: None,
        drills: Vec::new(),
        night: None,
    };
    story.run(sabotage).await?;
    let Story { steps, claims, figures, reports, proof, spoilt, drills, night, .. } = story;
    Ok(Outcome {
        started_at,
        seconds: began.elapsed().as_secs_f64(),
        sql: plan.sql.as_ref().map(|file| file.display().to_string()),
        sabotage,
        spoilt,
        preparation: world.done.clone(),
        steps,
        claims,
        figures,
        reports,
        proof,
        drills,
        night,
        slack: world.slack.messages(),
        not_as_on_aws: world.deployed.unsupported.clone(),
    })
}

struct Story<'a> {
    world: &'a World,
    bucket: Bucket,
    progress: &'a Progress,
    steps: Vec<Step>,
    claims: Vec<Claim>,
    figures: Figures,
    reports: Vec<Report>,
    proof: Option<Proof>,
    spoilt: Option<String>,
    drills: Vec<Drill>,
    /// The page of the second night.
    night: Option<String>,
}

impl Story<'_> {
    async fn run(&mut self, sabotage: Option<Sabotage>) -> Result<(), Failure> {
        self.figures.database_bytes = restore::database_bytes(self.world).await?;
        let slot = now().trunc_subsecs(0);
        let Some((archive, manifest)) = self.dump(slot).await? else { return Ok(()) };
        if !self.verify_at_once(&archive).await? {
            return Ok(());
        }
        let verify_slot = match sabotage {
            Some(how) => self.spoil(how, &archive, &manifest).await?,
            // Not the slot of the dump, whatever the clock says: a slot is one run.
            None => now().trunc_subsecs(0).max(slot + TimeDelta::seconds(1)),
        };
        self.verify(verify_slot).await?;
        if sabotage.is_none() {
            self.restore(&archive, &manifest).await?;
            self.snapshot(verify_slot).await?;
            // The roles and owners of a file are whatever it says; RDS's master user need not be able to restore them.
            if self.world.has_shop {
                self.drills(verify_slot + TimeDelta::seconds(1)).await?;
                self.nights(verify_slot).await?;
                self.rotate(verify_slot).await?;
            }
            self.retain(verify_slot).await?;
        }
        self.hear_slack().await
    }

    /// Fires the dump's schedule; the archive and its manifest, unless the dump failed.
    async fn dump(&mut self, slot: DateTime<Utc>) -> Result<Option<(ArchiveKey, Manifest)>, Failure> {
        let schedule = self.world.deployed.output("DumpScheduleName")?;
        let began = self.begin(&format!("fire the schedule {schedule}: {DUMP} wakes"));
        let report = self.fire("DumpScheduleName", DUMP, slot).await?;
        let dumped = report.outcome <= Verdict::Attention;
        self.figures.dump_seconds = began.elapsed().as_secs_f64();
        self.claim(&format!("{DUMP}, woken by its schedule, dumped the database"), dumped, said(&report));
        self.reports.push(report);
        if !dumped {
            self.end(began, "dump", "it failed".to_owned());
            return Ok(None);
        }
        let prefix = shared::key::dumps(&self.world.instance.id);
        let keys = self.bucket.keys(&prefix).await?;
        let found = keys
            .iter()
            .filter_map(|key| ArchiveKey::parse(key))
            .find(|(archive, name)| *name == MANIFEST && archive.database == self.world.database && archive.slot == slot);
        let (archive, _) = found.ok_or_else(|| failed(format!("the dump says it succeeded, but there is no manifest below {prefix}")))?;
        let manifest = Manifest::open(&self.bucket.read(&archive.object(MANIFEST)).await?).map_err(failed)?;
        let objects = keys.iter().filter(|key| key.starts_with(&archive.prefix())).count();
        self.figures.text_bytes = report_bytes(self.reports.last(), "textBytes");
        self.figures.archive_bytes = manifest.size_bytes();
        self.figures.archive_objects = objects;
        self.figures.tables = manifest.tables.len();
        self.figures.rows = manifest.rows();
        let Figures { database_bytes, archive_bytes, text_bytes, rows, tables, .. } = self.figures;
        let result = format!(
            "{} rows of {tables} tables, {} on the server, {} of text, {} in {objects} objects ({}, {:.1}:1)",
            count(rows),
            bytes(database_bytes),
            bytes(text_bytes),
            bytes(archive_bytes),
            manifest.compression,
            ratio(text_bytes, archive_bytes),
        );
        self.end(began, "dump", result);
        Ok(Some((archive, manifest)))
    }

    /// The manifest's arrival in the bucket wakes the verification of that backup.
    async fn verify_at_once(&mut self, archive: &ArchiveKey) -> Result<bool, Failure> {
        let began = self.begin(&format!("the manifest's arrival wakes {VERIFY}, which re-reads every byte"));
        let run_id = archive.run_id.as_str();
        let report = self.bucket.wait_for_report(VERIFY, RUN_MAX, |report| report.id.contains(run_id)).await?;
        let good = report.outcome == Verdict::Ok;
        self.claim("the new backup was verified at once: stored bytes, rows and digests", good, said(&report));
        self.end(began, "verify the new backup", said(&report));
        self.reports.push(report);
        Ok(good)
    }

    /// Spoils the backup; gives the slot for the verification that must notice.
    async fn spoil(&mut self, how: Sabotage, archive: &ArchiveKey, manifest: &Manifest) -> Result<DateTime<Utc>, Failure> {
        let data = manifest.tables.iter().flat_map(|table| &table.objects).max_by_key(|name| size_of(manifest, name));
        let began = self.begin("sabotage");
        let (spoilt, slot) = match how {
            Sabotage::Stale => ("three days pass, no backup is made".to_owned(), now() + STALE_AFTER),
            Sabotage::Flip | Sabotage::Drop => {
                let key = archive.object(data.ok_or_else(|| failed("this database has no table to spoil"))?);
                if how == Sabotage::Flip {
                    self.bucket.flip(&key).await?;
                } else {
                    self.bucket.delete(&key).await?;
                }
                let what = if how == Sabotage::Flip { "one bit flipped in" } else { "deleted" };
                (format!("{what} s3://{}/{key}", self.bucket.name), now() + TimeDelta::seconds(1))
            }
        };
        self.end(began, "sabotage", spoilt.clone());
        self.spoilt = Some(spoilt);
        Ok(slot.trunc_subsecs(0))
    }

    /// Fires the verification's schedule: everything that is promised.
    async fn verify(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        let schedule = self.world.deployed.output("VerifyScheduleName")?;
        let began = self.begin(&format!("fire the schedule {schedule}: {VERIFY} checks everything that is promised"));
        let report = self.fire("VerifyScheduleName", VERIFY, slot).await?;
        self.figures.verify_seconds = began.elapsed().as_secs_f64();
        self.claim("every promised backup is there, fresh and whole", report.outcome == Verdict::Ok, said(&report));
        self.end(began, "verify everything", said(&report));
        if let Some(spoilt) = self.spoilt.clone() {
            // What was spoilt is an object, or the database's newest backup.
            let named = |finding: &shared::finding::Finding| {
                let object = spoilt.rsplit('/').next().unwrap_or_default();
                finding.subject.contains(object) || (!spoilt.contains('/') && finding.subject.contains(&self.world.database))
            };
            let finding = report.findings.iter().find(|finding| named(finding));
            let seen = finding.map_or_else(|| "no finding names it".to_owned(), |finding| format!("{}: {}", finding.kind.name(), finding.subject));
            self.claim("Lifeboat noticed the sabotage and names what was spoilt", finding.is_some(), seen);
        }
        self.reports.push(report);
        Ok(())
    }

    async fn restore(&mut self, archive: &ArchiveKey, manifest: &Manifest) -> Result<(), Failure> {
        // In the cloud's folder: that goes with the cloud, however this ends.
        let folder = tempfile::tempdir_in(&self.world.cloud.folder).context("make a folder for the archive")?;
        let began = self.begin("download the archive");
        let size = self.bucket.download(&archive.prefix(), folder.path()).await?;
        self.end(began, "download", bytes(size));
        self.restore_from(folder.path()).await?;
        let began = self.begin("count and digest every row of the copy");
        let proof = restore::prove(self.world, manifest).await?;
        self.figures.proof_seconds = Some(began.elapsed().as_secs_f64());
        let counted =
            format!("rows: {}, tables: {}, sequences: {}, large objects: {}", count(proof.rows), proof.tables, proof.sequences, proof.large_objects);
        let seen = proof.findings.first().map_or_else(|| counted.clone(), |finding| format!("{}: {}", finding.subject, finding.seen));
        self.claim("counts and digests of the copy equal the manifest's", proof.findings.is_empty(), seen);
        self.end(began, "prove", counted);
        self.proof = Some(proof);
        let difference = restore::schema_difference(self.world).await?;
        let seen = difference.clone().unwrap_or_else(|| "pg_dump --schema-only says the same of both".to_owned());
        self.claim("the copy's definitions equal the source's", difference.is_none(), seen);
        Ok(())
    }

    async fn restore_from(&mut self, folder: &Path) -> Result<(), Failure> {
        let began = self.begin("restore it with stock pg_restore -j4");
        let restored = restore::restore(self.world, folder).await;
        self.figures.restore_seconds = Some(began.elapsed().as_secs_f64());
        let seen = match &restored {
            Ok(said) if said.is_empty() => "no error, no warning".to_owned(),
            Ok(said) => said.clone(),
            Err(failure) => failure.to_string(),
        };
        self.claim("stock pg_restore -j4 restores the archive without an error", restored.is_ok(), seen.clone());
        self.end(began, "restore", seen);
        restored.map(|_| ())
    }

    /// A snapshot by its schedule.
    async fn snapshot(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        let began = self.begin("fire the schedule of the snapshots: RDS takes one");
        let report = self.fire("SnapshotScheduleName", SNAPSHOT, slot).await?;
        self.claim("snapshot, woken by its schedule, had RDS take a snapshot", report.outcome <= Verdict::Attention, said(&report));
        self.reports.push(report);
        let id = snapshot::wait(self.world, slot).await?;
        self.end(began, "snapshot", id.clone());
        Ok(())
    }

    /// Drills by their schedules: a scratch instance is made, cut off, proved and removed, with the time of each phase.
    async fn drills(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        let began = self.begin("dump again: a snapshot is proved by the backups on both sides of it");
        let report = self.fire("DumpScheduleName", DUMP, slot).await?;
        self.end(began, "dump again", said(&report));
        for (number, (schedule, what)) in [("DrillScheduleName", "snapshot"), ("DrillArchiveScheduleName", "archive")].into_iter().enumerate() {
            let began = self.begin(&format!("fire the schedule of the drill of the {what}: restored to an instance of its own, proved, removed"));
            let at = slot + TimeDelta::seconds(1 + i64::try_from(number).unwrap_or(0));
            let report = self.fire(schedule, DRILL, at).await?;
            let (result, page) = self.evidence(&report).await?;
            let claim = format!("the {what} was restored to a scratch instance, proved, and removed again");
            self.claim(&claim, report.outcome <= Verdict::Attention && result["recoveryTimeSeconds"].is_number(), said(&report));
            self.end(began, &format!("drill of the {what}"), report.summary.clone());
            self.reports.push(report);
            self.drills.push(Drill { what: what.to_owned(), result, page });
        }
        let left = self.world.cloud.scratch_instances(ACCOUNT, &self.world.instance.id).await?;
        self.claim("no scratch instance is left", left.is_empty(), if left.is_empty() { "none".to_owned() } else { left.join(", ") });
        Ok(())
    }

    /// What a drill wrote down: the result, and the page for an auditor.
    async fn evidence(&self, report: &Report) -> Result<(serde_json::Value, String), Failure> {
        let prefix = format!("s3://{}/", self.bucket.name);
        let key = |title: &str| {
            let link = report.links.iter().find(|link| link.title == title).and_then(|link| link.target.strip_prefix(&prefix));
            link.map(str::to_owned).ok_or_else(|| failed(format!("the report has no {title}: {}", said(report))))
        };
        let result = serde_json::from_slice(&self.bucket.read(&key("result")?).await?).context("read the drill's result")?;
        Ok((result, String::from_utf8_lossy(&self.bucket.read(&key("page")?).await?).into_owned()))
    }

    /// A night that finds nothing critical; then something breaks, and the next finds exactly that.
    async fn nights(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        nights::prepare(self.world).await?;
        let began = self.begin(&format!("fire the schedule of the night: {CHECK} reads every table once, and checks pages and indexes"));
        let report = self.fire("IntegrityScheduleName", CHECK, slot).await?;
        let is_whole = report.fact("nightsEnded") == Some(1.0) && report.fact("tablesRead") == report.fact("tables");
        let sound = report.findings.iter().all(|finding| finding.severity < Severity::Unknown);
        self.claim("integrity-check, woken by its schedule, read every table, and found nothing that is wrong", is_whole && sound, said(&report));
        self.end(began, "a night", report.summary.clone());
        self.reports.push(report);

        nights::spoil(self.world).await?;
        let began = self.begin("something breaks: an impossible order, an index whose making fails; the next night comes");
        let report = self.fire("IntegrityScheduleName", CHECK, slot + TimeDelta::days(1)).await?;
        let found =
            |(kind, subject): &(&str, &str)| report.findings.iter().any(|finding| finding.kind.name() == *kind && finding.subject == *subject);
        self.claim("the next night found what had broken, by name", nights::BROKEN.iter().all(found), said(&report));
        let page = report.links.iter().find(|link| link.title == "page").map(|link| link.target.clone());
        let prefix = format!("s3://{}/", self.bucket.name);
        if let Some(key) = page.as_deref().and_then(|target| target.strip_prefix(&prefix)) {
            self.night = Some(String::from_utf8_lossy(&self.bucket.read(key).await?).into_owned());
        }
        self.end(began, "the next night", report.summary.clone());
        self.reports.push(report);
        Ok(())
    }

    /// A pair of users takes turns under an application that logs in all the time.
    async fn rotate(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        rotation::prepare(self.world).await?;
        let began = self.begin(&format!("fire the schedule of the rotation: {ROTATE} gives the shop's users a new password, under load"));
        let application = rotation::Application::start(self.world).await?;
        let report = self.fire("RotateQuarterlyScheduleName", ROTATE, slot).await?;
        let rotated = application.end(self.world).await?;
        let seconds = began.elapsed().as_secs_f64();
        let (before, after) = &rotated.users;
        self.claim("rotate-secret, woken by its schedule, gave the shop the other user of its pair", before != after, said(&report));
        let seen = rotated.refused.first().cloned().unwrap_or_else(|| format!("{} logins in {seconds:.1} s, none refused", count(rotated.logins)));
        self.claim("nobody was refused while it did", rotated.refused.is_empty() && rotated.logins > 0, seen);
        let seen = if rotated.old_is_dead { format!("{before} may not log in any more") } else { format!("{before} logs in still") };
        self.claim("when everybody had the new credential, the old one was retired", rotated.old_is_dead, seen);
        self.end(began, "rotate", format!("{before} → {after}, {} logins, {} refused", count(rotated.logins), rotated.refused.len()));
        self.reports.push(report);
        Ok(())
    }

    /// Nothing may go: each sort has one good backup.
    async fn retain(&mut self, slot: DateTime<Utc>) -> Result<(), Failure> {
        let began = self.begin("fire the schedule of retention");
        let report = self.fire("RetentionScheduleName", RETENTION, slot).await?;
        let kept = report.outcome <= Verdict::Attention && report.fact("backupsDeleted") == Some(0.0);
        self.claim("retention deletes none of the only good backups, and knows their age", kept, said(&report));
        self.end(began, "retention", report.summary.clone());
        self.reports.push(report);
        Ok(())
    }

    /// Fires a schedule, and gives the report of that run.
    async fn fire(&self, schedule: &str, job: &str, slot: DateTime<Utc>) -> Result<Report, Failure> {
        self.world.cloud.fire(ACCOUNT, self.world.deployed.output(schedule)?, Some(slot)).await?;
        let id = report::id(job, &self.world.instance.id, slot);
        self.bucket.wait_for_report(job, RUN_MAX, |report| report.id == id).await
    }

    /// Every report of the story must have reached Slack.
    async fn hear_slack(&mut self) -> Result<(), Failure> {
        let began = self.begin("wait for Slack");
        for report in self.reports.clone() {
            let told = self.world.slack.wait_for(SLACK_MAX, |message| tells_of(message, &report.id)).await;
            let seen = match &told {
                Ok(message) => message.body["text"].as_str().unwrap_or_default().to_owned(),
                Err(failure) => failure.to_string(),
            };
            self.claim(&format!("Slack was told by {} ({})", report.job, report.outcome.name()), told.is_ok(), seen);
        }
        let refused = self.world.slack.refused();
        let seen = refused.first().map_or_else(|| "none".to_owned(), |refused| format!("{}: {}", refused.code, refused.detail));
        self.claim("Slack refused no message", refused.is_empty(), seen);
        self.end(began, "Slack", format!("{} messages", self.world.slack.messages().len()));
        Ok(())
    }

    fn begin(&self, what: &str) -> Instant {
        self.progress.step(what);
        Instant::now()
    }

    fn end(&mut self, began: Instant, what: &str, result: String) {
        self.steps.push(Step { what: what.to_owned(), seconds: began.elapsed().as_secs_f64(), result });
    }

    fn claim(&mut self, claim: &str, holds: bool, seen: String) {
        if !holds {
            self.progress.step(&format!("DOES NOT HOLD: {claim}: {seen}"));
        }
        self.claims.push(Claim { claim: claim.to_owned(), holds, seen });
    }
}

/// A number of bytes that a report carries.
fn report_bytes(report: Option<&Report>, fact: &str) -> u64 {
    report.and_then(|report| report.fact(fact)).map_or(0, shared::human::whole)
}

/// The id of a report stands in its message.
fn tells_of(message: &Message, id: &str) -> bool {
    let body = message.body.to_string();
    // Not the id of another run that begins with it.
    body.match_indices(id).any(|(at, _)| !body[at + id.len()..].starts_with('.'))
}

/// A report in one line: what it says, and the worst that it found.
fn said(report: &Report) -> String {
    let worst = report.findings.first().map(|finding| format!("; {} {}: {}", finding.kind.name(), finding.subject, finding.seen));
    format!("{}: {}{}", report.outcome.name(), report.summary, worst.unwrap_or_default())
}

fn size_of(manifest: &Manifest, name: &str) -> u64 {
    manifest.objects.iter().find(|object| object.name == name).map_or(0, |object| object.size_bytes)
}

#[expect(clippy::cast_precision_loss, reason = "for a person")]
fn ratio(before: u64, after: u64) -> f64 {
    before as f64 / after.max(1) as f64
}
