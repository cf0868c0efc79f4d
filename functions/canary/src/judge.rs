//! From what was seen of a target to its checks. Pure: whatever was measured, the same is said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::definition::Target;
use crate::look::{Depth, Outcome, Seen, percentile, wanted};
use crate::probe::{Attempt, Certificate, Series, Trouble, milliseconds};
use crate::request::Release;
use crate::verdict::{Check, CheckResult, Name};

/// All that a judgement rests on.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// What was asked.
    pub target: &'a Target,
    /// What came.
    pub series: &'a Series,
    /// The certificates that were shown and accepted.
    pub certificates: &'a [Certificate],
    /// What was deployed.
    pub release: &'a Release,
    /// Whether figures are judged, too; not of a single request.
    pub latency: Latency<'a>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What latencies are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency<'a> {
    /// With nothing: there are too few.
    NotJudged,
    /// With the limit alone: nothing is recorded of a release before.
    WithoutBaseline,
    /// With the limit; and whether there was a release before could not be told.
    BaselineUnknown(&'a str),
    /// With the limit and the release before.
    Against(&'a Baseline),
}

/// A target's figures under the release before.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// That release, for messages.
    pub release: String,
    /// The 95th percentile of its latency, in milliseconds.
    pub p95_ms: f64,
}

/// A target's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests.
    pub requests: usize,
    /// Of them without an answer, or with an error of the server.
    pub failed: usize,
    /// Half of the answers took no longer: from the request to the last byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 95 of a hundred took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Half of the answers began no later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_p50_ms: Option<f64>,
    /// Connections that were made.
    pub connections: usize,
    /// Half of the lookups took no longer; and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup_p50_ms: Option<f64>,
    /// TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_p50_ms: Option<f64>,
    /// The handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_p50_ms: Option<f64>,
    /// How many answers came from which commit; `(none)` where an answer said none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub git_shas: BTreeMap<String, usize>,
    /// The same for versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, usize>,
    /// When the first certificate runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<DateTime<Utc>>,
}

/// What an answer without a release is counted under.
const NONE: &str = "(none)";

/// The figures of a series.
pub fn figures(series: &Series, target: &Target, certificates: &[Certificate]) -> Figures {
    let p = |values: Vec<Duration>, percent| percentile(&values, percent).map(milliseconds);
    let of_setups = |part: fn(&crate::probe::Setup) -> Option<Duration>| {
        p(series.attempts.iter().filter_map(|one| one.setup.as_ref().and_then(part)).collect(), 50)
    };
    let mut figures = Figures {
        requests: series.attempts.len(),
        failed: series.attempts.iter().filter(|one| is_failed(one)).count(),
        p50_ms: p(latencies(series), 50),
        p95_ms: p(latencies(series), 95),
        first_byte_p50_ms: p(series.attempts.iter().filter_map(|one| one.first_byte).collect(), 50),
        connections: series.attempts.iter().filter(|one| one.setup.is_some()).count(),
        lookup_p50_ms: of_setups(|setup| Some(setup.lookup)),
        connect_p50_ms: of_setups(|setup| Some(setup.connect)),
        tls_p50_ms: of_setups(|setup| setup.tls),
        certificate_until: certificates.iter().map(|one| one.valid_until).min(),
        ..Figures::default()
    };
    for attempt in &series.attempts {
        // An error page says no release, and is told as what it is.
        let Outcome::Answered(seen @ Seen { depth: Depth::Content, .. }) = &attempt.outcome else { continue };
        if target.git_sha.is_some() {
            *figures.git_shas.entry(seen.git_sha.clone().unwrap_or_else(|| NONE.to_owned())).or_default() += 1;
        }
        if target.version.is_some() {
            *figures.versions.entry(seen.version.clone().unwrap_or_else(|| NONE.to_owned())).or_default() += 1;
        }
    }
    figures
}

/// Of answers, and of requests that waited for one in vain: to leave those out would make a server faster that answers less.
fn latencies(series: &Series) -> Vec<Duration> {
    let counts = |attempt: &&Attempt| !matches!(&attempt.outcome, Outcome::Unanswered(trouble) if !matches!(trouble, Trouble::TimedOut(_)));
    series.attempts.iter().filter(counts).map(|attempt| attempt.latency).collect()
}

fn is_failed(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Unanswered(_) | Outcome::ServerError(_))
}

/// The checks of a target.
pub fn judge(evidence: &Evidence<'_>, figures: &Figures) -> Vec<Check> {
    let mut checks = vec![measured(evidence), transport(evidence)];
    checks.extend(answers(evidence, figures));
    checks.extend(certificate(evidence));
    checks.extend(wrong_answers(evidence));
    checks.extend(releases(evidence, figures));
    checks.extend(latency(evidence, figures));
    checks
}

fn check(evidence: &Evidence<'_>, name: Name, result: CheckResult, seen: String, expected: Option<String>) -> Check {
    Check { target: evidence.target.name.clone(), name, result, seen, expected }
}

