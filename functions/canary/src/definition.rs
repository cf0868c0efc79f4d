//! What is asked, and how it must answer: a list that the team writes, in TOML. Every key with its default is in `docs/canary.md`.
//!
//! ```toml
//! [[target]]
//! name = "health"
//! url = "https://shop.example/healthz"            # the rest has defaults that fit a health page in JSON
//! json = [{ at = "/status", is = "ok" }]
//!
//! [[target]]
//! name = "front page"
//! url = "https://shop.example/"
//! kind = "page"
//! contains = "Welcome"
//! ```
//!
//! A definition is read with all its mistakes, each with its line, or not at all: nothing is asked after half of a definition.

mod check;
mod written;

use std::collections::BTreeSet;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;
use shared::failure::{Failure, FailureKind};
use url::Url;

use written::Written;

/// All that is asked.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// In the order in which they are written; at least one.
    pub targets: Vec<Target>,
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers in JSON and says which release it is.
    Health,
    /// Anything else.
    Page,
}

/// How it is asked. Neither of them changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With a body in the answer.
    Get,
    /// Without.
    Head,
}

impl Method {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// One place of the JSON, and what must be there.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// JSON pointer (RFC 6901).
    pub at: String,
    /// What must be there.
    pub must: Must,
}

/// What must be at a place.
#[derive(Clone, Debug)]
pub enum Must {
    /// This value.
    Be(Value),
    /// A text or number that this pattern is found in.
    Match(Regex),
    /// Anything but null.
    Exist,
}

/// One URL, and all that is expected of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in findings and records.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// What it is.
    pub kind: Kind,
    /// How it is asked.
    pub method: Method,
    /// Any of these.
    pub statuses: BTreeSet<u16>,
    /// How often it is asked after a deploy.
    pub requests: usize,
    /// From one request to the next.
    pub pace: Duration,
    /// After so many requests a connection is made anew; 1: for each.
    pub requests_per_connection: usize,
    /// For one request, from its name's lookup to the last byte.
    pub timeout: Duration,
    /// So many of a hundred may go without an answer, or with an error of the server.
    pub failed_percent_max: f64,
    /// The 95th percentile of the latency may be so large.
    pub p95_max: Duration,
    /// And so many times that of the release before.
    pub p95_ratio_max: f64,
    /// Below it no ratio is looked at.
    pub p95_ratio_floor: Duration,
    /// Where the JSON says the commit.
    pub git_sha: Option<String>,
    /// Where the JSON says the version.
    pub version: Option<String>,
    /// What must be in the JSON.
    pub json: Vec<Expectation>,
    /// What must be in the body, as text.
    pub contains: Option<String>,
    /// The body has at least so many bytes.
    pub body_bytes_min: usize,
    /// And at most so many; no more are read.
    pub body_bytes_max: usize,
    /// So many redirects are followed.
    pub redirects_max: usize,
    /// Hosts that a redirect may lead to, beside its own.
    pub redirect_hosts: BTreeSet<String>,
    /// Where a redirect must lead to: the last of those that are followed, or the one that is not.
    pub leads_to: Option<Url>,
    /// The certificate must be good for so many days.
    pub certificate_days_min: u32,
    /// Certificates (PEM) that the server's must descend from, in place of the machine's.
    pub authorities: Option<String>,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
    /// Headers of the request whose values are in parameters: name and parameter.
    pub secret_headers: Vec<(String, String)>,
    /// Whether it is watched between deploys, too.
    pub watch: bool,
}

impl Definitions {
    /// Reads them, and names every mistake with its line.
    ///
    /// # Errors
    /// When it is not TOML of this form, or says what cannot be.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let bad = |what: String| {
            Failure::new(FailureKind::BadSettings, format!("the definitions of the canary: {what}")).hint("every key is explained in docs/canary.md")
        };
        let written: Written = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| check::line(text, span.start));
            // The library's whole message shows the line itself, which is nobody's business but its writer's.
            bad(format!("line {line}: {}", error.message()))
        })?;
        check::definitions(text, written).map_err(|mistakes| bad(mistakes.join("; ")))
    }
}

impl Target {
    /// Whether its answers must be JSON.
    pub fn wants_json(&self) -> bool {
        self.kind == Kind::Health || !self.json.is_empty() || self.git_sha.is_some() || self.version.is_some()
    }

    /// The URL without what may be confidential in it.
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

/// A URL for a message: without query, fragment and user.
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
#[path = "definition/definition_tests.rs"]
mod tests;
