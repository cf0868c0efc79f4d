//! What the function is asked.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// `{"kind":"retain", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// There is one kind; `version` is answered before it gets here.
    #[serde(rename = "kind")]
    _kind: Kind,
    /// The time that the schedule meant; ages are measured against it. Without it: when the run began.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Nothing is deleted; the answer says what a run would do.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Retain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_understood_and_a_slip_is_named() {
        let read = |json: &str| serde_json::from_str::<Request>(json).map_err(|error| error.to_string());
        let request = read(r#"{"kind":"retain","scheduledAt":"2026-11-23T05:00:00Z","dryRun":true}"#).expect("understood");
        assert!(request.dry_run && request.scheduled_at.is_some());
        assert!(!read(r#"{"kind":"retain"}"#).expect("understood").dry_run);
        for (json, named) in [(r#"{"kind":"retain","dryrun":true}"#, "dryrun"), (r#"{"kind":"delete"}"#, "delete"), ("{}", "kind")] {
            assert!(read(json).expect_err(json).contains(named), "{json}");
        }
    }
}