fn pass_or(result: CheckResult, is_good: bool) -> CheckResult {
    if is_good { CheckResult::Pass } else { result }
}

fn measured(evidence: &Evidence<'_>) -> Check {
    let Series { planned, attempts } = evidence.series;
    let sent = attempts.len();
    // A series that was given up because nothing answered is told by `answers`.
    let is_given_up = !attempts.is_empty() && attempts.iter().all(|one| matches!(one.outcome, Outcome::Unanswered(_)));
    let result = pass_or(CheckResult::Unknown, sent == *planned || is_given_up);
    check(evidence, Name::Measured, result, format!("{sent} requests"), Some(format!("{planned} requests")))
}

#[expect(clippy::cast_precision_loss, reason = "a number of requests is small")]
fn answers(evidence: &Evidence<'_>, figures: &Figures) -> Option<Check> {
    let max = evidence.target.failed_percent_max;
    let expected = Some(if max > 0.0 {
        format!("at most {max} % without an answer or with 5xx")
    } else {
        "every request is answered, none with 5xx".to_owned()
    });
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in &evidence.series.attempts {
        let what = match &attempt.outcome {
            Outcome::Unanswered(trouble) => trouble.to_string(),
            Outcome::ServerError(status) => format!("status {status}"),
            Outcome::Answered(_) => continue,
        };
        *counted.entry(what).or_default() += 1;
    }
    let (failed, all) = (figures.failed, figures.requests);
    if failed == 0 {
        let result = pass_or(CheckResult::Unknown, all > 0);
        return Some(check(evidence, Name::Answers, result, format!("{all} of {all} answered"), expected));
    }
    let is_certificate = |attempt: &Attempt| matches!(attempt.outcome, Outcome::Unanswered(Trouble::Certificate(_)));
    if evidence.series.attempts.iter().filter(|one| is_failed(one)).all(is_certificate) {
        // Told by the check of the certificate, and by no other.
        return None;
    }
    let is_good = failed as f64 * 100.0 <= max * all as f64;
    let list = most(&counted);
    Some(check(evidence, Name::Answers, pass_or(CheckResult::Fail, is_good), format!("{failed} of {all} requests failed: {list}"), expected))
}

/// So many different things are listed.
const LISTED_MAX: usize = 4;

/// `57 × a, 3 × b`, the most frequent first.
fn most(counted: &BTreeMap<String, usize>) -> String {
    let mut sorted: Vec<(&String, &usize)> = counted.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut parts: Vec<String> = sorted.iter().take(LISTED_MAX).map(|(what, count)| format!("{count} × {what}")).collect();
    if sorted.len() > LISTED_MAX {
        parts.push(format!("and {} other things", sorted.len() - LISTED_MAX));
    }
    parts.join(", ")
}

fn transport(evidence: &Evidence<'_>) -> Check {
    let is_tls = evidence.target.url.scheme() == "https";
    let seen = if is_tls { "https" } else { "http: whoever is between can read and change what is said" };
    check(evidence, Name::Transport, pass_or(CheckResult::Warn, is_tls), seen.to_owned(), Some("https".to_owned()))
}

fn certificate(evidence: &Evidence<'_>) -> Option<Check> {
    let days = evidence.target.certificate_days_min;
    let expected = Some(format!("accepted, and good for at least {days} days"));
    let refused = evidence.series.attempts.iter().filter_map(|attempt| match &attempt.outcome {
        Outcome::Unanswered(Trouble::Certificate(why)) => Some(why.clone()),
        _ => None,
    });
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for why in refused {
        *counted.entry(why).or_default() += 1;
    }
    if !counted.is_empty() {
        return Some(check(evidence, Name::Certificate, CheckResult::Fail, most(&counted), expected));
    }
    let first = evidence.certificates.iter().min_by_key(|one| one.valid_until)?;
    let left = first.valid_until - evidence.now;
    let until = first.valid_until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let seen = format!("that of {} is good until {until}, {} more days", first.host, left.num_days());
    Some(check(evidence, Name::Certificate, pass_or(CheckResult::Warn, left >= TimeDelta::days(days.into())), seen, expected))
}

