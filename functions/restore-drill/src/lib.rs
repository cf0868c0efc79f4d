//! `restore-drill`: restores a backup, proves it, measures what that took, rehearses migrations on the copy, and removes it again.
//!
//! A reconciler: each invocation looks at what is there, decides one step ([`step::next_step`], pure), takes it and returns. What has been reached is in the
//! bucket and in tags, never in memory; a state machine is only the clock. It never touches an instance that is not of its own making.

pub mod act;
pub mod archive;
mod chart;
pub mod checks;
pub mod config;
pub mod deploy_gate;
pub mod history;
pub mod identity;
pub mod ledger;
pub mod observe;
pub mod page;
pub mod plan;
pub mod reading;
pub mod rehearsal;
pub mod request;
pub mod result;
pub mod sources;
pub mod start;
pub mod statement;
pub mod status;
pub mod step;
pub mod sweep;
pub mod tell;
pub mod work;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::env::Reader;
use shared::failure::{Context, Failure};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::Report;
use shared::snapshot::Owner;
use shared::store::Store;

use crate::act::Hands;
use crate::config::Settings;
use crate::identity::DrillId;
use crate::request::{Drill, Request as DrillRequest};
use crate::start::Start;
use crate::step::{Milestone, Step, next_step};

/// Seconds between two looks at RDS, which takes minutes for everything. An execution has at most 25,000 events (Step Functions quotas), and a look is nine.
const WAIT_SECONDS: u64 = 60;

/// The function.
pub struct RestoreDrill {
    settings: Settings,
    owner: Owner,
    store: Store,
    config: SdkConfig,
    home: String,
}

impl Function for RestoreDrill {
    const NAME: &'static str = "restore-drill";
    type Request = DrillRequest;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        Self {
            settings: Settings::read(reader, &deployment.stage),
            owner: Owner { stage: deployment.stage.clone(), instance: deployment.instance.clone() },
            store: Store::new(aws_sdk_s3::Client::new(config), &deployment.bucket),
            config: config.clone(),
            home: config.region().map_or_else(String::new, ToString::to_string),
        }
    }

    fn slot(request: &DrillRequest, run: &Run) -> DateTime<Utc> {
        match request {
            DrillRequest::Drill(drill) => drill.scheduled_at.unwrap_or(run.started_at),
            DrillRequest::Sweep(sweep) | DrillRequest::SweepDatabases(sweep) => sweep.scheduled_at.unwrap_or(run.started_at),
            DrillRequest::Status(about) | DrillRequest::Work(about) => about.drill.slot(),
            DrillRequest::Gate(gate) => gate.drill.slot(),
            DrillRequest::Step(step) => step.drill.slot(),
            DrillRequest::TearDown(down) => down.drill.slot(),
        }
    }

    async fn handle(&self, request: DrillRequest, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        // What a schedule meant is what expiry is measured against; without one, it is now.
        let slot = Self::slot(&request, run);
        match request {
            DrillRequest::Drill(drill) => self.drill(&drill, run, report).await,
            DrillRequest::Status(about) => self.status(&about.drill, report).await,
            DrillRequest::Step(step) => self.step(&step.drill, step.reported, run, report).await,
            DrillRequest::Gate(gate) => {
                let reply = deploy_gate::decide(&self.store, &self.config, &self.home, &gate, run.now(), report).await?;
                Ok(Answer { reply: Some(reply), only_answered: false })
            }
            DrillRequest::TearDown(down) => self.tear_down(&down.drill, down.error.as_ref(), run).await,
            DrillRequest::Sweep(sweep) => {
                let broom = sweep::Broom {
                    store: &self.store,
                    config: &self.config,
                    settings: &self.settings,
                    owner: &self.owner,
                    home: &self.home,
                    dry_run: sweep.dry_run,
                };
                broom.sweep(slot, report).await?;
                // Nothing found is no news.
                Ok(Answer { reply: None, only_answered: sweep.dry_run || report.findings.is_empty() })
            }
            DrillRequest::Work(about) => {
                let reply = Box::pin(self.hands().go_on(&about.drill, run, report)).await?;
                Ok(Answer { reply: Some(reply), only_answered: true })
            }
            DrillRequest::SweepDatabases(sweep) => {
                work::sweep(&self.hands(), sweep.dry_run, slot, report).await?;
                Ok(Answer { reply: None, only_answered: sweep.dry_run || report.findings.is_empty() })
            }
        }
    }
}

