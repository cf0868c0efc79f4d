//! What `rotate-secret` is asked.

use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::definition::Cadence;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// One of ours.
    Ours(Ours),
    /// A step of Secrets Manager's.
    Step(StepEvent),
}

/// A request with a kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Ours {
    /// Rotate one secret, or all of a cadence.
    Rotate(Rotate),
    /// A credential is known to others: replace it and lock the old one out.
    Incident(Incident),
    /// Make database and values agree again, after a restore.
    Reconcile(About),
    /// Go on with what is open.
    Sweep(Sweep),
    /// How old is each secret, and what is under way?
    Status(Sweep),
}

/// Rotate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rotate {
    /// The definition's name.
    #[serde(default)]
    pub secret: Option<String>,
    /// All of this cadence.
    #[serde(default)]
    pub cadence: Option<Cadence>,
    /// The slot; a repeated delivery has the same.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Say what would be in the way, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Incident {
    /// The definition's name.
    pub secret: String,
    /// When the old user is locked.
    #[serde(default)]
    pub containment: Containment,
    /// Say what would be in the way, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// When an incident locks the old user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Containment {
    /// As soon as the new value is out: nobody is refused who reads it.
    #[default]
    AfterPublish,
    /// At once: nobody gets in until the new value is out.
    Now,
}

/// One secret, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    /// The definition's name; all without it.
    #[serde(default)]
    pub secret: Option<String>,
    /// Say what would be done, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A look at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sweep {
    /// The slot.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
}

/// What Secrets Manager sends. It has sent more fields than it documents, and may send others: what is not known is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StepEvent {
    /// ARN of the secret.
    pub secret_id: String,
    /// Version id of the new value.
    pub client_request_token: String,
    /// `createSecret`, `setSecret`, `testSecret` or `finishSecret`.
    pub step: String,
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("kind").is_none() && value.get("SecretId").is_some() {
            return serde_json::from_value(value).map(Self::Step).map_err(D::Error::custom);
        }
        serde_json::from_value(value).map(Self::Ours).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_told_apart() {
        let step = json!({"SecretId": "arn", "ClientRequestToken": "t", "Step": "createSecret", "RotationToken": "r"});
        assert!(matches!(serde_json::from_value(step), Ok(Request::Step(StepEvent { .. }))));
        let rotate = json!({"kind": "rotate", "cadence": "monthly", "scheduledAt": "2026-11-23T02:00:00Z"});
        assert!(matches!(serde_json::from_value(rotate), Ok(Request::Ours(Ours::Rotate(Rotate { cadence: Some(Cadence::Monthly), .. })))));
        for wrong in [json!({"kind": "rotate", "secrt": "x"}), json!({}), json!({"kind": "incident"}), json!({"SecretId": "arn"})] {
            assert!(serde_json::from_value::<Request>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
