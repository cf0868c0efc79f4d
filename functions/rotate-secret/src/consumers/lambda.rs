//! Lambda: the value is written to a variable of the function's environment, and all others are kept.
//!
//! There is no call that sets one variable: the whole environment is read and written. So it is written against the revision that was read, and an environment that
//! could not be read (its key denied, say) is never written: that would remove what is in it.

use std::collections::HashMap;

use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{Environment, LastUpdateStatus};
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::secrets::ExposeSecret;

use super::{Progress, Told};
use crate::journal::Refresh;
use crate::remark::{Remark, Weight};
use crate::store::of_kind;

const ATTEMPTS_MAX: usize = 4;
/// All variables of a function together (Lambda's quotas).
const ENVIRONMENT_BYTES_MAX: usize = 4096;

/// Writes the variable, unless it has the value.
pub(super) async fn begin(client: &aws_sdk_lambda::Client, function: &str, variable: &str, told: Told<'_>) -> Result<Refresh, Failure> {
    refuse_version(function)?;
    for _ in 0..ATTEMPTS_MAX {
        let configuration = configuration(client, function).await?;
        let mut variables = variables(&configuration)?;
        let revision = configuration.revision_id().map(str::to_owned);
        let value = told.value.expose_secret().to_owned();
        if variables.insert(variable.to_owned(), value.clone()).as_ref() == Some(&value) {
            return Ok(Refresh { handle: revision, begun_at: told.now, done_at: None });
        }
        let environment = Environment::builder().set_variables(Some(variables)).build();
        let call = client.update_function_configuration().function_name(function).environment(environment).set_revision_id(revision);
        let failure = match call.send().await {
            Ok(answer) => return Ok(Refresh { handle: answer.revision_id, begun_at: told.now, done_at: None }),
            Err(error) => aws::failure(error),
        };
        let text = failure.to_string();
        if text.contains("ResourceConflict") {
            return Err(of_kind(failure, FailureKind::GaveWay).hint("the function is being updated; it is told when that is over"));
        }
        // Somebody changed it between the two calls: their change is read, and kept.
        if !text.contains("PreconditionFailed") {
            return Err(failure.context("write the function's environment (lambda:UpdateFunctionConfiguration)"));
        }
    }
    Err(Failure::new(FailureKind::GaveWay, "somebody else changes the function all the time").hint("the next invocation tries again"))
}

/// Looks whether the update is over.
pub(super) async fn look(client: &aws_sdk_lambda::Client, function: &str) -> Result<Progress, Failure> {
    let configuration = configuration(client, function).await?;
    Ok(match configuration.last_update_status() {
        Some(LastUpdateStatus::InProgress) => Progress::UnderWay,
        Some(LastUpdateStatus::Failed) => {
            let code = configuration.last_update_status_reason_code().map_or("no reason given", |code| code.as_str());
            Progress::Failed(format!("the function's update failed: {code}"))
        }
        _ => Progress::Done,
    })
}

/// What can be said without an update.
pub(super) async fn check(client: &aws_sdk_lambda::Client, function: &str, variable: &str, bytes: usize) -> Result<Vec<Remark>, Failure> {
    let refused = |failure: Failure| Ok(vec![Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default())]);
    if let Err(failure) = refuse_version(function) {
        return refused(failure);
    }
    let configuration = match configuration(client, function).await {
        Ok(configuration) => configuration,
        Err(failure) if failure.kind == FailureKind::BadSettings => return refused(failure),
        Err(failure) => return Err(failure),
    };
    let variables = match variables(&configuration) {
        Ok(variables) => variables,
        Err(failure) => return refused(failure),
    };
    let mut remarks = Vec::new();
    if !variables.contains_key(variable) {
        let what = format!("the function {function} has no variable {variable} yet: it would be added");
        remarks.push(Remark::new(Weight::Warning, what, "correct `variable` in the definition, if the function reads the value under another name"));
    }
    let others: usize = variables.iter().filter(|(name, _)| *name != variable).map(|(name, value)| name.len() + value.len()).sum();
    let after = others + variable.len() + bytes;
    if after > ENVIRONMENT_BYTES_MAX {
        let what = format!("the environment of the function {function} would have {after} bytes, and Lambda takes {ENVIRONMENT_BYTES_MAX}");
        remarks.push(Remark::new(Weight::Refused, what, "let the function read the value itself, from the place where it lies"));
    }
    let what = format!("whether lambda:UpdateFunctionConfiguration on {function} is allowed shows only when it is called");
    remarks.push(Remark::new(Weight::Unpredictable, what, "the statement is in the function's role; see `simulate-principal-policy` of IAM"));
    Ok(remarks)
}

async fn configuration(client: &aws_sdk_lambda::Client, function: &str) -> Result<GetFunctionConfigurationOutput, Failure> {
    client.get_function_configuration().function_name(function).send().await.map_err(|error| {
        let failure = aws::failure(error).context("read the function's configuration (lambda:GetFunctionConfiguration)");
        if failure.to_string().contains("ResourceNotFound") {
            return of_kind(failure, FailureKind::BadSettings).hint("correct `lambda` in the definition, or take the consumer out of it");
        }
        failure
    })
}

/// The variables; none where the function has none, and a failure where Lambda cannot show them.
fn variables(configuration: &GetFunctionConfigurationOutput) -> Result<HashMap<String, String>, Failure> {
    let Some(environment) = configuration.environment() else { return Ok(HashMap::new()) };
    if let Some(error) = environment.error() {
        let code = error.error_code().unwrap_or("no code given");
        return Err(Failure::new(
            FailureKind::Denied,
            format!("Lambda does not show the function's environment ({code}), so it cannot be written without loss"),
        )
        .hint("allow kms:Decrypt on the function's key to this function's role"));
    }
    Ok(environment.variables().cloned().unwrap_or_default())
}

/// A published version never changes.
fn refuse_version(function: &str) -> Result<(), Failure> {
    let qualifier = match function.strip_prefix("arn:") {
        Some(_) => function.split(':').nth(7),
        None => function.split(':').nth(1),
    };
    match qualifier {
        None | Some("$LATEST") => Ok(()),
        Some(qualifier) => Err(Failure::new(
            FailureKind::BadSettings,
            format!("{qualifier:?} is a version or an alias of a function, and a published version's environment never changes"),
        )
        .hint("name the function without it, and let it read the value itself where it is called by version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_from_a_function() {
        for function in ["worker", "arn:aws:lambda:eu-central-1:123456789012:function:worker", "worker:$LATEST"] {
            assert!(refuse_version(function).is_ok(), "{function}");
        }
        for version in ["worker:3", "worker:live", "arn:aws:lambda:eu-central-1:123456789012:function:worker:live"] {
            assert!(refuse_version(version).is_err(), "{version}");
        }
    }
}
