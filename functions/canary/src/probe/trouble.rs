//! Why there was no answer, in words that are the same each time it happens, so that it can be counted.

use std::error::Error;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use rustls::CertificateError;

/// Where a request had got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The name's lookup.
    Lookup,
    /// The connection.
    Connect,
    /// The handshake.
    Tls,
    /// From the request to the first byte.
    FirstByte,
    /// From there to the last.
    Body,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The name could not be looked up.
    Lookup(String),
    /// Nobody took the connection.
    Connect(String),
    /// The certificate is not accepted.
    Certificate(String),
    /// TLS failed for another reason.
    Tls(String),
    /// It took too long.
    TimedOut(Phase),
    /// The connection ended in the middle.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(why) => write!(formatter, "the name was not found: {why}"),
            Self::Connect(why) => write!(formatter, "no connection: {why}"),
            Self::Certificate(why) => write!(formatter, "the certificate is not accepted: {why}"),
            Self::Tls(why) => write!(formatter, "no TLS: {why}"),
            Self::TimedOut(Phase::Lookup) => formatter.write_str("timed out in looking the name up"),
            Self::TimedOut(Phase::Connect) => formatter.write_str("timed out in connecting"),
            Self::TimedOut(Phase::Tls) => formatter.write_str("timed out in the TLS handshake"),
            Self::TimedOut(Phase::FirstByte) => formatter.write_str("timed out without a first byte of the answer"),
            Self::TimedOut(Phase::Body) => formatter.write_str("timed out in the middle of the answer"),
            Self::Broken(why) => write!(formatter, "the connection ended without an answer: {why}"),
        }
    }
}

impl Trouble {
    /// What the handshake said.
    pub(super) fn of_handshake(error: &std::io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Tls(error.to_string());
        };
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(certificate(error)),
            other => Self::Tls(other.to_string()),
        }
    }

    /// What hyper said, with its causes.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            next = cause.source();
        }
        Self::Broken(text)
    }
}

fn certificate(error: &CertificateError) -> String {
    let day = |time: rustls::pki_types::UnixTime| {
        let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0)).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    match error {
        CertificateError::Expired => "it has run out".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("it ran out at {}", day(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => format!("it is good only from {} on", day(*not_before)),
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("it is for another name: {}", presented.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
        }
        CertificateError::UnknownIssuer => "no authority whom we trust issued it, or an intermediate certificate is not sent along".to_owned(),
        // An authority of the same name, and with another key.
        CertificateError::BadSignature => "its signature is not that of an authority whom we trust".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        other => other.to_string(),
    }
}
