//! From what is written to what is meant: defaults, limits, and every mistake with its line.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use regex_lite::Regex;
use serde_json::Value;
use toml::Spanned;
use url::{Host, Url};

use super::written::{self, Written};
use super::{Definitions, Expectation, Kind, Method, Must, Target, shown};

/// More would not be measured side by side without disturbing each other.
const TARGETS_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 60;
const HEADERS_MAX: usize = 20;
/// A verdict is promised after 75 seconds; the rest is for the definitions before and the report after.
pub(crate) const MEASURING_SECONDS_MAX: f64 = 65.0;
const MEBIBYTE: u64 = 1_048_576;

/// Headers that say where a message goes and how long it is: ours to write.
const RESERVED: [&str; 9] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive", "accept-encoding"];

/// The line of a byte, counted from 1.
pub(super) fn line(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

/// Collects what is wrong with one target.
struct Mistakes<'a> {
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl Mistakes<'_> {
    fn at<T>(&mut self, place: &Spanned<T>, what: impl Into<String>) {
        self.found.push((line(self.text, place.span().start), what.into()));
    }

    /// A number within limits, or the default.
    fn number<T: PartialOrd + Display + Copy>(&mut self, name: &str, key: Option<&Spanned<T>>, default: T, limits: RangeInclusive<T>) -> T {
        let Some(key) = key else { return default };
        let value = *key.get_ref();
        if limits.contains(&value) {
            return value;
        }
        self.at(key, format!("`{name}` is {value}: it must be from {} to {}", limits.start(), limits.end()));
        default
    }

    fn url(&mut self, name: &str, key: &Spanned<String>) -> Option<Url> {
        let read = Url::parse(key.get_ref()).map_err(|error| error.to_string());
        let mistake = match read {
            Err(error) => error,
            Ok(url) if !["https", "http"].contains(&url.scheme()) => "it must begin with https:// or http://".to_owned(),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "a user or password does not belong here: put it into `secret-headers`".to_owned()
            }
            Ok(url) if url.host().is_none() => "it names no host".to_owned(),
            Ok(url) => return Some(url),
        };
        self.at(key, format!("`{name}`: {mistake}"));
        None
    }
}

