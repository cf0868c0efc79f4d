//! `rotate-secret`: gives PostgreSQL users and applications new credentials, so that at no moment, after no crash, anybody is locked out.
//!
//! What happens next is decided by a pure planner ([`plan`], [`keys`]) from what is there; an invocation goes as far as it can ([`rotation`]), and the next goes
//! on. What is about to happen stands in a journal before it happens.

pub mod acting;
pub mod config;
pub mod consumers;
pub mod database;
pub mod definition;
mod dry_run;
pub mod hands;
pub mod identity;
pub mod journal;
pub mod keys;
pub mod plan;
pub mod reconcile;
pub mod remark;
pub mod request;
pub mod rotation;
mod status;
mod steps;
pub mod store;
pub mod telling;
pub mod value;

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::json;
use shared::env::Reader;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::{Report, Unit};
use shared::secrets::{self, ExposeSecret};
use shared::store::Store as Bucket;

use crate::acting::{CredentialHands, SigningHands, Tools};
use crate::config::Settings;
use crate::consumers::Consumers;
use crate::definition::{Database, Definitions, Keys};
use crate::identity::RotationId;
use crate::journal::Purpose;
use crate::reconcile::Reconciled;
use crate::request::{Containment, Ours, Request, Rotate};
use crate::rotation::{Ask, Progress, Stop, Target};
use crate::store::Journals;
use crate::telling::{Record, Told};

/// The function.
pub struct RotateSecret {
    settings: Settings,
    instance: String,
    journals: Journals,
    bucket: Bucket,
    config: SdkConfig,
}

/// What a definition is about.
#[derive(Clone, Copy)]
enum Secret<'a> {
    Credential(&'a Database),
    Keys(&'a Keys),
}

impl<'a> Secret<'a> {
    fn all(definitions: &'a Definitions) -> impl Iterator<Item = Self> {
        definitions.database.iter().map(Self::Credential).chain(definitions.keys.iter().map(Self::Keys))
    }

    fn name(self) -> &'a str {
        match self {
            Self::Credential(database) => &database.name,
            Self::Keys(keys) => &keys.name,
        }
    }

    fn cadence(self) -> definition::Cadence {
        match self {
            Self::Credential(database) => database.cadence,
            Self::Keys(keys) => keys.cadence,
        }
    }
}

/// What one secret's part of an invocation did.
struct Done {
    progress: Progress,
    /// Whether anything was changed, and not only looked at.
    acted: bool,
}

impl Function for RotateSecret {
    const NAME: &'static str = "rotate-secret";
    type Request = Request;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        let settings = Settings::read(reader);
        Self {
            journals: Journals::new(config, &deployment.stage, settings.key_id.as_deref()),
            settings,
            instance: deployment.instance.clone(),
            bucket: Bucket::new(aws_sdk_s3::Client::new(config), &deployment.bucket),
            config: config.clone(),
        }
    }

    fn slot(request: &Request, run: &Run) -> DateTime<Utc> {
        let scheduled = match request {
            Request::Ours(Ours::Rotate(rotate)) => rotate.scheduled_at,
            Request::Ours(Ours::Sweep(sweep) | Ours::Status(sweep)) => sweep.scheduled_at,
            Request::Ours(Ours::Incident(_) | Ours::Reconcile(_)) | Request::Step(_) => None,
        };
        scheduled.unwrap_or(run.started_at)
    }

    async fn handle(&self, request: Request, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let consumers = Consumers::new(&self.config)?;
        let tools =
            Tools { settings: &self.settings, config: &self.config, instance: &self.instance, journals: &self.journals, consumers: &consumers, run };
        match request {
            Request::Step(event) => self.step(&tools, &event, report).await,
            Request::Ours(Ours::Rotate(rotate)) => self.rotate(&tools, &rotate, report).await,
            Request::Ours(Ours::Incident(incident)) => {
                let definitions = self.definitions().await?;
                let secret = named(&definitions, &incident.secret)?;
                if incident.dry_run {
                    return dry_run::dry_run(&tools, &[secret], report).await;
                }
                let purpose = match incident.containment {
                    Containment::AfterPublish => Purpose::Incident,
                    Containment::Now => Purpose::IncidentNow,
                };
                let ask = Ask::Begin(RotationId::new(secret.name(), run.started_at, &run.request_id), purpose);
                self.one(&tools, secret, &ask, report).await?;
                Ok(Answer::default())
            }
            Request::Ours(Ours::Reconcile(about)) => self.reconcile(&tools, about.secret.as_deref(), about.dry_run, report).await,
            Request::Ours(Ours::Sweep(sweep)) => self.sweep(&tools, sweep.scheduled_at, report).await,
            Request::Ours(Ours::Status(_)) => status::status(&tools, &self.definitions().await?, report).await,
        }
    }
}

