//! The decision about a deployment: a rehearsal that passes, of exactly these files; and for what destroys, a fresh good snapshot. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};

use super::policy::Verdict;

/// A snapshot from which everything could be had back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Its id.
    pub id: String,
    /// The moment that it shows.
    pub shows: DateTime<Utc>,
    /// Whether it is available, and as it should be.
    pub is_good: bool,
}

/// Whether to deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether the migration may run in production.
    pub may_deploy: bool,
    /// Everything that keeps it from that.
    pub reasons: Vec<Finding>,
}

/// How far a snapshot's clock may be ahead of ours.
const SKEW_SECONDS_MAX: i64 = 300;

/// Decides.
pub fn gate(
    verdict: &Verdict,
    files_hash_rehearsed: &str,
    files_hash_now: &str,
    fallback: Option<&Fallback>,
    fallback_age_max: TimeDelta,
    now: DateTime<Utc>,
) -> Decision {
    let refused = |seen: String, hint: &str| Finding::new(FindingKind::MigrationRefused, "deployment", seen).hint(hint);
    let mut reasons = Vec::new();
    if !verdict.passes {
        reasons.push(refused("the rehearsal did not pass".to_owned(), "see its own reasons"));
    }
    if files_hash_rehearsed != files_hash_now || files_hash_now.is_empty() {
        reasons.push(
            refused(format!("other files were rehearsed: {files_hash_rehearsed:?}"), "rehearse exactly the files that are deployed")
                .expected(files_hash_now),
        );
    }
    if !verdict.destroys.is_empty() {
        let needed = format!("the migration destroys: {}", verdict.destroys.join("; "));
        match fallback {
            None => reasons.push(refused(format!("{needed}. There is no snapshot"), "take a snapshot right before the deployment")),
            Some(it) if !it.is_good => reasons.push(refused(format!("{needed}. Snapshot {} is not good", it.id), "see why, and take another")),
            Some(it) if now - it.shows > fallback_age_max || it.shows - now > TimeDelta::seconds(SKEW_SECONDS_MAX) => {
                let seen = format!("{needed}. Snapshot {} shows {}", it.id, it.shows.format("%F %T UTC"));
                let expected = format!("not older than {} minutes", fallback_age_max.num_minutes());
                reasons.push(refused(seen, "take a snapshot right before the deployment").expected(expected));
            }
            Some(_) => {}
        }
    }
    Decision { may_deploy: reasons.is_empty(), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_needed_and_together_they_are_enough() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        // Each bit is one thing that is wrong; nothing wrong deploys, and anything wrong does not.
        for wrong in 0..64u32 {
            let is = |bit: u32| wrong & (1 << bit) != 0;
            for destroys in [false, true] {
                let verdict =
                    Verdict { passes: !is(0), destroys: if destroys { vec!["1.sql:1 DROP TABLE".into()] } else { vec![] }, reasons: vec![] };
                let age = if is(3) { TimeDelta::minutes(61) } else { TimeDelta::minutes(59) };
                let age = if is(5) { TimeDelta::minutes(-6) } else { age };
                let fallback = Fallback { id: "s".into(), shows: now - age, is_good: !is(2) };
                let decision = gate(&verdict, if is(1) { "a" } else { "b" }, "b", (!is(4)).then_some(&fallback), TimeDelta::hours(1), now);
                let expected = !is(0) && !is(1) && !(destroys && (is(2) || is(3) || is(4) || is(5)));
                assert_eq!(decision.may_deploy, expected, "{wrong:06b} {destroys}: {decision:?}");
                assert!(decision.reasons.iter().all(|reason| reason.hint.is_some()));
            }
        }
    }

    #[test]
    fn no_files_are_no_migration() {
        let verdict = Verdict { passes: true, ..Verdict::default() };
        assert!(!gate(&verdict, "", "", None, TimeDelta::hours(1), DateTime::UNIX_EPOCH).may_deploy);
    }
}