pub(super) fn definitions(text: &str, written: Written) -> Result<Definitions, Vec<String>> {
    let mut mistakes = Mistakes { text, found: Vec::new() };
    let mut names = BTreeSet::new();
    let mut targets = Vec::new();
    if written.target.is_empty() {
        mistakes.found.push((1, "there is no [[target]]: name at least one".to_owned()));
    }
    if let Some(first) = written.target.get(TARGETS_MAX) {
        mistakes.at(first, format!("at most {TARGETS_MAX} targets are measured side by side"));
    }
    for one in written.target {
        let whole = Spanned::new(one.span(), ());
        let one = one.into_inner();
        if let Some(name) = &one.name
            && !names.insert(name.get_ref().clone())
        {
            mistakes.at(name, format!("the name {:?} is there twice", name.get_ref()));
        }
        targets.extend(target(one, &whole, &mut mistakes));
    }
    if mistakes.found.is_empty() {
        return Ok(Definitions { targets });
    }
    mistakes.found.sort();
    Err(mistakes.found.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a number of requests is small")]
fn target(one: written::Target, whole: &Spanned<()>, mistakes: &mut Mistakes<'_>) -> Option<Target> {
    let is_page = matches!(one.kind, Some(written::Kind::Page));
    let health = |key: Option<Spanned<String>>, default: &str| {
        key.map(Spanned::into_inner).or_else(|| (!is_page).then(|| default.to_owned())).filter(|at| !at.is_empty())
    };
    let name = one.name.as_ref().map(|name| name.get_ref().trim().to_owned()).unwrap_or_default();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let what = format!("a target needs a `name` of 1 to {NAME_CHARS_MAX} characters");
        match &one.name {
            Some(key) => mistakes.at(key, what),
            None => mistakes.at(whole, what),
        }
    }
    if one.url.is_none() {
        mistakes.at(whole, "a target needs a `url`");
    }
    let url = one.url.as_ref().and_then(|key| mistakes.url("url", key));
    for (key, at) in [("git-sha", &one.git_sha), ("version", &one.version)] {
        if let Some(at) = at.as_ref().filter(|at| !at.get_ref().is_empty() && !at.get_ref().starts_with('/')) {
            mistakes.at(at, format!("`{key}` must be a JSON pointer like \"/{key}\", or \"\" for none"));
        }
    }

    let requests = mistakes.number("requests", one.requests.as_ref(), if is_page { 12 } else { 60 }, 1..=600);
    let pace = mistakes.number("pace-seconds", one.pace_seconds.as_ref(), if is_page { 5.0 } else { 1.0 }, 0.05..=60.0);
    let timeout = mistakes.number("timeout-seconds", one.timeout_seconds.as_ref(), 5.0, 0.1..=30.0);
    let needed = (requests - 1) as f64 * pace + timeout;
    if needed > MEASURING_SECONDS_MAX {
        let what = format!(
            "{requests} requests, one each {pace} s, and {timeout} s for the last take {needed} s: a verdict is given after {MEASURING_SECONDS_MAX} s at most; lower `requests`, `pace-seconds` or `timeout-seconds`"
        );
        match (&one.requests, &one.pace_seconds, &one.timeout_seconds) {
            (Some(key), ..) => mistakes.at(key, what),
            (_, Some(key), _) | (.., Some(key)) => mistakes.at(key, what),
            _ => mistakes.at(whole, what),
        }
    }
    let body_bytes_max = mistakes.number("body-bytes-max", one.body_bytes_max.as_ref(), MEBIBYTE, 1..=4 * MEBIBYTE);
    let body_bytes_min = mistakes.number("body-bytes-min", one.body_bytes_min.as_ref(), 0, 0..=body_bytes_max);
    let redirects_max = mistakes.number("redirects-max", one.redirects_max.as_ref(), 0, 0..=10);
    if redirects_max == 0
        && let Some(key) = &one.redirect_hosts
    {
        mistakes.at(key, "`redirect-hosts` without `redirects-max`: no redirect is followed");
    }
    let json: Vec<Expectation> = one.json.iter().filter_map(|one| expectation(one, mistakes)).collect();
    let is_head = one.method.as_ref().is_some_and(|method| matches!(method.get_ref(), written::Method::Head));
    if let Some(method) = one.method.as_ref().filter(|_| is_head) {
        if !is_page {
            mistakes.at(method, "the answer to a HEAD has no body, so it cannot say its release: write `kind = \"page\"`");
        } else if !one.json.is_empty() || one.contains.is_some() || body_bytes_min > 0 {
            mistakes.at(method, "the answer to a HEAD has no body: `json`, `contains` and `body-bytes-min` want a GET");
        }
    }
    let (headers, secret_headers) = headers(&one, url.as_ref(), mistakes);
    if let Some(key) = one.authorities.as_ref().filter(|key| crate::probe::authorities(key.get_ref()).is_err()) {
        mistakes.at(key, "`authorities` must hold certificates as PEM: -----BEGIN CERTIFICATE----- …");
    }
    Some(Target {
        name,
        url: url?,
        kind: if is_page { Kind::Page } else { Kind::Health },
        method: if is_head { Method::Head } else { Method::Get },
        statuses: statuses(one.status.as_ref(), mistakes),
        requests: usize::try_from(requests).unwrap_or(1),
        pace: Duration::from_secs_f64(pace),
        requests_per_connection: size(mistakes.number("requests-per-connection", one.requests_per_connection.as_ref(), 10, 1..=600)),
        timeout: Duration::from_secs_f64(timeout),
        failed_percent_max: mistakes.number("failed-percent-max", one.failed_percent_max.as_ref(), 0.0, 0.0..=50.0),
        p95_max: Duration::from_millis(mistakes.number("p95-max-ms", one.p95_max_ms.as_ref(), if is_page { 3_000 } else { 1_000 }, 1..=30_000)),
        p95_ratio_max: mistakes.number("p95-ratio-max", one.p95_ratio_max.as_ref(), 1.5, 1.0..=100.0),
        p95_ratio_floor: Duration::from_millis(mistakes.number("p95-ratio-floor-ms", one.p95_ratio_floor_ms.as_ref(), 300, 0..=30_000)),
        git_sha: health(one.git_sha, "/git_sha"),
        version: health(one.version, "/version"),
        json,
        contains: one.contains.map(Spanned::into_inner).filter(|text| !text.is_empty()),
        body_bytes_min: size(body_bytes_min),
        body_bytes_max: size(body_bytes_max),
        redirects_max: size(redirects_max),
        redirect_hosts: one.redirect_hosts.map(Spanned::into_inner).unwrap_or_default().into_iter().map(|host| host.to_ascii_lowercase()).collect(),
        leads_to: one.leads_to.as_ref().and_then(|key| mistakes.url("leads-to", key)),
        certificate_days_min: mistakes.number("certificate-days-min", one.certificate_days_min.as_ref(), 14, 0..=365),
        authorities: one.authorities.map(Spanned::into_inner),
        headers,
        secret_headers,
        watch: one.watch.unwrap_or(true),
    })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn statuses(key: Option<&Spanned<written::Statuses>>, mistakes: &mut Mistakes<'_>) -> BTreeSet<u16> {
    let Some(key) = key else { return BTreeSet::from([200]) };
    let statuses: BTreeSet<u16> = match key.get_ref() {
        written::Statuses::One(status) => BTreeSet::from([*status]),
        written::Statuses::Several(several) => several.iter().copied().collect(),
    };
    if statuses.is_empty() || !statuses.iter().all(|status| (200..600).contains(status)) {
        mistakes.at(key, "`status` must be from 200 to 599");
    }
    statuses
}

fn expectation(one: &Spanned<written::Expectation>, mistakes: &mut Mistakes<'_>) -> Option<Expectation> {
    let written = one.get_ref();
    if !written.at.is_empty() && !written.at.starts_with('/') {
        mistakes.at(one, format!("`at` is {:?}: it must be a JSON pointer like \"/database/status\"", written.at));
    }
    let must = match (&written.is, &written.matches, written.exists) {
        (Some(value), None, None) => json_of(value).map(Must::Be).ok_or_else(|| "`is` must be a text, a number, true or false".to_owned()),
        (None, Some(pattern), None) => Regex::new(pattern).map(Must::Match).map_err(|error| format!("`matches` is no regular expression: {error}")),
        (None, None, Some(true)) => Ok(Must::Exist),
        _ => Err("say one of `is = …`, `matches = \"…\"`, `exists = true`".to_owned()),
    };
    match must {
        Ok(must) => Some(Expectation { at: written.at.clone(), must }),
        Err(what) => {
            mistakes.at(one, what);
            None
        }
    }
}

fn json_of(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::String(text) => Some(text.clone().into()),
        toml::Value::Integer(number) => Some((*number).into()),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number).map(Value::Number),
        toml::Value::Boolean(value) => Some((*value).into()),
        _ => None,
    }
}

