//! The definitions as they are written: every key optional, each with its place in the text, so that a mistake can be told with its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

/// A key of a target.
type Key<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) target: Vec<Spanned<Target>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Target {
    pub(super) name: Key<String>,
    pub(super) url: Key<String>,
    pub(super) kind: Option<Kind>,
    pub(super) method: Key<Method>,
    pub(super) status: Key<Statuses>,
    pub(super) requests: Key<u64>,
    pub(super) pace_seconds: Key<f64>,
    pub(super) requests_per_connection: Key<u64>,
    pub(super) timeout_seconds: Key<f64>,
    pub(super) failed_percent_max: Key<f64>,
    pub(super) p95_max_ms: Key<u64>,
    pub(super) p95_ratio_max: Key<f64>,
    pub(super) p95_ratio_floor_ms: Key<u64>,
    pub(super) git_sha: Key<String>,
    pub(super) version: Key<String>,
    #[serde(default)]
    pub(super) json: Vec<Spanned<Expectation>>,
    pub(super) contains: Key<String>,
    pub(super) body_bytes_min: Key<u64>,
    pub(super) body_bytes_max: Key<u64>,
    pub(super) redirects_max: Key<u64>,
    pub(super) redirect_hosts: Key<Vec<String>>,
    pub(super) leads_to: Key<String>,
    pub(super) certificate_days_min: Key<u32>,
    pub(super) authorities: Key<String>,
    pub(super) headers: Key<BTreeMap<String, String>>,
    pub(super) secret_headers: Key<BTreeMap<String, String>>,
    pub(super) watch: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Health,
    Page,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Method {
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "HEAD")]
    Head,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a status is a number, or a list of numbers")]
pub(super) enum Statuses {
    One(u16),
    Several(Vec<u16>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Expectation {
    pub(super) at: String,
    pub(super) is: Option<Value>,
    pub(super) matches: Option<String>,
    pub(super) exists: Option<bool>,
}
