//! What Secrets Manager's contract asks before each of its four steps, as one function over DescribeSecret's answer.
//!
//! The service calls a rotation function once for each step, may call any of them again, and at the configuration's test calls `testSecret` alone. The order
//! of the questions is that of AWS's published template; the newer spelling of the steps (`create_secret`) appears in a part of its documentation.

use std::collections::HashMap;

use shared::failure::{Failure, FailureKind};

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PENDING: &str = "AWSPENDING";

/// A step of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new value is staged.
    Create,
    /// It is brought into the database.
    Set,
    /// It is tried.
    Test,
    /// It is published.
    Finish,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// The version is current already: every step was done.
    NothingToDo,
    /// This step.
    Do(Step),
}

/// What DescribeSecret says, as far as it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The name.
    pub name: String,
    /// Whether rotation is switched on; none if the answer does not say.
    pub rotation_enabled: Option<bool>,
    /// The service that made the secret and rotates it itself.
    pub owning_service: Option<String>,
    /// The labels of each version.
    pub stages: HashMap<String, Vec<String>>,
}

impl Described {
    /// The version that readers get.
    pub fn current(&self) -> Option<&str> {
        self.with(CURRENT)
    }

    /// The version that is being made.
    pub fn pending(&self) -> Option<&str> {
        self.with(PENDING)
    }

    fn with(&self, stage: &str) -> Option<&str> {
        self.stages.iter().find(|(_, stages)| stages.iter().any(|one| one == stage)).map(|(version, _)| version.as_str())
    }
}

/// What is to be done at a step that Secrets Manager asks for, for the version of this token.
///
/// # Errors
/// When the contract says that nothing may be done. The service shows the message, and tries again later.
pub fn preamble(step: &str, token: &str, secret: &Described) -> Result<Preamble, Failure> {
    let name = &secret.name;
    let refused = |what: String| Failure::new(FailureKind::BadRequest, what);
    let step = match step {
        "createSecret" | "create_secret" => Step::Create,
        "setSecret" | "set_secret" => Step::Set,
        "testSecret" | "test_secret" => Step::Test,
        "finishSecret" | "finish_secret" => Step::Finish,
        _ => return Err(refused(format!("{step:?} is not a step of Secrets Manager's rotation"))),
    };
    refuse_owned(secret)?;
    if secret.rotation_enabled == Some(false) {
        return Err(
            refused(format!("rotation of the secret {name} is switched off")).hint(format!("aws secretsmanager rotate-secret --secret-id {name} …"))
        );
    }
    let Some(stages) = secret.stages.get(token) else {
        return Err(refused(format!("the secret {name} has no version {token} to rotate to")));
    };
    let has = |stage: &str| stages.iter().any(|one| one == stage);
    if has(CURRENT) {
        return Ok(Preamble::NothingToDo);
    }
    if !has(PENDING) {
        return Err(refused(format!("the version {token} of the secret {name} is not staged as {PENDING}"))
            .hint("somebody wrote the secret meanwhile, and Secrets Manager gave this rotation up: start another one"));
    }
    Ok(Preamble::Do(step))
}

/// A secret that a service keeps is that service's to rotate.
pub(super) fn refuse_owned(secret: &Described) -> Result<(), Failure> {
    let Some(owner) = &secret.owning_service else { return Ok(()) };
    Err(Failure::new(FailureKind::BadSettings, format!("the secret {} is managed by {owner}, which rotates it itself", secret.name))
        .hint("leave a managed master user to RDS (aws rds modify-db-instance --rotate-master-user-password), take it out of the definitions, and give applications users of their own"))
}

#[cfg(test)]
#[path = "preamble_tests.rs"]
mod tests;
