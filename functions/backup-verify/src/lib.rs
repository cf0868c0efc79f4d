//! `backup-verify`: every backup that policy promises exists, is fresh, and holds the bytes, rows and digests of its manifest.
//!
//! It knows no database: the settings and the lists that the dumps leave say what must exist, the manifests what is in it. It never
//! changes or deletes a backup; what it finds goes into the report, and what it read to the last byte into `verifications/`. What it
//! could not check is never called healthy.

pub mod config;
pub mod content_check;
pub mod deep;
pub mod listing_check;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod reading;
pub mod replica;
pub mod request;
pub mod tally;
#[cfg(test)]
mod test_archive;

use aws_config::SdkConfig;
use aws_sdk_s3::config::ResponseChecksumValidation;
use chrono::{DateTime, TimeDelta, Utc};
use shared::env::Reader;
use shared::failure::{Context, Failure};
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST, segment};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::manifest::Lifeboat;
use shared::report::{Outcome, Report, Unit};
use shared::store::Store;
use shared::verification::{self, Record};
use tokio::time::Instant;

use crate::config::Promise;
use crate::deep::Verified;
use crate::observe::{Archive, Look, Observed};
use crate::plan::{Candidate, Decision, Last, Pace, Work};
use crate::replica::Replica;
use crate::request::{Deep, Request as VerifyRequest, Scope};
use crate::tally::Tally;

/// The function.
pub struct BackupVerify {
    promise: Promise,
    instance: String,
    store: Store,
    replica: Option<Replica>,
}

impl Function for BackupVerify {
    const NAME: &'static str = "backup-verify";
    type Request = VerifyRequest;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        // The SDK would turn bytes that do not match S3's checksum into an error of the stream, which is what a broken connection looks
        // like too. The bytes are wanted, to say whose they are: SHA-256 is compared here.
        let s3 = aws_sdk_s3::config::Builder::from(config).response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let store = Store::new(aws_sdk_s3::Client::from_conf(s3.build()), &deployment.bucket);
        let promise = Promise::read(reader);
        let replica = Replica::read(reader, config, promise.reread);
        Self { promise, instance: deployment.instance.clone(), store, replica }
    }

    fn slot(request: &VerifyRequest, run: &Run) -> DateTime<Utc> {
        request.scheduled_at.unwrap_or(run.started_at)
    }

    async fn handle(&self, request: VerifyRequest, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let invocation = Invocation { run, began: Instant::now(), at: Self::slot(&request, run), writes: !request.dry_run };
        match request.scope(&self.instance)? {
            Scope::One(archive) => self.verify_one(&archive, &invocation, report).await?,
            Scope::Everything(deep) => self.verify_everything(deep, &invocation, report).await?,
        }
        Ok(Answer { reply: None, only_answered: request.dry_run })
    }
}

/// One invocation, and the two clocks of it.
struct Invocation<'a> {
    run: &'a Run,
    began: Instant,
    /// What ages are measured against.
    at: DateTime<Utc>,
    /// Whether this is more than a dry run.
    writes: bool,
}

impl Invocation<'_> {
    /// The time of day.
    fn now(&self) -> DateTime<Utc> {
        self.run.started_at + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }

    fn seconds_left(&self) -> f64 {
        self.run.work_until.saturating_duration_since(Instant::now()).as_secs_f64()
    }
}

impl BackupVerify {
    /// Everything that is promised: look, compare with the policy, read as much as fits, say what is known.
    async fn verify_everything(&self, deep: Deep, invocation: &Invocation<'_>, report: &mut Report) -> Result<(), Failure> {
        let look = Look { store: &self.store, instance: &self.instance, at: invocation.at, until: invocation.run.work_until };
        let Observed { archives, runs, replica_objects, findings } = observe::everything(&look, self.replica.as_ref()).await?;
        report.findings.extend(findings);
        if self.replica.is_some() {
            report.count("replicaObjectsCompared", replica_objects, Unit::Count);
        }
        let backups: Vec<_> = archives.iter().map(|archive| archive.backup.clone()).collect();
        let verdict = policy::judge(&self.promise, &self.instance, &runs, &backups, invocation.at);
        report.findings.extend(verdict.findings);
        let mut tally = Tally::new(&verdict.databases, backups.iter().filter(|backup| backup.complete).count(), verdict.age_max);

        let mut candidates: Vec<Candidate> = archives.iter().filter_map(Archive::candidate).collect();
        let decisions = plan::plan(&candidates, deep);
        let mut read = Vec::new();
        // What is known must reach the report also when the reading failed.
        let result = if invocation.writes {
            self.read_share(&decisions, &archives, invocation, report, &mut tally, &mut read).await
        } else {
            tally.would_read = decisions.len();
            Ok(())
        };
        for archive in archives.iter().filter(|archive| !read.contains(&archive.key)) {
            report.findings.extend(archive.known_findings());
        }
        for candidate in candidates.iter_mut().filter(|candidate| read.contains(&candidate.key)) {
            candidate.last = Some(Last { at: invocation.now().max(invocation.at), good: true });
        }
        report.findings.extend(plan::overdue(&candidates, &self.instance, self.promise.reread, invocation.at));
        tally.describe(report);
        result
    }

