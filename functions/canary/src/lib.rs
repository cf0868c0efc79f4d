//! `canary`: is the release that was just deployed the one that is served, and does it serve well? And between deploys: does everything answer?
//!
//! It asks URLs as their users do, and says what it saw. It never changes what it asks: GET and HEAD are all that it knows.

pub mod config;
pub mod definition;
pub mod history;
pub mod judge;
pub mod look;
mod preparing;
pub mod probe;
mod quote;
pub mod request;
mod telling;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};
use shared::env::Reader;
use shared::failure::{Failure, FailureKind};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::Report;
use shared::store::Store;
use tokio::time::Instant;

use crate::config::Settings;
use crate::definition::{Definitions, Target};
use crate::history::{Deploy, History, Measured, Watched, fingerprint};
use crate::judge::{Baseline, Evidence, Latency, figures, judge, unproved};
use crate::preparing::Preparing;
use crate::probe::{Probe, Series};
use crate::request::{AfterDeploy, Release, Request, Watch};
use crate::telling::Judged;
use crate::verdict::{Check, CheckResult, Name, Verdict};

/// Measuring ends so long after the invocation began, whatever is still to be asked: a verdict is promised after 75 seconds.
const MEASURING_MAX: Duration = Duration::from_secs(70);
/// What the watch finds wrong it looks at once more, so much later at most: one lost answer wakes nobody.
const CONFIRM_AFTER_MAX: Duration = Duration::from_secs(2);

/// The function.
pub struct Canary {
    preparing: Preparing,
    history: History,
}

impl Function for Canary {
    const NAME: &'static str = "canary";
    type Request = Request;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        let s3 = aws_sdk_s3::Client::new(config);
        let place = Settings::read(reader).definitions;
        let history = History::new(Store::new(s3.clone(), &deployment.bucket), &deployment.instance);
        Self { preparing: Preparing { place, ssm: aws_sdk_ssm::Client::new(config), s3, machine: OnceLock::new() }, history }
    }

    fn slot(request: &Request, run: &Run) -> DateTime<Utc> {
        match request {
            Request::Canary(_) => run.started_at,
            Request::Watch(watch) => watch.scheduled_at.unwrap_or(run.started_at),
        }
    }

    async fn handle(&self, request: Request, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        match request {
            Request::Canary(asked) => self.after_deploy(&asked, run, report).await,
            Request::Watch(watch) => self.watch(&watch, run, report).await,
        }
    }
}

/// A target, and what came of asking it; or why it could not be asked.
struct Asked<'a> {
    target: &'a Target,
    result: Result<(Probe<'a>, Series), Failure>,
}

impl Canary {
    async fn after_deploy(&self, asked: &AfterDeploy, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        if let Some(mistake) = asked.mistake() {
            return Err(Failure::new(FailureKind::BadRequest, mistake));
        }
        let Definitions { targets } = self.preparing.definitions().await?;
        let end = end_of(run);
        let measuring = join_all(targets.iter().map(|target| {
            let count = if asked.dry_run { 1 } else { target.requests };
            self.ask(target, count, end)
        }));
        let (all, baselines) = join(measuring, self.history.baselines(&targets, &asked.release, run.started_at)).await;
        let baselines = baselines.map_err(|failure| failure.to_string());
        let latency = |target: &Target| if asked.dry_run { Latency::NotJudged } else { latency_of(target, &baselines) };
        let mut judged = judge_all(&all, &asked.release, latency, run.now());
        judged.checks.extend(unproved(&targets, &asked.release));
        let verdict = Verdict::of(&judged.checks);
        judged.tell(report);
        judged.summarise_deploy(&asked.release, verdict, report);
        if !asked.dry_run {
            let (targets, checks) = (judged.targets.clone(), judged.checks.clone());
            let record = Deploy::new(run.started_at, asked.request_id.clone(), asked.release.clone(), verdict, targets, checks);
            // The verdict is known, and a pipeline waits for it: a record that cannot be written is told, and keeps nobody.
            match self.history.record_deploy(&record, &run.request_id).await {
                Ok(address) => report.link("what was measured", address),
                Err(failure) => report.fail("history", &failure),
            }
        }
        let reply = telling::reply(report, verdict, &asked.release, &judged, asked.dry_run, run)?;
        Ok(Answer { reply: Some(reply), only_answered: asked.dry_run })
    }

