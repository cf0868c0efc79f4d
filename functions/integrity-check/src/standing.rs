//! What stands from night to night: a finding is told when it is new, when it is critical or nothing is known, and once a week; and it is told when it is gone.
//!
//! Nobody reads the same forty lines every morning, and nobody may miss the forty-first. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind, Severity};

/// What is neither new nor urgent is told again after so long.
const REMINDER: TimeDelta = TimeDelta::days(7);
/// Firings of a schedule are not to the second.
const SLACK: TimeDelta = TimeDelta::hours(2);

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// As it was found last.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was found first.
    pub since: DateTime<Utc>,
    /// When it was told last.
    pub told_at: DateTime<Utc>,
}

/// What a night makes of what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What stands now.
    pub standing: Vec<Standing>,
    /// What is told tonight.
    pub told: Vec<Finding>,
    /// How many of these were not there last night.
    pub new: usize,
    /// What is gone.
    pub gone: Vec<Standing>,
}

/// Holds tonight's findings against what stood. `looked` says whether tonight could have found a thing again; what it could not look at, stands as it stood.
pub fn judge(before: Vec<Standing>, found: Vec<Finding>, looked: impl Fn(&Finding) -> bool, now: DateTime<Utc>) -> Judged {
    let mut judged = Judged::default();
    let mut known: BTreeMap<(FindingKind, String), Standing> =
        before.into_iter().map(|standing| ((standing.finding.kind, standing.finding.subject.clone()), standing)).collect();
    for finding in found {
        let Some(standing) = known.remove(&(finding.kind, finding.subject.clone())) else {
            judged.new += 1;
            judged.told.push(finding.clone());
            judged.standing.push(Standing { finding, since: now, told_at: now });
            continue;
        };
        let is_told = finding.severity >= Severity::Unknown || now - standing.told_at >= REMINDER - SLACK;
        let told_at = if is_told { now } else { standing.told_at };
        if is_told {
            let mut told = finding.clone();
            told.seen = format!("{} (since {})", told.seen, standing.since.format("%Y-%m-%d"));
            judged.told.push(told);
        }
        judged.standing.push(Standing { finding, since: standing.since, told_at });
    }
    for (_, standing) in known {
        if looked(&standing.finding) { judged.gone.push(standing) } else { judged.standing.push(standing) }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).expect("a time") + TimeDelta::days(day)
    }

    fn found(kind: FindingKind, subject: &str) -> Finding {
        Finding::new(kind, subject, "seen")
    }

    #[test]
    fn a_warning_is_told_once_and_weekly_and_when_it_is_gone() {
        let finding = || vec![found(FindingKind::IndexInvalid, "public.a")];
        let (mut standing, mut told) = (Vec::new(), Vec::new());
        for day in 0..16 {
            let judged = judge(standing, finding(), |_| true, night(day));
            assert!(judged.gone.is_empty());
            if !judged.told.is_empty() {
                told.push(day);
            }
            standing = judged.standing;
        }
        assert_eq!(told, [0, 7, 14]);
        assert_eq!(standing[0].since, night(0));
        let judged = judge(standing, Vec::new(), |_| true, night(16));
        assert_eq!((judged.gone.len(), judged.standing.len(), judged.told.len()), (1, 0, 0));
        // It comes again: it is new.
        assert_eq!(judge(judged.standing, finding(), |_| true, night(17)).new, 1);
    }

    #[test]
    fn what_is_critical_or_not_known_is_told_every_night() {
        for kind in [FindingKind::HeapCorrupt, FindingKind::NotChecked] {
            let first = judge(Vec::new(), vec![found(kind, "public.a")], |_| true, night(0));
            let second = judge(first.standing, vec![found(kind, "public.a")], |_| true, night(1));
            assert_eq!((second.told.len(), second.new), (1, 0));
            assert!(second.told[0].seen.contains("since 2026-"), "{}", second.told[0].seen);
        }
    }

    #[test]
    fn what_was_not_looked_at_is_not_gone() {
        let first =
            judge(Vec::new(), vec![found(FindingKind::HeapCorrupt, "public.a"), found(FindingKind::IndexInvalid, "public.b")], |_| true, night(0));
        let second = judge(first.standing, Vec::new(), |finding| finding.kind != FindingKind::HeapCorrupt, night(1));
        assert_eq!(second.gone.iter().map(|gone| gone.finding.subject.as_str()).collect::<Vec<_>>(), ["public.b"]);
        assert_eq!(second.standing[0].finding.subject, "public.a");
    }
}
