//! `snapshot`: RDS snapshots that are made when they should be, and copied to where they were promised.
//!
//! It looks, decides (pure: `plan`, `posture`, `judge`), and acts. State is in RDS alone, in ids, tags and statuses: whoever is killed half-way, or
//! comes twice, finds what is there and goes on. It never deletes anything, and never touches a snapshot that is not of this stack's making.

pub mod act;
pub mod config;
pub mod copying;
pub mod creation;
pub mod describe;
pub mod equality;
pub mod judge;
pub mod observe;
pub mod observed;
pub mod places;
pub mod plan;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
pub mod posture;
pub mod presign;
pub mod refusal;
pub mod request;
#[cfg(test)]
mod samples;
pub mod tally;

use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::env::Reader;
use shared::failure::{Context, Failure};
use shared::finding::{FindingKind, Severity};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::{Report, Unit};
use shared::snapshot::Purpose;
use tokio::time::Instant;

use crate::act::Acted;
use crate::config::Promise;
use crate::observed::Observed;
use crate::places::Places;
use crate::plan::{Step, What};
use crate::request::{Request as SnapshotRequest, Wish};

/// How long another place may take to answer; and never more than a third of what is left.
const ELSEWHERE: Duration = Duration::from_mins(1);

/// The function.
pub struct Snapshot {
    promise: Promise,
    config: SdkConfig,
}

impl Function for Snapshot {
    const NAME: &'static str = "snapshot";
    type Request = SnapshotRequest;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        let home = config.region().map_or_else(String::new, ToString::to_string);
        Self { promise: Promise::read(reader, &deployment.stage, &deployment.instance, &home), config: config.clone() }
    }

    fn slot(request: &SnapshotRequest, run: &Run) -> DateTime<Utc> {
        request.slot(run.started_at)
    }

    async fn handle(&self, request: SnapshotRequest, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let wish = request.wish(run.started_at)?;
        if let SnapshotRequest::Reconcile { event: Some(event), about, .. } = &request {
            tracing::info!(event, about, "woken by an event");
        }
        // What a schedule meant is what ages are measured against; without one, it is now.
        let now = Self::slot(&request, run);
        match wish {
            Wish::PreDeploy { .. } => self.pre_deploy(&wish, request.dry_run(), now, run, report).await,
            Wish::Daily(_) | Wish::Reconcile => self.keep_the_promise(&wish, request.dry_run(), now, run, report).await,
        }
    }
}

impl Snapshot {
    /// The schedule's run, and the hourly one: the snapshot, its copies, and whether all is as it should be.
    async fn keep_the_promise(&self, wish: &Wish, dry_run: bool, now: DateTime<Utc>, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let promise = &self.promise;
        let places = Places::open(&self.config, &promise.destinations.hops, &promise.owner).await;
        let limit = (run.work_until.saturating_duration_since(Instant::now()) / 3).min(ELSEWHERE);
        let seen = observe::everything(&places, promise, limit).await?;
        let steps = plan::plan(&seen.observed, promise, wish, now);
        report.findings.extend(seen.findings);
        report.findings.extend(judge::judge(&seen.observed, promise, &steps, now));
        let posture = seen.observed.instance.iter().flat_map(|instance| posture::judge(instance, promise, now));
        // What should be otherwise some day is said once a day, what is wrong now every hour.
        report.findings.extend(posture.filter(|finding| *wish != Wish::Reconcile || finding.severity > Severity::Warning));
        tally::facts(report, &seen.observed, promise, now);
        if dry_run {
            return dry(report, &steps, run);
        }
        let acted = act::act(&steps, &places, promise, run).await;
        report.findings.extend(acted.findings.iter().cloned());
        tally::done(report, &steps, &acted, promise);
        let is_news = acted.taken > 0 || report.findings.iter().any(|finding| finding.severity > Severity::Note);
        Ok(Answer { reply: None, only_answered: *wish == Wish::Reconcile && !is_news })
    }

    /// A pipeline's snapshot: made by the first call, found by the others. They look at no more than they need, for they come often.
    async fn pre_deploy(&self, wish: &Wish, dry_run: bool, now: DateTime<Utc>, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let places = Places::home_only(&self.config);
        let seen = observe::home(&places, &self.promise).await?;
        let steps = plan::plan(&seen.observed, &self.promise, wish, now);
        if dry_run {
            return dry(report, &steps, run);
        }
        let acted = act::act(&steps, &places, &self.promise, run).await;
        report.findings.extend(acted.findings.iter().cloned());
        let state = self.state(wish, &seen.observed, &steps, &acted);
        tally::done(report, &steps, &acted, &self.promise);
        report.count("snapshotPercent", u64::try_from(state.percent).unwrap_or(0), Unit::Count);
        report.summary = format!("snapshot {} is {}", state.id, state.status);
        let only_answered = acted.taken == 0 && state.status != "failed";
        let reply =
            json!({"snapshot": state.id, "arn": state.arn, "status": state.status, "percent": state.percent, "report": finished(report, run)?});
        Ok(Answer { reply: Some(reply), only_answered })
    }

    /// What a pipeline is told: of the snapshot that was just made, or found; without one, whether to ask again.
    fn state(&self, wish: &Wish, observed: &Observed, steps: &[Step], acted: &Acted) -> State {
        let owner = &self.promise.owner;
        let Wish::PreDeploy { request_id, .. } = wish else { return State::default() };
        let purpose = Purpose::PreDeploy(request_id.clone());
        let meant = steps.iter().find_map(|step| if let What::Create { id, .. } = &step.what { Some(id.clone()) } else { None });
        let id = meant.unwrap_or_else(|| owner.id(&purpose, 1));
        let of_status = |status| State { id: id.clone(), arn: None, status, percent: 0 };
        if let Some(refusal) = &acted.create_refused {
            return of_status(if refusal.passes { "creating" } else { "failed" });
        }
        let waits = steps.iter().filter_map(|step| step.finding.as_ref()).any(|finding| finding.kind == FindingKind::InstanceNotAvailable);
        match acted.created.as_ref().or_else(|| creation::of_purpose(observed, owner, &purpose)) {
            Some(_) if waits => of_status("creating"),
            Some(snapshot) => State {
                id: snapshot.id.clone(),
                arn: Some(snapshot.arn.clone()).filter(|arn| !arn.is_empty()),
                status: tally::word(snapshot),
                percent: snapshot.percent,
            },
            None => of_status(if waits { "creating" } else { "failed" }),
        }
    }
}

/// What a pipeline is told of its snapshot.
#[derive(Default)]
struct State {
    id: String,
    arn: Option<String>,
    status: &'static str,
    percent: i32,
}

/// The report, with the steps that a run would take.
fn dry(report: &mut Report, steps: &[Step], run: &Run) -> Result<Answer, Failure> {
    report.findings.extend(steps.iter().filter_map(|step| step.finding.clone()));
    tally::planned(report, steps);
    let mut reply = finished(report, run)?;
    reply["steps"] = tally::listed(steps);
    Ok(Answer { reply: Some(reply), only_answered: true })
}

/// The report as it will be, for a reply that carries it.
fn finished(report: &Report, run: &Run) -> Result<Value, Failure> {
    let mut report = report.clone();
    report.finish(run.now());
    serde_json::to_value(report).context("write the report")
}