    async fn watch(&self, watch: &Watch, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let Definitions { targets } = self.preparing.definitions().await?;
        let end = end_of(run);
        let watched = targets.iter().filter(|target| target.watch);
        let all = join_all(watched.map(|target| self.ask_twice_if_wrong(target, end, run.started_at))).await;
        let judged = judge_all(&all, &Release::default(), |_| Latency::NotJudged, run.now());
        judged.tell(report);
        judged.summarise_watch(report);
        if watch.dry_run {
            return Ok(Answer { reply: None, only_answered: true });
        }
        let now = Watched::of(&report.findings);
        let last = self.history.last_said().await?;
        if !now.is_news(last.as_ref(), &run.request_id, run.started_at) {
            return Ok(Answer { reply: None, only_answered: true });
        }
        self.history.record_said(&now.said(&run.request_id, run.started_at)).await?;
        Ok(Answer::default())
    }

    async fn ask<'a>(&self, target: &'a Target, count: usize, end: Instant) -> Asked<'a> {
        let result = match self.preparing.probe(target).await {
            Ok(probe) => {
                let series = probe.series(count, end).await;
                Ok((probe, series))
            }
            Err(failure) => Err(failure),
        };
        Asked { target, result }
    }

    /// One request; and where that was wrong, one more, which counts.
    async fn ask_twice_if_wrong<'a>(&self, target: &'a Target, end: Instant, now: DateTime<Utc>) -> Asked<'a> {
        let mut asked = self.ask(target, 1, end).await;
        let wrong = |asked: &Asked<'_>| {
            let (checks, _) = judge_one(asked, &Release::default(), Latency::NotJudged, now);
            checks.iter().any(|check| check.result == CheckResult::Fail)
        };
        if wrong(&asked)
            && let Ok((probe, series)) = &mut asked.result
        {
            tokio::time::sleep(target.pace.min(CONFIRM_AFTER_MAX)).await;
            *series = probe.series(1, end).await;
        }
        asked
    }
}

fn end_of(run: &Run) -> Instant {
    run.work_until.min(run.started + MEASURING_MAX)
}

fn latency_of<'a>(target: &Target, baselines: &'a Result<BTreeMap<String, Baseline>, String>) -> Latency<'a> {
    match baselines {
        Err(why) => Latency::BaselineUnknown(why),
        Ok(known) => known.get(&target.name).map_or(Latency::WithoutBaseline, Latency::Against),
    }
}

fn judge_all<'a>(all: &[Asked<'_>], release: &Release, latency: impl Fn(&Target) -> Latency<'a>, now: DateTime<Utc>) -> Judged {
    let mut judged = Judged { targets: Vec::new(), checks: Vec::new() };
    for asked in all {
        let (checks, measured) = judge_one(asked, release, latency(asked.target), now);
        judged.checks.extend(checks);
        judged.targets.push(measured);
    }
    judged
}

fn judge_one(asked: &Asked<'_>, release: &Release, latency: Latency<'_>, now: DateTime<Utc>) -> (Vec<Check>, Measured) {
    let target = asked.target;
    let measured = |figures| Measured { name: target.name.clone(), fingerprint: fingerprint(target), figures };
    match &asked.result {
        Ok((probe, series)) => {
            let certificates = probe.certificates(now);
            let figures = figures(series, target, &certificates);
            let evidence = Evidence { target, series, certificates: &certificates, release, latency, now };
            (judge(&evidence, &figures), measured(figures))
        }
        Err(failure) => {
            let seen = format!("it could not be asked: {failure}");
            let check = Check { target: target.name.clone(), name: Name::Measured, result: CheckResult::Unknown, seen, expected: None };
            (vec![check], measured(judge::Figures::default()))
        }
    }
}
