//! One target asked over the wire, with every part of the way measured: name, connection, TLS, first byte, last byte.
//!
//! The client is hyper over rustls and no more, because a client that hides connections, redirects or certificates cannot say how long each took and
//! what each was. It never sends a target's headers to another origin, and never reads more of a body than the definition allows.

mod address;
mod connection;
mod exchange;
mod series;
mod trouble;
mod trust;
mod visit;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use crate::definition::Target;
use crate::quote::Quote;
use connection::Pool;
pub use connection::Setup;
pub use series::{Attempt, Series};
pub use trouble::{Phase, Trouble};
pub use trust::{Trust, authorities};
use visit::Certificates;
pub use visit::{Arrived, Visit};

/// A target, ready to be asked.
pub struct Probe<'a> {
    pub(crate) target: &'a Target,
    trust: Arc<Trust>,
    headers: HeaderMap,
    quote: Quote,
    pool: Mutex<Pool>,
    certificates: Mutex<Certificates>,
}

/// How long a server's certificates are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The host that showed it.
    pub host: String,
    /// From then on a client does not accept it.
    pub valid_until: DateTime<Utc>,
}

impl<'a> Probe<'a> {
    /// A target with the values of its secret headers, in the order of its definition.
    ///
    /// # Errors
    /// When such a value cannot be in a header. The message has the parameter's name and nothing of the value.
    pub fn new(target: &'a Target, trust: Arc<Trust>, secrets: Vec<SecretString>) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("lifeboat canary"));
        headers.insert(ACCEPT, HeaderValue::from_static(if target.wants_json() { "application/json, */*;q=0.1" } else { "*/*" }));
        // What is compared and counted is what the application wrote; and it is to be asked itself, not a cache before it.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let bad = |what: String| Failure::new(FailureKind::BadSettings, what);
        for (name, value) in &target.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(format!("{name:?} is no name of a header")))?;
            let value = HeaderValue::from_str(value).map_err(|_| bad(format!("the value of {name} cannot be in a header")))?;
            headers.insert(name, value);
        }
        for ((name, parameter), secret) in target.secret_headers.iter().zip(&secrets) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(format!("{name:?} is no name of a header")))?;
            let value = HeaderValue::from_str(secret.expose_secret());
            let mut value = value.map_err(|_| bad(format!("what is in the parameter {parameter} cannot be in a header")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self { target, trust, headers, quote: Quote::new(secrets), pool: Mutex::default(), certificates: Mutex::default() })
    }

    /// Asks so often, at the target's pace, and not beyond `end`.
    pub async fn series(&self, count: usize, end: tokio::time::Instant) -> Series {
        series::run(self, count, end).await
    }

    /// Until when each certificate that was shown is good: as long as a client would accept the chain, whichever part of it runs out first.
    pub fn certificates(&self, now: DateTime<Utc>) -> Vec<Certificate> {
        let seen = self.certificates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let each = seen.iter().filter_map(|((host, _), (name, chain))| {
            self.trust.valid_until(chain, name, now).map(|valid_until| Certificate { host: host.clone(), valid_until })
        });
        each.collect()
    }
}

/// Milliseconds, to a tenth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
