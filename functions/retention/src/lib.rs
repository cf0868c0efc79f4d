//! `retention`: deletes the backups that no rule keeps, snapshots and archives alike, and measures once a day how old the newest good one of every sort is.
//!
//! It is the only function that deletes. It looks, plans ([`plan`]: pure, each decision with its reason), and does what the plan says. It never deletes the newest
//! good backup of a sort, nor one of the newest few, nor what it did not make, nor what a copy needs, nor more than so many in a run. A dry run answers with
//! the very list that a run would carry out.

pub mod access;
pub mod archive_state;
pub mod archives;
mod chain;
pub mod config;
pub mod decision;
pub mod execute;
pub mod gauge;
pub mod look;
pub mod model;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod policy;
pub mod request;
pub mod snapshots;
pub mod tally;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::env::Reader;
use shared::failure::{Context, Failure};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::Report;
use shared::snapshot::Owner;

use crate::access::Access;
use crate::config::Settings;
use crate::decision::Decision;
use crate::look::{Look, Seen};
use crate::model::Observed;
use crate::plan::Limits;
use crate::request::Request as RetentionRequest;

/// The function.
pub struct Retention {
    settings: Settings,
    owner: Owner,
    bucket: String,
    home: String,
    access: Access,
}

impl Function for Retention {
    const NAME: &'static str = "retention";
    type Request = RetentionRequest;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        let home = Access::home(config);
        Self {
            settings: Settings::read(reader, &home),
            owner: Owner { stage: deployment.stage.clone(), instance: deployment.instance.clone() },
            bucket: deployment.bucket.clone(),
            home,
            access: Access::new(config),
        }
    }

    fn slot(request: &RetentionRequest, run: &Run) -> DateTime<Utc> {
        request.scheduled_at.unwrap_or(run.started_at)
    }

    async fn handle(&self, request: RetentionRequest, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let at = Self::slot(&request, run);
        let (settings, owner) = (&self.settings, &self.owner);
        let look = Look { settings, owner, home: &self.home, bucket: &self.bucket, access: &self.access, at, until: run.work_until };
        let Seen { observed, databases, quotas, findings, clients } = Box::pin(look.everything()).await?;
        report.findings.extend(findings);
        report.findings.extend(tally::of_quotas(&quotas, &observed, settings.quota_warn_percent));
        let gauges = gauge::gauges(&observed, settings, &databases, at);
        report.findings.extend(gauge::findings(&gauges));
        for (fact, age) in gauge::facts(&gauges) {
            report.hours(fact, age.as_seconds_f64() / 3600.0);
        }

        let limits = Limits { floor: settings.floor, deletions_max: settings.deletions_max, now: run.now() };
        let decisions = plan::plan(&observed, &settings.policies, &limits);
        report.findings.extend(tally::of_plan(&decisions, &observed));
        let tally =
            if request.dry_run { None } else { Some(Box::pin(execute::execute(&decisions, &observed, &clients, owner, run.work_until)).await) };
        report.findings.extend(tally.as_ref().map(tally::of_deletions).unwrap_or_default());
        tally::describe(report, &decisions, &gauges, tally.as_ref());
        Ok(Answer { reply: Some(reply(report, &decisions, &observed, run)?), only_answered: request.dry_run })
    }
}

/// The report as it stands, and the list of the decisions.
fn reply(report: &Report, decisions: &[Decision<'_>], observed: &Observed, run: &Run) -> Result<Value, Failure> {
    let mut report = report.clone();
    report.finish(run.now());
    let mut reply = serde_json::to_value(&report).context("write the answer")?;
    let list = decisions.iter().map(|one| json!({"action": one.action.name(), "what": observed.name(one.what), "why": one.reason(observed)}));
    reply["decisions"] = list.collect();
    Ok(reply)
}