fn named<'a>(definitions: &'a Definitions, name: &str) -> Result<Secret<'a>, Failure> {
    Secret::all(definitions).find(|secret| secret.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Secret::all(definitions).map(Secret::name).collect();
        Failure::new(FailureKind::BadRequest, format!("there is no definition {name:?}; there are: {}", names.join(", ")))
    })
}

impl RotateSecret {
    async fn definitions(&self) -> Result<Definitions, Failure> {
        let parameter = &self.settings.definitions_parameter;
        let text = secrets::parameter(&aws_sdk_ssm::Client::new(&self.config), parameter).await?;
        Definitions::read(text.expose_secret()).context(format!("read the parameter {parameter}"))
    }

    async fn rotate(&self, tools: &Tools<'_>, rotate: &Rotate, report: &mut Report) -> Result<Answer, Failure> {
        let definitions = self.definitions().await?;
        let chosen: Vec<Secret<'_>> = match (&rotate.secret, rotate.cadence) {
            (Some(name), None) => vec![named(&definitions, name)?],
            (None, Some(cadence)) => Secret::all(&definitions).filter(|secret| secret.cadence() == cadence).collect(),
            (None, None) if rotate.dry_run => Secret::all(&definitions).collect(),
            _ => return Err(Failure::new(FailureKind::BadRequest, "say what to rotate: either `secret` or `cadence`")),
        };
        if rotate.dry_run {
            return dry_run::dry_run(tools, &chosen, report).await;
        }
        if chosen.is_empty() {
            report.summary.push_str("no secret has this cadence");
        }
        // The same slot is the same rotation; without a slot, Lambda's retries of one call are.
        let slot = rotate.scheduled_at.unwrap_or(tools.run.started_at);
        let distinguishing = if rotate.scheduled_at.is_some() { format!("{:?}", rotate.cadence) } else { tools.run.request_id.clone() };
        let mut failed = None;
        for secret in chosen {
            let ask = Ask::Begin(RotationId::new(secret.name(), slot, &distinguishing), Purpose::Rotation);
            match self.one(tools, secret, &ask, report).await {
                // It was not begun; Lambda calls again, and those that were begun are the same rotations.
                Ok(Done { progress: Progress::Busy(who), .. }) => {
                    failed = Some(Failure::new(FailureKind::Conflict, format!("{}: another invocation is at it: {who}", secret.name())));
                }
                Ok(_) => {}
                // One that fails does not keep the others.
                Err(failure) => failed = Some(failure.context(format!("rotate {}", secret.name()))),
            }
        }
        failed.map_or(Ok(Answer::default()), Err)
    }

    /// Goes on with one secret, as far as this invocation gets; tells it, and records it.
    async fn one(&self, tools: &Tools<'_>, secret: Secret<'_>, ask: &Ask, report: &mut Report) -> Result<Done, Failure> {
        let (progress, journal, overtaken, steps, servers, acted) = match secret {
            Secret::Credential(definition) => {
                let mut hands = CredentialHands::new(tools, definition, None)?;
                let result = rotation::rotate(&mut hands, &target(definition, None)?, ask).await;
                let servers = std::mem::take(&mut hands.record);
                hands.close().await;
                let run = result?;
                let acted = run.steps.iter().any(plan::Step::acts);
                (run.progress, run.journal, run.overtaken, run.steps.iter().map(|step| format!("{step:?}")).collect(), servers, acted)
            }
            Secret::Keys(definition) => {
                let mut hands = SigningHands::new(tools, definition)?;
                let result = keys::rotate(&mut hands, &keys_target(definition), ask).await;
                hands.close().await;
                let run = result?;
                let acted = run.steps.iter().any(keys::Step::acts);
                (run.progress, run.journal, run.overtaken, run.steps.iter().map(|step| format!("{step:?}")).collect(), Vec::new(), acted)
            }
        };
        Told { secret: secret.name(), progress: &progress, journal: journal.as_ref(), overtaken: overtaken.as_deref(), now: tools.run.now() }
            .tell(report);
        if let Some(journal) = journal.as_ref().filter(|_| acted) {
            self.record(&Record::of(journal, steps, servers), tools.run.now(), report).await?;
        }
        Ok(Done { progress, acted })
    }

    async fn record(&self, record: &Record<'_>, at: DateTime<Utc>, report: &mut Report) -> Result<(), Failure> {
        let key = record.key(at);
        self.bucket.put(&key, serde_json::to_vec(record).context("write the record")?, "application/json").await?;
        report.link(format!("the record of {}", record.secret), format!("s3://{}/{key}", self.bucket.bucket));
        Ok(())
    }

    /// Only what is open goes on. Every minute, so it is told only when something was done, and once an hour while something is wrong.
    async fn sweep(&self, tools: &Tools<'_>, slot: Option<DateTime<Utc>>, report: &mut Report) -> Result<Answer, Failure> {
        let open = self.journals.open_ones().await?;
        report.count("rotationsOpen", open.open.len() as u64, Unit::Count);
        for (parameter, failure) in &open.refused {
            report.fail(parameter.as_str(), failure);
        }
        let mut acted = false;
        if open.open.is_empty() {
            report.summary.push_str("no rotation is open");
        } else {
            let definitions = self.definitions().await?;
            for journal in &open.open {
                let Ok(secret) = named(&definitions, &journal.secret) else {
                    let seen = format!("the rotation {} is open, and there is no definition of this name any more", journal.rotation);
                    let finding = Finding::new(FindingKind::RotationStuck, &journal.secret, seen);
                    report.findings.push(finding.hint("write the definition again until the rotation has ended"));
                    continue;
                };
                match self.one(tools, secret, &Ask::GoOn, report).await {
                    Ok(done) => acted |= done.acted,
                    Err(failure) => report.fail(secret.name(), &failure),
                }
            }
        }
        let is_hour = slot.is_some_and(|slot| slot.minute() == 0);
        let is_news = acted || (is_hour && !report.findings.is_empty());
        Ok(Answer { reply: None, only_answered: !is_news })
    }

    async fn reconcile(&self, tools: &Tools<'_>, name: Option<&str>, dry_run: bool, report: &mut Report) -> Result<Answer, Failure> {
        let definitions = self.definitions().await?;
        let chosen: Vec<&Database> = definitions.database.iter().filter(|one| name.is_none_or(|name| one.name == name)).collect();
        if chosen.is_empty() {
            return Err(Failure::new(FailureKind::BadRequest, format!("there is no credential of a database called {name:?}")));
        }
        let mut said = Vec::new();
        for definition in chosen {
            let mut hands = CredentialHands::new(tools, definition, None)?;
            let rotation = RotationId::new(&definition.name, tools.run.started_at, &tools.run.request_id);
            let result = reconcile::reconcile(&mut hands, &target(definition, None)?, &rotation, dry_run).await;
            hands.close().await;
            let (name, finding) = (&definition.name, |kind, seen: &str| Finding::new(kind, &definition.name, seen));
            match result.context(format!("reconcile {name}"))? {
                Reconciled::Agrees => said.push(format!("{name}: the live value logs in")),
                Reconciled::Mended => said.push(format!("{name}: the database accepts the live value again")),
                Reconciled::WouldMend => {
                    said.push(format!("{name}: the live value does not log in; its password would be set again"));
                    report.findings.push(finding(FindingKind::CredentialRejected, "the live value does not log in"));
                }
                Reconciled::WentOn(what) => said.push(format!("{name}: {what}")),
                Reconciled::Stuck(why) => {
                    said.push(format!("{name}: {why}"));
                    report.findings.push(finding(FindingKind::CredentialRejected, &why));
                }
            }
        }
        report.summary = said.join("; ");
        Ok(Answer { reply: None, only_answered: dry_run })
    }

    /// A step of Secrets Manager's.
    async fn step(&self, tools: &Tools<'_>, event: &request::StepEvent, report: &mut Report) -> Result<Answer, Failure> {
        let definitions = self.definitions().await?;
        let progress = steps::step(tools, &definitions, event, report).await?;
        Ok(Answer { reply: Some(json!({"step": event.step, "progress": progress})), only_answered: false })
    }
}

fn target(definition: &Database, stop: Option<Stop>) -> Result<Target, Failure> {
    let users = definition.users().map_err(|what| Failure::new(FailureKind::BadSettings, what))?;
    Ok(Target { secret: definition.name.clone(), users, grace: TimeDelta::hours(definition.grace_hours.into()), stop })
}

fn keys_target(definition: &Keys) -> keys::Target {
    let settle = definition.grace_hours.unwrap_or(if definition.consumers.is_empty() { 24 } else { 0 });
    keys::Target {
        secret: definition.name.clone(),
        settle: TimeDelta::hours(settle.into()),
        lifetime: TimeDelta::hours(definition.lifetime_hours.into()),
    }
}
