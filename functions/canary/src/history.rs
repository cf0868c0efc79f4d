//! What was measured after each deploy, and what the watch has said: objects of the bucket, each under a name of its own. Nothing is ever written over.
//!
//! ```text
//! canary/INSTANCE/deploys/2026-11/2026-11-23T10-00-00Z-ID.json     after a deploy: release, verdict, figures, checks
//! canary/INSTANCE/watch/2026-11-23T10-05-00Z-ID.json               when the watch said something: what was wrong
//! ```

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::failure::{Context, Failure};
use shared::finding::{Finding, Severity};
use shared::key::segment;
use shared::manifest::hex;
use shared::report::slot_name;
use shared::store::Store;

use crate::definition::Target;
use crate::judge::{Baseline, Figures, is_commit};
use crate::request::Release;
use crate::verdict::{Check, Verdict};

/// Version of both records; a newer one is passed over.
const SCHEMA: u32 = 1;
/// So far back a release before is looked for.
const MONTHS_MAX: u32 = 13;
/// And in so many records.
const RECORDS_MAX: usize = 40;
/// A percentile of fewer requests is none.
const REQUESTS_MIN: usize = 10;

/// What was measured after a deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// Version of this record.
    pub schema: u32,
    /// When the measuring began.
    pub at: DateTime<Utc>,
    /// The pipeline's name for the deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What was deployed.
    pub release: Release,
    /// How it came out.
    pub verdict: Verdict,
    /// The targets.
    pub targets: Vec<Measured>,
    /// The checks.
    pub checks: Vec<Check>,
}

/// One target's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Of what and how it was asked: figures of different questions are not compared.
    pub fingerprint: String,
    /// The figures.
    pub figures: Figures,
}

/// What the watch said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Version of this record.
    pub schema: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// Of the invocation; its retries have the same.
    pub request_id: String,
    /// What was wrong: target and kind. Nothing: all is well again.
    pub wrong: BTreeSet<(String, String)>,
    /// The worst of it.
    pub is_urgent: bool,
}

/// Of what and how a target is asked.
pub fn fingerprint(target: &Target) -> String {
    let text = format!("{} {} {}", target.method.name(), target.url, target.requests_per_connection.min(2));
    hex(&Sha256::digest(text.as_bytes()))[..16].to_owned()
}

impl Deploy {
    /// A record of this version.
    pub fn new(
        at: DateTime<Utc>,
        request_id: Option<String>,
        release: Release,
        verdict: Verdict,
        targets: Vec<Measured>,
        checks: Vec<Check>,
    ) -> Self {
        Self { schema: SCHEMA, at, request_id, release, verdict, targets, checks }
    }
}

/// The newest good figures of this target under another release. `records`: the newest first.
pub fn baseline<'a>(records: impl IntoIterator<Item = &'a Deploy>, target: &Target, release: &Release) -> Option<Baseline> {
    let fingerprint = fingerprint(target);
    let mut others =
        records.into_iter().filter(|record| record.schema <= SCHEMA && record.verdict == Verdict::Pass && !is_same(&record.release, release));
    others.find_map(|record| {
        let measured = record.targets.iter().find(|one| one.name == target.name && one.fingerprint == fingerprint)?;
        let p95_ms = measured.figures.p95_ms.filter(|_| measured.figures.requests >= REQUESTS_MIN)?;
        Some(Baseline { release: release_name(&record.release), p95_ms })
    })
}

/// Whether two are known to be one release.
fn is_same(one: &Release, other: &Release) -> bool {
    match ((&one.git_sha, &other.git_sha), (&one.version, &other.version)) {
        ((Some(one), Some(other)), _) => is_commit(one, other),
        (_, (Some(one), Some(other))) => one == other,
        _ => false,
    }
}

/// A release in a sentence.
pub fn release_name(release: &Release) -> String {
    let sha = release.git_sha.as_ref().map(|sha| sha.chars().take(12).collect::<String>());
    match (&release.version, sha) {
        (Some(version), Some(sha)) => format!("{version} ({sha})"),
        (Some(one), None) => one.clone(),
        (None, Some(one)) => one,
        (None, None) => "a release without a name".to_owned(),
    }
}

/// How long the watch is silent about what it said, while it stays so.
const URGENT_AGAIN: TimeDelta = TimeDelta::minutes(59);
const AGAIN: TimeDelta = TimeDelta::hours(23);

