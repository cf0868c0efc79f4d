//! What a check says, and what all of them amount to. Its names are stable: pipelines read them.

use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Name {
    /// Whether everything could be measured that should be.
    Measured,
    /// Whether requests are answered, and without an error of the server.
    Answers,
    /// Whether a client accepts the certificate, and for how long.
    Certificate,
    /// Whether it is asked over TLS.
    Transport,
    /// The status.
    Status,
    /// Where it redirects to.
    Redirect,
    /// The size of the body.
    Body,
    /// Whether the body is JSON.
    Json,
    /// What is in the body.
    Content,
    /// The commit.
    GitSha,
    /// The version.
    Version,
    /// The latency.
    Latency,
    /// The latency against that of the release before.
    LatencyRatio,
}

/// How a check came out, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckResult {
    /// As it must be.
    Pass,
    /// Somebody should look, but rolling back would mend nothing.
    Warn,
    /// It could not be checked.
    Unknown,
    /// Not as it must be.
    Fail,
}

/// One check of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The target.
    pub target: String,
    /// What was checked.
    pub name: Name,
    /// How it came out.
    pub result: CheckResult,
    /// What was seen.
    pub seen: String,
    /// What was expected, where there is a promise to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// What a pipeline acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The release is served, and serves well.
    Pass,
    /// It does not.
    Fail,
    /// Nobody can tell.
    Unknown,
}

impl Verdict {
    /// What the checks amount to. Of nothing, nothing is known.
    pub fn of(checks: &[Check]) -> Self {
        match checks.iter().map(|check| check.result).max() {
            Some(CheckResult::Pass | CheckResult::Warn) => Self::Pass,
            Some(CheckResult::Fail) => Self::Fail,
            Some(CheckResult::Unknown) | None => Self::Unknown,
        }
    }

    /// The word for it, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    /// The kind of finding that a check of this result is; `None` for one that passed.
    pub fn kind(&self) -> Option<FindingKind> {
        match (self.result, self.name) {
            (CheckResult::Pass, _) => None,
            (CheckResult::Unknown, _) | (_, Name::Measured) => Some(FindingKind::NotChecked),
            (CheckResult::Warn, Name::Transport) => Some(FindingKind::AskedInClear),
            (CheckResult::Warn, _) => Some(FindingKind::CertificateExpires),
            (CheckResult::Fail, name) => Some(match name {
                Name::Certificate => FindingKind::CertificateRefused,
                Name::Answers | Name::Transport => FindingKind::RequestsFailed,
                Name::GitSha | Name::Version => FindingKind::ReleaseNotServed,
                Name::Latency | Name::LatencyRatio => FindingKind::AnswersSlow,
                _ => FindingKind::AnswerWrong,
            }),
        }
    }
}

fn hint(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::RequestsFailed | FindingKind::AnswerWrong => "if a deploy has just been made, roll it back; then see the application's log",
        FindingKind::ReleaseNotServed => "see whether the deploy has reached every server; roll back if it will not",
        FindingKind::AnswersSlow => "compare with the release before; roll back if this one is the cause",
        FindingKind::CertificateRefused | FindingKind::CertificateExpires => "renew the certificate, and see why that did not happen by itself",
        FindingKind::AskedInClear => "give the target an https:// URL, unless nobody is between",
        _ => "see the message for what was in the way, and ask again",
    }
}

/// The findings that checks amount to: one for each target and kind, as one thing that is wrong is seen by several checks.
pub fn findings(checks: &[Check]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for check in checks {
        let Some(kind) = check.kind() else { continue };
        if let Some(known) = findings.iter_mut().find(|known| known.kind == kind && known.subject == check.target) {
            known.seen = format!("{}; {}", known.seen, check.seen);
            if let Some(expected) = &check.expected {
                known.expected = Some(known.expected.as_ref().map_or_else(|| expected.clone(), |before| format!("{before}; {expected}")));
            }
            continue;
        }
        let mut finding = Finding::new(kind, &check.target, &check.seen).hint(hint(kind));
        finding.expected.clone_from(&check.expected);
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use shared::finding::Severity;

    use super::*;

    fn check(target: &str, name: Name, result: CheckResult) -> Check {
        Check { target: target.into(), name, result, seen: format!("seen by {name:?}"), expected: Some(format!("of {name:?}")) }
    }

    #[test]
    fn one_failure_fails_and_nothing_known_is_not_passed() {
        use CheckResult::{Fail, Pass, Unknown, Warn};
        let verdict = |results: &[CheckResult]| Verdict::of(&results.iter().map(|one| check("a", Name::Status, *one)).collect::<Vec<_>>());
        assert_eq!((verdict(&[]), verdict(&[Pass, Warn])), (Verdict::Unknown, Verdict::Pass));
        assert_eq!((verdict(&[Pass, Unknown, Warn]), verdict(&[Unknown, Fail, Pass])), (Verdict::Unknown, Verdict::Fail));
    }

    #[test]
    fn what_fails_the_verdict_is_critical_and_what_does_not_is_less() {
        let names = [Name::Answers, Name::Certificate, Name::Transport, Name::Status, Name::Redirect, Name::Body, Name::Json];
        for name in names.into_iter().chain([Name::Content, Name::GitSha, Name::Version, Name::Latency, Name::LatencyRatio]) {
            let severity = |result| check("a", name, result).kind().map(FindingKind::severity);
            assert_eq!(severity(CheckResult::Fail), Some(Severity::Critical), "{name:?}");
            assert_eq!(severity(CheckResult::Unknown), Some(Severity::Unknown), "{name:?}");
            assert!(severity(CheckResult::Warn) < Some(Severity::Unknown) && severity(CheckResult::Pass).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_target_has_one_finding_of_a_kind() {
        let checks = [
            check("a", Name::GitSha, CheckResult::Fail),
            check("a", Name::Status, CheckResult::Pass),
            check("a", Name::Version, CheckResult::Fail),
            check("b", Name::Version, CheckResult::Fail),
        ];
        let findings = findings(&checks);
        assert_eq!(findings.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((findings[0].seen.as_str(), findings[0].expected.as_deref()), ("seen by GitSha; seen by Version", Some("of GitSha; of Version")));
    }
}
