//! What the function is asked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// After a deploy: is every answer of the new release, and good?
    Canary(AfterDeploy),
    /// On a schedule: does everything answer?
    Watch(Watch),
}

/// After a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AfterDeploy {
    /// What was deployed. Without it, nothing is expected of the versions, and they are told.
    #[serde(default)]
    pub release: Release,
    /// The pipeline's name for this deploy; it stands in the record.
    #[serde(default)]
    pub request_id: Option<String>,
    /// One request to each target; nothing is recorded and nobody is told.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Its version, as the application says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its commit: the whole hash, or at least seven digits of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
}

/// On a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watch {
    /// The time that the schedule meant.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Nothing is recorded and nobody is told.
    #[serde(default)]
    pub dry_run: bool,
}

/// Longer ones are no version and no name of a deploy.
const TEXT_BYTES_MAX: usize = 200;
/// Fewer digits name too many commits.
const SHA_DIGITS_MIN: usize = 7;

impl AfterDeploy {
    /// What is wrong with it, in words.
    pub fn mistake(&self) -> Option<String> {
        let texts = [("release.version", &self.release.version), ("release.gitSha", &self.release.git_sha), ("requestId", &self.request_id)];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| text.trim().is_empty() || text.len() > TEXT_BYTES_MAX) {
                return Some(format!("{name} must have 1 to {TEXT_BYTES_MAX} bytes"));
            }
        }
        let sha = self.release.git_sha.as_deref().filter(|sha| sha.len() < SHA_DIGITS_MIN || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()));
        sha.map(|sha| format!("release.gitSha is {sha:?}: it must be the hash of a commit, at least {SHA_DIGITS_MIN} digits of it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_understood_and_a_slip_is_named() {
        let read = |json: &str| serde_json::from_str::<Request>(json).map_err(|error| error.to_string());
        let json = r#"{"kind":"canary","release":{"version":"1.4.2","gitSha":"0badcafe"},"requestId":"77-1","dryRun":true}"#;
        let Ok(Request::Canary(asked)) = read(json) else { panic!("{json}") };
        assert!(asked.dry_run && asked.mistake().is_none() && asked.release.git_sha.as_deref() == Some("0badcafe"));
        assert_eq!(read(r#"{"kind":"canary"}"#), Ok(Request::Canary(AfterDeploy::default())));
        assert!(matches!(read(r#"{"kind":"watch","scheduledAt":"2026-11-23T02:00:00Z"}"#), Ok(Request::Watch(Watch { scheduled_at: Some(_), .. }))));
        for (json, named) in [
            (r#"{"kind":"canary","release":{"sha":"0badcafe"}}"#, "sha"),
            (r#"{"kind":"canary","requestid":"1"}"#, "requestid"),
            (r#"{"kind":"look"}"#, "look"),
            ("{}", "kind"),
        ] {
            assert!(read(json).expect_err(json).contains(named), "{json}");
        }
        for (sha, is_good) in [("0badcafe", true), ("0badca", false), ("HEAD~1xx", false), ("", false)] {
            let release = Release { git_sha: Some(sha.to_owned()), version: None };
            assert_eq!(AfterDeploy { release, ..AfterDeploy::default() }.mistake().is_none(), is_good, "{sha}");
        }
    }
}
