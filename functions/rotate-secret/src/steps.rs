//! Secrets Manager's four steps, over the same rotation: each step is the same code, stopped where the step ends.
//!
//! A step may come again, late, or alone (Secrets Manager tests a new configuration with `testSecret` only). The version that is being made is the rotation:
//! its token is the rotation's name.

use shared::failure::{Failure, FailureKind};
use shared::report::Report;

use crate::acting::{CredentialHands, Tools};
use crate::definition::{Database, Definitions};
use crate::hands::{Credential, DatabaseHands, Fence, Hands};
use crate::identity::RotationId;
use crate::journal::Purpose;
use crate::plan::Proof;
use crate::request::StepEvent;
use crate::rotation::{Ask, Progress, Stop, rotate};
use crate::store::{Preamble, Step, Store, preamble};
use crate::target;
use crate::telling::Told;
use crate::value::{Form, Value};

/// Does a step; in words, what came of it.
pub(crate) async fn step(tools: &Tools<'_>, definitions: &Definitions, event: &StepEvent, report: &mut Report) -> Result<String, Failure> {
    let definition = of(definitions, &event.secret_id)?;
    let token = &event.client_request_token;
    let mut hands = CredentialHands::new(tools, definition, Some(token.clone()))?;
    let described = match hands.store() {
        Store::Secret(store) => store.describe().await?,
        Store::Parameter(_) => return Err(Failure::new(FailureKind::BadRequest, "the definition is of a parameter, and the event of a secret")),
    };
    let step = match preamble(&event.step, token, &described)? {
        Preamble::NothingToDo => {
            report.summary = format!("{}: the version {token} is the live one", definition.name);
            return Ok(report.summary.clone());
        }
        Preamble::Do(step) => step,
    };
    let result = drive(&mut hands, definition, token, step, report).await;
    hands.close().await;
    result?;
    Ok(report.summary.clone())
}

async fn drive(hands: &mut CredentialHands<'_>, definition: &Database, token: &str, step: Step, report: &mut Report) -> Result<(), Failure> {
    let rotation = RotationId::of_token(&definition.name, token);
    let (asked, until) = match step {
        Step::Create => (Ask::Begin(rotation.clone(), Purpose::Rotation), Some(Stop::BeforeChange)),
        Step::Set => (Ask::GoOn, Some(Stop::BeforeProof)),
        Step::Test => (Ask::GoOn, Some(Stop::BeforePublication)),
        Step::Finish => (Ask::GoOn, None),
    };
    if step == Step::Test && !is_open(hands, &rotation).await? {
        return configuration_test(hands, definition, token, report).await;
    }
    let run = rotate(hands, &target(definition, until)?, &asked).await?;
    Told { secret: &definition.name, progress: &run.progress, journal: run.journal.as_ref(), overtaken: run.overtaken.as_deref(), now: hands.now() }
        .tell(report);
    let journal = run.journal.as_ref().filter(|journal| journal.rotation == rotation);
    let reached = match (step, journal) {
        // Another rotation is open: that one goes on, and this one has to wait for it.
        (_, None) => false,
        (Step::Create, Some(journal)) => {
            let pending = journal.pending.clone().zip(journal.user.clone());
            if let Some((password, user)) = pending {
                hands.prepare(&Credential { user, password: password.0 }, journal).await?;
            }
            true
        }
        (Step::Finish, Some(journal)) => journal.published_at.is_some(),
        (Step::Set | Step::Test, Some(_)) => matches!(&run.progress, Progress::Open { waiting: crate::plan::Waiting::Time, .. }),
    };
    if reached {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Conflict, format!("the step {step:?} has not come to its end: {}", report.summary))
        .hint("Secrets Manager calls again; the sweeper goes on with what is open"))
}

async fn is_open(hands: &mut CredentialHands<'_>, rotation: &RotationId) -> Result<bool, Failure> {
    Ok(hands.journal().await?.is_some_and(|journal| journal.is_open() && journal.rotation == *rotation))
}

/// `testSecret` alone: what is pending logs in, or, where nothing is, what is live.
async fn configuration_test(hands: &mut CredentialHands<'_>, definition: &Database, token: &str, report: &mut Report) -> Result<(), Failure> {
    if let Fence::Busy(who) = hands.fence().await? {
        return Err(Failure::new(FailureKind::Conflict, format!("another invocation is at it: {who}")));
    }
    let live = hands.live(None).await?.credential;
    let pending = match hands.store() {
        Store::Secret(store) => store.pending(token).await?,
        Store::Parameter(_) => None,
    };
    let tried = match pending {
        Some(text) => {
            let value = Value::read(&Form::from(definition), &text)?;
            Credential { user: value.user().to_owned(), password: value.password().cloned().unwrap_or_default() }
        }
        None => live,
    };
    match hands.prove(&tried, None).await? {
        Proof::Works => {
            report.summary = format!("{}: the credential of {} logs in", definition.name, tried.user);
            Ok(())
        }
        other => Err(Failure::new(FailureKind::BadSettings, format!("the credential of {} does not log in everywhere: {other:?}", tried.user))
            .hint("call {\"kind\":\"rotate\",\"dryRun\":true} to see what is in the way")),
    }
}

/// The definition of a secret, by name or ARN. An ARN ends with a dash and six characters that Secrets Manager adds to the name.
fn of<'a>(definitions: &'a Definitions, secret_id: &str) -> Result<&'a Database, Failure> {
    let name = secret_id.rsplit(':').next().unwrap_or(secret_id);
    let without_suffix = name.rsplit_once('-').filter(|(_, suffix)| suffix.len() == 6).map_or(name, |(name, _)| name);
    let is = |definition: &&Database| definition.secret.as_deref().is_some_and(|secret| [secret_id, name, without_suffix].contains(&secret));
    definitions.database.iter().find(is).ok_or_else(|| {
        Failure::new(FailureKind::BadSettings, format!("no definition is of the secret {secret_id}"))
            .hint("add a [[database]] with `secret = \"NAME\"` to the definitions; keys are rotated by our own schedule, not by Secrets Manager's")
    })
}
