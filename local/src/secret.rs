//! Secrets Manager's side of a rotation in the local cloud: what became of it, and each step by hand, repeated, out of order, with a wrong token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};

use crate::attempt::failed;
use crate::cloud::Cloud;

const ROTATION_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// A step of the contract between Secrets Manager and a rotation function, in the order of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RotationStep {
    /// Make the new value, pending.
    Create,
    /// Put it into the database.
    Set,
    /// Prove that it works.
    Test,
    /// Make it the current one.
    Finish,
}

impl RotationStep {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Create, Self::Set, Self::Test, Self::Finish];

    /// As the event names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

/// A secret as Secrets Manager has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretState {
    /// ARN.
    pub arn: String,
    /// The version that is being rotated to, while the service does.
    pub under_way: Option<String>,
    /// What happened, in order: the service's events (`RotationStarted`, `RotationSucceeded`, …) and each step.
    pub events: Vec<RotationEvent>,
    /// The versions by id.
    pub versions: BTreeMap<String, SecretVersion>,
}

impl SecretState {
    /// The id of the version that carries a staging label.
    pub fn holder(&self, label: &str) -> Option<&str> {
        self.versions.iter().find(|(_, version)| version.stages.iter().any(|stage| stage == label)).map(|(id, _)| id.as_str())
    }

    /// Names of the events, in order.
    pub fn event_names(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.name.as_str()).collect()
    }
}

/// Something that happened to a rotation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationEvent {
    /// `RotationStarted`, `createSecret`, …
    pub name: String,
    /// Seconds since 1970.
    pub time: f64,
    /// The version it is about.
    pub version_id: Option<String>,
    /// Of a step: what was wrong.
    pub error: Option<String>,
}

/// A version of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretVersion {
    /// Staging labels.
    pub stages: Vec<String>,
    /// Whether it has no value.
    pub empty: bool,
}

/// What a step that was invoked by hand gave.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StepAnswer {
    /// What the function answered.
    pub payload: Value,
    /// What was wrong, if anything.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

impl Cloud {
    /// A secret, by name or ARN.
    ///
    /// # Errors
    /// When there is none.
    pub async fn secret(&self, account: &str, id: &str) -> Result<SecretState, Failure> {
        self.post("secret", &json!({"account": account, "id": id})).await.context(format!("look at the secret {id}"))
    }

    /// Waits until the service has ended its rotation, or its test of a configuration, one way or the other.
    ///
    /// # Errors
    /// When there is no such secret, or it takes too long.
    pub async fn wait_for_rotation(&self, account: &str, id: &str) -> Result<SecretState, Failure> {
        let deadline = Instant::now() + ROTATION_MAX;
        loop {
            let state = self.secret(account, id).await?;
            if state.under_way.is_none() {
                return Ok(state);
            }
            if Instant::now() > deadline {
                return Err(failed(format!("the rotation of {id} does not end: {state:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Makes an empty version that is `AWSPENDING`, as the service does before it invokes anything; its id, which is the token of the steps.
    ///
    /// # Errors
    /// When there is no such secret.
    pub async fn begin_rotation(&self, account: &str, id: &str) -> Result<String, Failure> {
        let made: Made = self.post("secret", &json!({"account": account, "id": id, "pending": true})).await.context("make a pending version")?;
        Ok(made.token)
    }

    /// Invokes the secret's rotation function with one step, as the service would, and waits for its answer.
    ///
    /// # Errors
    /// When there is no such secret. What the function did wrong is in the answer.
    pub async fn rotation_step(&self, account: &str, id: &str, token: &str, step: RotationStep) -> Result<StepAnswer, Failure> {
        self.rotation_event(account, id, token, step.name()).await
    }

    /// The same with any text as the step: what the service never sends.
    ///
    /// # Errors
    /// When there is no such secret.
    pub async fn rotation_event(&self, account: &str, id: &str, token: &str, step: &str) -> Result<StepAnswer, Failure> {
        let request = json!({"account": account, "id": id, "token": token, "step": step});
        self.post("secret", &request).await.context(format!("invoke {step}"))
    }

    /// Rotates as the secret's schedule would; the token.
    ///
    /// # Errors
    /// When rotation is not turned on, or the one before is not complete (it is then tried again, as on AWS).
    pub async fn rotate_by_schedule(&self, account: &str, id: &str) -> Result<String, Failure> {
        let made: Made = self.post("secret", &json!({"account": account, "id": id, "rotate": true})).await.context("rotate by schedule")?;
        Ok(made.token)
    }

    /// How often the service tries a rotation, and how long it waits in between. At first: 3 times, half a second.
    ///
    /// # Errors
    /// When there is no such secret.
    pub async fn set_rotation_attempts(&self, account: &str, id: &str, attempts: u32, pause: Duration) -> Result<(), Failure> {
        let request = json!({"account": account, "id": id, "attempts": attempts, "pauseSeconds": pause.as_secs_f64()});
        self.post::<Value>("secret", &request).await.map(|_| ()).context("set the attempts of rotations")
    }
}
