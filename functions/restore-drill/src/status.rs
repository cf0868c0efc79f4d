//! How far is a drill? From what it wrote down, and from the clock.

use aws_config::SdkConfig;
use serde_json::{Value, json};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::store::Store;

use crate::config::Settings;
use crate::identity::DrillId;
use crate::observe;
use crate::step::Milestone;

/// The state of a drill: `running`, `succeeded`, `failed`, with what it has reached and, at the end, its result.
///
/// # Errors
/// When there is no such drill, or something cannot be read.
pub async fn status(store: &Store, config: &SdkConfig, settings: &Settings, drill: &DrillId) -> Result<Value, Failure> {
    let plan = observe::plan(store, drill).await?;
    let reached = observe::reached(store, drill).await?;
    let clock = match settings.machine_arn.as_deref().and_then(|machine| execution_arn(machine, drill)) {
        Some(arn) => Some(execution(config, &arn).await?),
        None => None,
    };
    let result = read(store, &drill.key(Milestone::Judged.object())).await?;
    let failed = read(store, &drill.key(Milestone::Failed.object())).await?;
    let outcome = result.as_ref().and_then(|result| result["outcome"].as_str());
    let state = match (reached.contains(&Milestone::Closed), outcome) {
        (true, Some("ok" | "attention")) => "succeeded",
        (true, _) => "failed",
        (false, _) => "running",
    };
    Ok(json!({
        "drill": drill,
        "state": state,
        "source": plan.source.in_words(),
        "requestedAt": plan.requested_at,
        "giveUpAt": plan.give_up_at,
        "reached": reached,
        "clock": clock,
        "failure": failed.map(|failed| failed["why"].clone()),
        "result": result,
    }))
}

async fn read(store: &Store, key: &str) -> Result<Option<Value>, Failure> {
    let Some(bytes) = store.get(key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Failure::new(FailureKind::Corrupt, format!("{}: {error}", store.address(key))))
}

/// `arn:…:stateMachine:NAME` and a name give `arn:…:execution:NAME:EXECUTION`.
fn execution_arn(machine: &str, drill: &DrillId) -> Option<String> {
    let (before, name) = machine.split_once(":stateMachine:")?;
    Some(format!("{before}:execution:{name}:{drill}"))
}

/// The clock's own word: `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED`; `NONE` when it was never started.
async fn execution(config: &SdkConfig, arn: &str) -> Result<String, Failure> {
    match aws_sdk_sfn::Client::new(config).describe_execution().execution_arn(arn).send().await {
        Ok(answer) => Ok(answer.status.as_str().to_owned()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_sfn::operation::describe_execution::DescribeExecutionError::is_execution_does_not_exist) =>
        {
            Ok("NONE".to_owned())
        }
        Err(error) => Err(aws::failure(error).context("describe the clock (states:DescribeExecution)")),
    }
}