    /// Reads archives in the order of the plan as long as the next one fits; `read` takes the keys of those that were read to the end.
    async fn read_share(
        &self,
        decisions: &[Decision],
        archives: &[Archive],
        invocation: &Invocation<'_>,
        report: &mut Report,
        tally: &mut Tally,
        read: &mut Vec<ArchiveKey>,
    ) -> Result<(), Failure> {
        let mut pace = Pace::default();
        for decision in decisions {
            let (seconds, left) = (pace.estimate_seconds(decision.work), invocation.seconds_left());
            let mut fits = left > seconds;
            if fits {
                tracing::info!(archive = decision.key.prefix(), bytes = decision.work.bytes, why = decision.why, "read to the last byte");
                let record = archives.iter().find(|archive| archive.key == decision.key).and_then(|archive| archive.record.as_ref());
                let began = Instant::now();
                let verified = deep::verify(&self.store, &decision.key, record, invocation.run.work_until).await?;
                pace.add(Work { objects: verified.objects, bytes: verified.bytes }, began.elapsed().as_secs_f64());
                tally.add(&verified);
                fits = verified.finished;
                if verified.finished {
                    read.push(decision.key.clone());
                    report.findings.extend(verified.findings.iter().cloned());
                    self.keep(&decision.key, &verified, invocation, report).await?;
                }
            }
            if !fits && decision.must {
                report.findings.push(not_read(&decision.key, seconds, left));
            }
        }
        Ok(())
    }

    /// One backup, to the last byte: asked for by the event that its manifest was written.
    async fn verify_one(&self, archive: &ArchiveKey, invocation: &Invocation<'_>, report: &mut Report) -> Result<(), Failure> {
        // Two databases are dumped in one second: the report's id must tell them apart.
        report.id = format!("{}.{}.{}", shared::report::id(Self::NAME, &self.instance, archive.slot), segment(&archive.database), archive.run_id);
        report.subject.database = Some(archive.database.clone());
        let record = observe::newest_record(&self.store, archive).await?;
        let mut tally = Tally::new(std::slice::from_ref(&archive.database), 1, Some(invocation.at - archive.slot));
        if !invocation.writes {
            let inspected = observe::inspect(&self.store, archive, record.as_ref()).await?;
            report.findings.extend(inspected.findings());
            tally.would_read = 1;
            tally.describe(report);
            return Ok(());
        }
        let left = invocation.seconds_left();
        let verified = deep::verify(&self.store, archive, record.as_ref(), invocation.run.work_until).await?;
        tally.add(&verified);
        let kept = if verified.finished {
            self.keep(archive, &verified, invocation, report).await
        } else {
            report.findings.push(not_read(archive, left, left));
            Ok(())
        };
        report.findings.extend(verified.findings);
        tally.describe(report);
        kept
    }

    /// Writes down what was read and how it came out.
    async fn keep(&self, archive: &ArchiveKey, verified: &Verified, invocation: &Invocation<'_>, report: &Report) -> Result<(), Failure> {
        // Without a manifest nothing was compared.
        let Some(manifest_checksum) = verified.manifest_checksum.clone() else { return Ok(()) };
        let record = Record {
            format: verification::FORMAT,
            instance: archive.instance.clone(),
            database: archive.database.clone(),
            scheduled_at: archive.slot,
            run_id: archive.run_id.clone(),
            verified_at: invocation.now(),
            outcome: Outcome::Unknown,
            manifest_checksum,
            objects: verified.objects,
            bytes: verified.bytes,
            rows: verified.rows,
            findings: Vec::new(),
            findings_left_out: 0,
            lifeboat: Lifeboat { version: shared::VERSION.to_owned(), git_sha: report.git_sha.clone() },
        }
        .with_findings(&verified.findings);
        let bytes = serde_json::to_vec_pretty(&record).context("write the record of a verification")?;
        let key = record.key(archive, &invocation.run.request_id);
        self.store.put(&key, bytes, "application/json").await?;
        tracing::info!(key, outcome = record.outcome.name(), "verification recorded");
        Ok(())
    }
}

fn not_read(archive: &ArchiveKey, seconds: f64, left: f64) -> Finding {
    let seen = format!("the time did not suffice to read it: about {seconds:.0} s are needed, {left:.0} s were left");
    Finding::new(FindingKind::NotChecked, archive.object(MANIFEST), seen)
        .expected("the newest backup is read to the last byte")
        .hint("give the function more time and memory: its speed grows with its memory")
}