/// One check for each thing that answers may be wrong in.
fn wrong_answers(evidence: &Evidence<'_>) -> Vec<Check> {
    let target = evidence.target;
    let answered: Vec<_> =
        evidence.series.attempts.iter().filter_map(|one| if let Outcome::Answered(seen) = &one.outcome { Some(seen) } else { None }).collect();
    let statuses = target.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ");
    let mut content: Vec<String> = target.json.iter().map(wanted).collect();
    content.extend(target.contains.iter().map(|text| format!("{text:?} is in the body")));
    let leads_to = target.leads_to.as_ref().map(|to| format!("it leads to {}", crate::definition::shown(to)));
    let mut checks = Vec::new();
    for (name, depth, is_asked, expected) in [
        (Name::Status, Depth::Head, true, format!("status {statuses}")),
        (
            Name::Redirect,
            Depth::Head,
            target.redirects_max > 0 || leads_to.is_some(),
            leads_to.unwrap_or_else(|| format!("at most {} redirects, to its own host or one that is allowed", target.redirects_max)),
        ),
        (Name::Body, Depth::Part, true, format!("{} to {} bytes", target.body_bytes_min, target.body_bytes_max)),
        (Name::Json, Depth::Body, target.wants_json(), "JSON".to_owned()),
        (Name::Content, Depth::Content, !content.is_empty(), content.join(", ")),
    ] {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        let (mut wrong, mut all) = (0, 0);
        for seen in &answered {
            let found: Vec<&String> = seen.wrong.iter().filter(|(wrong, _)| *wrong == name).map(|(_, what)| what).collect();
            wrong += usize::from(!found.is_empty());
            all += usize::from(!found.is_empty() || seen.depth >= depth);
            for what in found {
                *counted.entry(what.clone()).or_default() += 1;
            }
        }
        if wrong > 0 {
            let seen = format!("{wrong} of {all} answers: {}", most(&counted));
            checks.push(check(evidence, name, CheckResult::Fail, seen, Some(expected)));
        } else if is_asked && all > 0 {
            checks.push(check(evidence, name, CheckResult::Pass, format!("{all} of {all} answers"), Some(expected)));
        }
    }
    checks
}

fn releases(evidence: &Evidence<'_>, figures: &Figures) -> Vec<Check> {
    let (target, release) = (evidence.target, evidence.release);
    let of = |name: Name, at: &Option<String>, wanted: &Option<String>, counted: &BTreeMap<String, usize>, is_it: &dyn Fn(&str, &str) -> bool| {
        let (at, wanted) = (at.as_ref()?, wanted.as_ref()?);
        let all: usize = counted.values().sum();
        if all == 0 {
            return None;
        }
        let right: usize = counted.iter().filter(|(said, _)| said.as_str() != NONE && is_it(said, wanted)).map(|(_, count)| count).sum();
        let seen = format!("{right} of {all} answers; at {at}: {}", most(counted));
        Some(check(evidence, name, pass_or(CheckResult::Fail, right == all), seen, Some(format!("{wanted} in every answer"))))
    };
    let sha = of(Name::GitSha, &target.git_sha, &release.git_sha, &figures.git_shas, &is_commit);
    let version = of(Name::Version, &target.version, &release.version, &figures.versions, &|said, wanted| said == wanted);
    sha.into_iter().chain(version).collect()
}

/// A release is named, and no target can say whether it is served: then that it is was never checked.
pub fn unproved(targets: &[Target], release: &Release) -> Option<Check> {
    let is_named = release.git_sha.is_some() || release.version.is_some();
    let is_said =
        |target: &Target| (release.git_sha.is_some() && target.git_sha.is_some()) || (release.version.is_some() && target.version.is_some());
    let name = if release.git_sha.is_some() { Name::GitSha } else { Name::Version };
    (is_named && !targets.iter().any(is_said)).then(|| Check {
        target: "(all)".to_owned(),
        name,
        result: CheckResult::Unknown,
        seen: "no target says which release it is".to_owned(),
        expected: Some("a target with `git-sha` or `version`, or a request without a release".to_owned()),
    })
}

/// Whether an answer names this commit: either may be shortened, but to no fewer than seven digits.
pub fn is_commit(said: &str, wanted: &str) -> bool {
    let (said, wanted) = (said.to_ascii_lowercase(), wanted.to_ascii_lowercase());
    said == wanted || (said.len().min(wanted.len()) >= 7 && (said.starts_with(&wanted) || wanted.starts_with(&said)))
}

fn latency(evidence: &Evidence<'_>, figures: &Figures) -> Vec<Check> {
    let (target, Some(p95)) = (evidence.target, figures.p95_ms) else { return Vec::new() };
    if evidence.latency == Latency::NotJudged {
        return Vec::new();
    }
    let p50 = figures.p50_ms.unwrap_or_default();
    let max = milliseconds(target.p95_max);
    let seen = format!("p95 {p95} ms, p50 {p50} ms");
    let mut checks = vec![check(evidence, Name::Latency, pass_or(CheckResult::Fail, p95 <= max), seen, Some(format!("p95 at most {max} ms")))];
    let (ratio, floor) = (target.p95_ratio_max, milliseconds(target.p95_ratio_floor));
    let (result, seen, expected) = match evidence.latency {
        Latency::NotJudged => return checks,
        Latency::WithoutBaseline => (CheckResult::Pass, "there is no release before to compare with".to_owned(), None),
        Latency::BaselineUnknown(why) => (CheckResult::Unknown, format!("the release before could not be looked up: {why}"), None),
        Latency::Against(baseline) => {
            let limit = (baseline.p95_ms * ratio).max(floor);
            let seen = format!("p95 {p95} ms; {} had {} ms", baseline.release, baseline.p95_ms);
            let expected = format!("p95 at most {ratio} times that, or {floor} ms: {limit:.1} ms");
            (pass_or(CheckResult::Fail, p95 <= limit), seen, Some(expected))
        }
    };
    checks.push(check(evidence, Name::LatencyRatio, result, seen, expected));
    checks
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
