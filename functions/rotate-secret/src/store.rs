//! Where a live value lies, and how a new one takes its place: Parameter Store, or Secrets Manager. And where the journals lie: always in Parameter Store.
//!
//! Nothing is ever written to the place that readers read but the value that is to be live. What is about to be lies in the journal, and in Secrets Manager also
//! under AWSPENDING. An answer that is older than what is known already is asked for again, and never believed.
//!
//! Calls, of a whole rotation in Parameter Store without consumers, at most 12: the journal read (1), the value and its settings (2), the journal written and read
//! back (2); after the commit the value (1), its publication (1) and the look whether it is there (1); two notes in the journal (2), and its end (1).

mod journals;
mod keys;
mod parameter;
mod preamble;
mod secret;

use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

pub use self::journals::{Journals, OpenJournals};
pub use self::parameter::ParameterStore;
pub use self::preamble::{Described, Preamble, Step, preamble};
pub use self::secret::{SecretsManager, Staged};
pub use crate::hands::Published;
use crate::remark::Remark;

/// Waits between looks for what was just written: 3.1 s in all.
const PAUSES: [Duration; 5] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800), Duration::from_millis(1600)];

/// A value as it was read.
#[derive(Clone, Debug)]
pub struct Live {
    /// The text.
    pub value: SecretString,
    /// A number in Parameter Store, an id in Secrets Manager.
    pub version: String,
    /// Since when.
    pub changed_at: Option<DateTime<Utc>>,
}

/// The place of one live value.
#[derive(Debug)]
pub enum Store {
    /// A parameter.
    Parameter(Box<ParameterStore>),
    /// A secret.
    Secret(Box<SecretsManager>),
}

impl Store {
    /// The place that a definition names.
    ///
    /// # Errors
    /// When it names none, or two.
    pub fn new(config: &SdkConfig, parameter: Option<&str>, secret: Option<&str>) -> Result<Self, Failure> {
        match (parameter, secret) {
            (Some(name), None) => Ok(Self::Parameter(Box::new(ParameterStore::new(config, name)))),
            (None, Some(id)) => Ok(Self::Secret(Box::new(SecretsManager::new(config, id)))),
            _ => Err(Failure::new(FailureKind::BadSettings, "a definition names either a `parameter` or a `secret`")),
        }
    }

    /// Remembers a version that was live once, as a journal has it: an answer with an older one is a stale one then. No call.
    pub fn remember(&self, version: &str) {
        match self {
            Self::Parameter(store) => store.remember(version),
            Self::Secret(store) => store.remember(version),
        }
    }

    /// The value that readers get now. One call; more only where an answer is older than what this process has seen.
    ///
    /// # Errors
    /// When it is not there, may not be read, or all answers are too old: then nothing is known, and a later invocation goes on.
    pub async fn live(&self) -> Result<Live, Failure> {
        match self {
            Self::Parameter(store) => store.live().await,
            Self::Secret(store) => store.live().await,
        }
    }

    /// Looks up what a publication has to keep, so that between the database's commit and the publication there are two calls. One call, in Secrets Manager none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn prepare(&self) -> Result<(), Failure> {
        match self {
            Self::Parameter(store) => store.prepare().await,
            Self::Secret(_) => Ok(()),
        }
    }

    /// Makes a value the live one, which until now was `from_version`, and waits until it is read. In Parameter Store two calls, and one more if nobody called
    /// [`Self::prepare`]; in Secrets Manager, where the value was staged under `token`, three.
    ///
    /// # Errors
    /// When it is not known to have happened. To be called again: what is there already is not written twice in Secrets Manager, and is harmless in Parameter Store.
    pub async fn publish(&self, value: &SecretString, from_version: &str, token: Option<&str>) -> Result<Published, Failure> {
        match self {
            Self::Parameter(store) => store.publish(value, from_version).await,
            Self::Secret(store) => store.publish(value, from_version, token).await,
        }
    }

    /// What can be said of the place without writing to it. `bytes` is the size of the value that will be written.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn check(&self, bytes: usize) -> Result<Vec<Remark>, Failure> {
        match self {
            Self::Parameter(store) => store.check(bytes).await,
            Self::Secret(store) => store.check().await,
        }
    }
}

/// A failure that does not repeat what was sent: a service may quote a value that it refuses.
pub(crate) fn without(failure: Failure, secret: &SecretString) -> Failure {
    let secret = secret.expose_secret();
    // Written in JSON, quotes and backslashes look different.
    let quoted = serde_json::Value::from(secret).to_string();
    let inner = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(&quoted);
    let repeats = |text: &str| text.contains(secret) || text.contains(inner);
    let hint_repeats = failure.hint.as_deref().is_some_and(repeats);
    if secret.is_empty() || !(repeats(&failure.to_string()) || hint_repeats) {
        return failure;
    }
    let silent = Failure::new(failure.kind, "the service's message repeats the value, and is left out");
    match failure.hint {
        Some(hint) if !hint_repeats => silent.hint(hint),
        _ => silent,
    }
}

/// The same failure, of a class that says more than the service's code.
pub(crate) fn of_kind(mut failure: Failure, kind: FailureKind) -> Failure {
    failure.kind = kind;
    failure
}

/// A time of the SDK's.
fn time(at: Option<&aws_sdk_ssm::primitives::DateTime>) -> Option<DateTime<Utc>> {
    at.and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_what_was_sent_is_left_out() {
        for secret in ["canary", "can\"ary\\", "{\"password\": \"canary\"}"] {
            let secret = SecretString::from(secret);
            for quoted in [secret.expose_secret().to_owned(), serde_json::Value::from(secret.expose_secret()).to_string()] {
                let loud = Failure::new(FailureKind::Denied, format!("ValidationException: Value '{quoted}' at 'value' is wrong")).hint(quoted);
                let silent = without(loud, &secret);
                assert!(silent.kind == FailureKind::Denied && !format!("{silent:?}").contains("ary"), "{silent:?}");
            }
            let harmless = Failure::new(FailureKind::Other, "ParameterNotFound: it is not there").hint("make it");
            assert_eq!(without(harmless.clone(), &secret), harmless);
        }
    }
}
