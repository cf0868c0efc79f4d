//! What the function is asked.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use shared::failure::{Failure, FailureKind};

/// Longer ids are nobody's: a request id is a run's number, a commit, a branch.
const REQUEST_ID_CHARS_MAX: usize = 200;

/// `{"kind":"daily"|"preDeploy"|"reconcile", …}`; `version` is answered before it gets here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// The schedule asks for the snapshot of its slot.
    Daily {
        /// The time that the schedule meant. Without it: when the run began.
        #[serde(default)]
        scheduled_at: Option<DateTime<Utc>>,
        /// Nothing is changed; the steps are listed.
        #[serde(default)]
        dry_run: bool,
    },
    /// A pipeline asks for a snapshot before it deploys, and repeats the call until there is one.
    PreDeploy {
        /// The same id is the same snapshot.
        request_id: String,
        /// What is about to be deployed.
        #[serde(default)]
        release: Option<String>,
        /// Its commit.
        #[serde(default)]
        git_sha: Option<String>,
        /// Nothing is changed; the steps are listed.
        #[serde(default)]
        dry_run: bool,
    },
    /// Finishes what is under way, and makes up for what was missed.
    Reconcile {
        /// The time that the schedule meant.
        #[serde(default)]
        scheduled_at: Option<DateTime<Utc>>,
        /// The event of RDS that woke us: only a hint, for everything is looked at anyway.
        #[serde(default)]
        event: Option<String>,
        /// What that event was about.
        #[serde(default)]
        about: Option<String>,
        /// Nothing is changed; the steps are listed.
        #[serde(default)]
        dry_run: bool,
    },
}

/// What is wanted, as the planner takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The snapshot of a slot.
    Daily(DateTime<Utc>),
    /// The snapshot of a pipeline's request.
    PreDeploy {
        /// The request.
        request_id: String,
        /// What is about to be deployed.
        release: Option<String>,
        /// Its commit.
        git_sha: Option<String>,
    },
    /// What was promised.
    Reconcile,
}

impl Request {
    /// Whether nothing is to be changed.
    pub fn dry_run(&self) -> bool {
        match self {
            Self::Daily { dry_run, .. } | Self::PreDeploy { dry_run, .. } | Self::Reconcile { dry_run, .. } => *dry_run,
        }
    }

    /// The slot that it fills, to the second.
    pub fn slot(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Daily { scheduled_at, .. } | Self::Reconcile { scheduled_at, .. } => scheduled_at.unwrap_or(now),
            Self::PreDeploy { .. } => now,
        }
        .trunc_subsecs(0)
    }

    /// What is wanted.
    ///
    /// # Errors
    /// When the request's id is none.
    pub fn wish(&self, now: DateTime<Utc>) -> Result<Wish, Failure> {
        match self {
            Self::Daily { .. } => Ok(Wish::Daily(self.slot(now))),
            Self::Reconcile { .. } => Ok(Wish::Reconcile),
            Self::PreDeploy { request_id, release, git_sha, .. } => {
                if request_id.trim().is_empty() || request_id.chars().count() > REQUEST_ID_CHARS_MAX {
                    let message = format!("`requestId` must have 1 to {REQUEST_ID_CHARS_MAX} characters");
                    return Err(Failure::new(FailureKind::BadRequest, message)
                        .hint("give the id of the pipeline's run: the same id is the same snapshot, so that a repeated call finds it"));
                }
                Ok(Wish::PreDeploy { request_id: request_id.clone(), release: release.clone(), git_sha: git_sha.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<Request, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn now() -> DateTime<Utc> {
        "2026-11-23T02:00:07.5Z".parse().expect("a time")
    }

    #[test]
    fn a_schedule_means_its_slot_and_not_its_delivery() {
        let daily = request(r#"{"kind":"daily","scheduledAt":"2026-11-23T01:00:00Z"}"#).expect("understood");
        assert_eq!(daily.wish(now()), Ok(Wish::Daily("2026-11-23T01:00:00Z".parse().expect("a time"))));
        let by_hand = request(r#"{"kind":"daily","dryRun":true}"#).expect("understood");
        assert_eq!(by_hand.slot(now()), "2026-11-23T02:00:07Z".parse::<DateTime<Utc>>().expect("a time"));
        assert!(by_hand.dry_run() && !daily.dry_run());
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (json, named) in [
            (r#"{"kind":"dayly"}"#, "dayly"),
            (r#"{"kind":"daily","sheduledAt":"2026-11-23T01:00:00Z"}"#, "sheduledAt"),
            (r#"{"kind":"preDeploy"}"#, "requestId"),
            (r#"{"kind":"daily","requestId":"7"}"#, "requestId"),
            ("{}", "kind"),
        ] {
            let error = request(json).expect_err(json);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_request_without_an_id_is_refused() {
        for id in ["", "  ", &"x".repeat(201)] {
            let wish = request(&format!(r#"{{"kind":"preDeploy","requestId":"{id}"}}"#)).expect("understood").wish(now());
            assert_eq!(wish.expect_err(id).kind, FailureKind::BadRequest);
        }
    }
}