type Headers = Vec<(String, String)>;

fn headers(one: &written::Target, url: Option<&Url>, mistakes: &mut Mistakes<'_>) -> (Headers, Headers) {
    let mut names = BTreeSet::new();
    let mut read = |key: Option<&Spanned<std::collections::BTreeMap<String, String>>>, is_secret: bool, mistakes: &mut Mistakes<'_>| {
        let Some(key) = key else { return Vec::new() };
        for (name, value) in key.get_ref() {
            let lower = name.to_ascii_lowercase();
            if HeaderName::from_bytes(name.as_bytes()).is_err() || RESERVED.contains(&lower.as_str()) {
                mistakes.at(key, format!("{name:?} is no header that can be set"));
            }
            if !names.insert(lower) {
                mistakes.at(key, format!("the header {name:?} is there twice"));
            }
            // What is in it is not said: somebody may have put a secret into the wrong place.
            if !is_secret && HeaderValue::from_str(value).is_err() {
                mistakes.at(key, format!("the value of the header {name:?} has characters that no header may have"));
            }
            if is_secret && value.trim().is_empty() {
                mistakes.at(key, format!("the header {name:?} needs the name of a parameter"));
            }
        }
        if key.get_ref().len() > HEADERS_MAX {
            mistakes.at(key, format!("at most {HEADERS_MAX} headers"));
        }
        key.get_ref().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let plain = read(one.headers.as_ref(), false, mistakes);
    let secret = read(one.secret_headers.as_ref(), true, mistakes);
    if let (Some(key), Some(url)) = (&one.secret_headers, url)
        && !secret.is_empty()
        && !keeps_secrets(url)
    {
        mistakes.at(key, format!("{} would get the secret headers without TLS", shown(url)));
    }
    (plain, secret)
}

/// Whether nobody between us and the server can read along.
pub(crate) fn keeps_secrets(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    url.scheme() == "https" || is_here
}