impl RestoreDrill {
    fn hands(&self) -> work::Work<'_> {
        work::Work { store: &self.store, config: &self.config, settings: &self.settings, owner: &self.owner }
    }

    async fn drill(&self, request: &Drill, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        // The same slot and the same request are the same drill; without a slot, Lambda's retries of one call are.
        let distinguishing = match request.scheduled_at {
            Some(_) => serde_json::to_string(request).context("write the request")?,
            None => run.request_id.clone(),
        };
        let drill = DrillId::new(request.scheduled_at.unwrap_or(run.started_at), &distinguishing);
        let start = Start { store: &self.store, config: &self.config, settings: &self.settings, owner: &self.owner, home: &self.home };
        let plan = start.decide(request, drill, run.now()).await?;
        report.summary = format!("a drill of the {} begins", plan.source.in_words());
        let mut reply =
            if request.dry_run { json!({"drill": plan.drill, "source": plan.source.in_words(), "plan": plan}) } else { start.begin(&plan).await? };
        reply["summary"] = json!(report.summary);
        Ok(Answer { reply: Some(reply), only_answered: true })
    }

    async fn status(&self, drill: &DrillId, report: &mut Report) -> Result<Answer, Failure> {
        let status = status::status(&self.store, &self.config, &self.settings, drill).await?;
        report.summary = format!("the drill {drill} is {}", status["state"].as_str().unwrap_or("unknown"));
        Ok(Answer { reply: Some(status), only_answered: true })
    }

    /// The clock's tick: looks, decides, acts, and says what the clock does next.
    async fn step(&self, drill: &DrillId, reported: bool, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let observed = observe::everything(&self.store, &self.config, &self.settings, &self.owner, drill, reported).await?;
        let now = run.now();
        let decision = next_step(&observed, now);
        tracing::info!(drill = drill.as_str(), step = ?decision.step, why = decision.why, "step");
        report.summary.clone_from(&decision.why);
        let hands = Hands { store: &self.store, config: &self.config, settings: &self.settings, observed: &observed, now };
        let next = match decision.step {
            Step::Create => {
                hands.create().await?;
                "wait"
            }
            Step::Wait => "wait",
            Step::NoteAvailable => {
                hands.reach(Milestone::Available, json!({})).await?;
                "step"
            }
            Step::KeepSecret => {
                hands.keep_secret().await?;
                "step"
            }
            Step::Harden => {
                hands.harden().await?;
                "wait"
            }
            Step::Reboot => {
                hands.reboot().await?;
                "wait"
            }
            Step::CheckIsolation => {
                hands.check_isolation().await?;
                "step"
            }
            Step::Work | Step::WorkDown => "work",
            Step::Fail => {
                hands.reach(Milestone::Failed, json!({"why": decision.why})).await?;
                "step"
            }
            Step::Judge => {
                tell::judge(&hands).await?;
                "step"
            }
            Step::Delete => {
                hands.delete().await?;
                "wait"
            }
            Step::Promote => {
                hands.promote().await?;
                "wait"
            }
            Step::ForgetSecret => {
                hands.forget_secret().await?;
                "step"
            }
            Step::Report { clean } => {
                let verdict = tell::report(&hands, clean, report).await?;
                let reply = json!({"drill": drill, "next": "close", "waitSeconds": 0, "why": decision.why, "verdict": verdict});
                return Ok(Answer { reply: Some(reply), only_answered: false });
            }
            Step::Close => {
                hands.reach(Milestone::Closed, json!({})).await?;
                "step"
            }
            Step::Finished => tell::end(&hands).await?,
        };
        Ok(answer(drill, next, &decision.why))
    }

    /// The clock could not go on: this is the end of the way up.
    async fn tear_down(&self, drill: &DrillId, error: Option<&Value>, run: &Run) -> Result<Answer, Failure> {
        let observed = observe::everything(&self.store, &self.config, &self.settings, &self.owner, drill, false).await?;
        let hands = Hands { store: &self.store, config: &self.config, settings: &self.settings, observed: &observed, now: run.now() };
        let said = |field: &str| error.and_then(|error| error.get(field)).and_then(Value::as_str).unwrap_or_default().to_owned();
        let why = format!("a step failed again and again: {} {}", said("Error"), cause(&said("Cause")));
        hands.reach(Milestone::Failed, json!({"why": why.trim_end()})).await?;
        Ok(answer(drill, "step", &why))
    }
}

/// Lambda gives its error as JSON within the cause.
fn cause(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|cause| cause.get("errorMessage").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| text.to_owned())
}

fn answer(drill: &DrillId, next: &str, why: &str) -> Answer {
    let reply = json!({"drill": drill, "next": next, "waitSeconds": WAIT_SECONDS, "why": why});
    Answer { reply: Some(reply), only_answered: true }
}
