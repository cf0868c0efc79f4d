//! The journal of a rotation: what is meant to happen, written and read back before anything does.
//!
//! It lies in a parameter of its own, never in the one that applications read: a reader without a selector gets a parameter's newest version, so that writing
//! "pending" there would publish it. A finished journal stays, without its secrets, and says what came of the last rotation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::secrets::{ExposeSecret, SecretString};

use crate::hands::Hands;
use crate::identity::RotationId;
use crate::plan::Refresh as Progress;

/// The journal's form that this version writes. Another is refused: it may know states that we do not.
pub const SCHEMA: u32 = 1;

/// A secret in a journal. Printed as dots, written as it is.
#[derive(Clone, Debug)]
pub struct Kept(pub SecretString);

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Kept {}

impl Serialize for Kept {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

/// One rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Journal {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The definition's name.
    pub secret: String,
    /// The rotation.
    pub rotation: RotationId,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The version of the live value that it began from.
    pub live_version: String,
    /// The user that gets a new password; none for keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user that was in use; the same as `user` where there is no pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_user: Option<String>,
    /// The new password or key. Missing when closed. Never the whole value: that is written from the live one when it is published, with what people changed in
    /// it meanwhile, and a journal stays small enough for a standard parameter (4 KiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Kept>,
    /// The old password or key: for the proof that it is dead, and to go back to. Missing when closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Kept>,
    /// The version id that the new value has in Secrets Manager (its client request token); none in Parameter Store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which of the values that a rotation gives out one after the other this is about: 1 to 3 for keys, 1 for a credential.
    pub phase: u8,
    /// The version that the value of this phase has: an older one, read later, is a stale read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_version: Option<String>,
    /// When the value of this phase was seen to be the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
    /// When all consumers were seen to have been told; `published_at` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<DateTime<Utc>>,
    /// What each consumer was asked, in the definition's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshes: Vec<Refresh>,
    /// How it ended; open without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

impl Journal {
    /// A rotation that begins now with a new password or key; without users, and before its first phase.
    pub(crate) fn new<H: Hands>(
        hands: &mut H,
        secret: &str,
        rotation: &RotationId,
        purpose: Purpose,
        live_version: String,
        previous: SecretString,
    ) -> Result<Self, Failure> {
        Ok(Self {
            schema: SCHEMA,
            secret: secret.to_owned(),
            rotation: rotation.clone(),
            purpose,
            opened_at: hands.now(),
            live_version,
            user: None,
            old_user: None,
            pending: Some(Kept(hands.new_secret()?)),
            previous: Some(Kept(previous)),
            token: hands.token(rotation),
            phase: 0,
            published_version: None,
            published_at: None,
            refreshed_at: None,
            refreshes: Vec::new(),
            closed: None,
        })
    }

    /// Whether there is something left to do.
    pub const fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// How far the consumers are; `looked` is what this invocation saw.
    pub fn refresh(&self, looked: Option<&Progress>) -> Progress {
        match (looked, self.refreshed_at, self.refreshes.is_empty()) {
            (_, Some(_), _) => Progress::Done,
            (_, None, true) => Progress::NotBegun,
            (Some(looked), None, false) => looked.clone(),
            (None, None, false) => Progress::Begun,
        }
    }

    /// Tells the consumers, and writes down what that began. Ended in between, they are told once more.
    pub(crate) async fn begin_refresh<H: Hands>(&mut self, hands: &mut H) -> Result<(), Failure> {
        self.refreshes = hands.begin_refresh(self).await?;
        if self.refreshes.is_empty() {
            self.refreshed_at = Some(hands.now());
        }
        hands.write_journal(self).await
    }

    /// Looks at what was begun, and writes down what is new.
    pub(crate) async fn look_at_refresh<H: Hands>(&mut self, hands: &mut H) -> Result<Progress, Failure> {
        let before = self.refreshes.clone();
        let failed = hands.look_at_refresh(&mut self.refreshes).await?;
        if self.refreshes.iter().all(|refresh| refresh.done_at.is_some()) {
            self.refreshed_at = Some(hands.now());
        }
        if self.refreshes != before {
            hands.write_journal(self).await?;
        }
        Ok(failed.map_or(Progress::UnderWay, Progress::Failed))
    }
}

/// What a rotation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// It is time.
    Rotation,
    /// The credential is known to others: no waiting for stragglers. The old user is locked as soon as the new value is out.
    Incident,
    /// The same, but the old user is locked first: nobody can log in until the new value is out.
    IncidentNow,
}

/// What a consumer was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// How the service calls what was begun (an ECS deployment's id, say): that is looked for, and not begun a second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// When it was seen to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<DateTime<Utc>>,
}

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Closed {
    /// When.
    pub at: DateTime<Utc>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in words; never with a secret.
    pub reason: String,
}

/// What came of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The new credential is in use, and the old one was seen to be dead.
    Done,
    /// Nothing was given out; the old credential is in use as before.
    GivenUp,
    /// Somebody else wrote a value that works while we were at it; theirs is in use.
    Superseded,
}