/// Something wrong, or something that was wrong: what the watch has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What is wrong: target and kind.
    pub wrong: BTreeSet<(String, String)>,
    /// Whether any of it is urgent.
    pub is_urgent: bool,
}

impl Watched {
    /// What these findings are.
    pub fn of(findings: &[Finding]) -> Self {
        let wrong = || findings.iter().filter(|finding| finding.severity > Severity::Note);
        Self {
            wrong: wrong().map(|finding| (finding.subject.clone(), finding.kind.name().to_owned())).collect(),
            is_urgent: wrong().any(|finding| finding.severity > Severity::Warning),
        }
    }

    /// Whether somebody should be told: something changed, or it stays wrong for long. The retry of an invocation tells what that one recorded, as nobody
    /// knows whether it was told.
    pub fn is_news(&self, last: Option<&Said>, request_id: &str, now: DateTime<Utc>) -> bool {
        let Some(last) = last else { return !self.wrong.is_empty() };
        let is_retry = last.request_id == request_id;
        let is_long = now - last.at >= if self.is_urgent { URGENT_AGAIN } else { AGAIN };
        is_retry || last.wrong != self.wrong || (!self.wrong.is_empty() && is_long)
    }

    /// The record of it.
    pub fn said(self, request_id: &str, now: DateTime<Utc>) -> Said {
        Said { schema: SCHEMA, at: now, request_id: request_id.to_owned(), wrong: self.wrong, is_urgent: self.is_urgent }
    }
}

/// The records in the bucket.
pub struct History {
    store: Store,
    deploys: String,
    watch: String,
}

impl History {
    /// Those of this instance's stack.
    pub fn new(store: Store, instance: &str) -> Self {
        let folder = format!("canary/{}", segment(instance));
        Self { store, deploys: format!("{folder}/deploys/"), watch: format!("{folder}/watch/") }
    }

    /// For each target that has one, the figures of the release before.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn baselines(&self, targets: &[Target], release: &Release, now: DateTime<Utc>) -> Result<BTreeMap<String, Baseline>, Failure> {
        let (mut found, mut left) = (BTreeMap::new(), RECORDS_MAX);
        for back in 0..MONTHS_MAX {
            let Some(month) = now.checked_sub_months(Months::new(back)) else { break };
            let mut listed = self.store.list(&format!("{}{}/", self.deploys, month.format("%Y-%m"))).await?;
            // The name begins with the time.
            listed.sort_by(|a, b| b.key.cmp(&a.key));
            for object in listed {
                if found.len() == targets.len() || left == 0 {
                    return Ok(found);
                }
                left -= 1;
                let Some(record) = self.read::<Deploy>(&object.key).await? else { continue };
                for target in targets {
                    if !found.contains_key(&target.name)
                        && let Some(baseline) = baseline([&record], target, release)
                    {
                        found.insert(target.name.clone(), baseline);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Records a deploy, and gives its address.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record_deploy(&self, record: &Deploy, invocation: &str) -> Result<String, Failure> {
        let key = format!("{}{}/{}", self.deploys, record.at.format("%Y-%m"), name(record.at, invocation));
        self.write(&key, record).await
    }

    /// What the watch said last.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn last_said(&self) -> Result<Option<Said>, Failure> {
        let newest = self.store.list(&self.watch).await?.into_iter().map(|object| object.key).max();
        match newest {
            Some(key) => self.read(&key).await,
            None => Ok(None),
        }
    }

    /// Records what the watch says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record_said(&self, said: &Said) -> Result<String, Failure> {
        self.write(&format!("{}{}", self.watch, name(said.at, &said.request_id)), said).await
    }

    async fn write<T: Serialize>(&self, key: &str, record: &T) -> Result<String, Failure> {
        self.store.put(key, serde_json::to_vec(record).context("write a record of the canary")?, "application/json").await?;
        Ok(self.store.address(key))
    }

    /// A record that cannot be understood is of another version of Lifeboat, or was cut: passed over, as there are others.
    async fn read<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Failure> {
        let bytes = self.store.get(key).await?;
        let read = bytes.map(|bytes| serde_json::from_slice(&bytes));
        if let Some(Err(error)) = &read {
            tracing::warn!(key, %error, "a record of the canary is not understood");
        }
        Ok(read.and_then(Result::ok))
    }
}

/// The time first, so that names sort by it; then what no other invocation has.
fn name(at: DateTime<Utc>, invocation: &str) -> String {
    format!("{}-{:03}-{}.json", slot_name(at), at.timestamp_subsec_millis(), segment(invocation))
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
