//! Which backups are read to the last byte now, and why: pure, from what is there and when each was last read.

use chrono::{DateTime, TimeDelta, Utc};
use shared::finding::{Finding, FindingKind};
use shared::key::ArchiveKey;
use shared::report::slot_name;

use crate::request::Deep;
use shared::human::duration;

/// A backup that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub key: ArchiveKey,
    /// How much there is to read.
    pub work: Work,
    /// When it was last read to the end, and whether it was whole.
    pub last: Option<Last>,
}

/// The last time that a backup was read to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it was whole.
    pub good: bool,
}

/// A backup that is to be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub key: ArchiveKey,
    /// How much there is to read.
    pub work: Work,
    /// For the log.
    pub why: String,
    /// Whether it must be said when the time does not suffice for it.
    pub must: bool,
}

/// What is read now, the most urgent first. Everything is in the plan that the request allows; the time decides how far it gets.
pub fn plan(candidates: &[Candidate], deep: Deep) -> Vec<Decision> {
    if deep == Deep::None {
        return Vec::new();
    }
    let mut ranked: Vec<(u8, i64, Decision)> = candidates
        .iter()
        .map(|candidate| {
            let newest = candidates.iter().all(|other| other.key.database != candidate.key.database || other.key.slot <= candidate.key.slot);
            // The smaller of two comes first: among those never read the newest, among the others the one that was read longest ago.
            let (rank, order, why) = match candidate.last {
                None if newest => (0, -candidate.key.slot.timestamp(), "newest of its database, never read".to_owned()),
                Some(last) if !last.good => (1, last.at.timestamp(), format!("not whole when it was read at {}", slot_name(last.at))),
                None => (2, -candidate.key.slot.timestamp(), "never read".to_owned()),
                Some(last) => (3, last.at.timestamp(), format!("last read at {}", slot_name(last.at))),
            };
            let must = rank == 0 || deep == Deep::All;
            (rank, order, Decision { key: candidate.key.clone(), work: candidate.work, why, must })
        })
        .collect();
    ranked.sort_by(|a, b| (a.0, a.1, &a.2.key).cmp(&(b.0, b.1, &b.2.key)));
    ranked.into_iter().map(|(_, _, decision)| decision).collect()
}

/// Keys that a finding names before it only counts.
const NAMED_MAX: usize = 10;

/// The backups that were not read within the promised time. One that was never read counts from its slot.
pub fn overdue(candidates: &[Candidate], instance: &str, reread: TimeDelta, at: DateTime<Utc>) -> Option<Finding> {
    let mut late: Vec<(DateTime<Utc>, &ArchiveKey)> = candidates
        .iter()
        .map(|candidate| (candidate.last.map_or(candidate.key.slot, |last| last.at), &candidate.key))
        .filter(|(since, _)| at - *since > reread)
        .collect();
    late.sort();
    let (oldest, _) = late.first()?;
    let mut seen = format!("{} backups were not read for up to {}: ", late.len(), duration(at - *oldest));
    seen.push_str(&late.iter().take(NAMED_MAX).map(|(_, key)| key.prefix()).collect::<Vec<_>>().join(", "));
    if late.len() > NAMED_MAX {
        seen.push_str(" …");
    }
    Some(
        Finding::new(FindingKind::RereadOverdue, instance, seen)
            .expected(format!("every backup is read again within {}", duration(reread)))
            .hint("run the verification more often, or keep fewer backups"),
    )
}

/// How much there is to read. An object costs as much as so many bytes: most of a small one's time is the wait for its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

const OBJECT_COST_BYTES: u64 = 1 << 20;

impl Work {
    fn cost(self) -> u64 {
        self.bytes.saturating_add(self.objects.saturating_mul(OBJECT_COST_BYTES))
    }
}

/// How fast it went so far, to tell whether the next backup fits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    cost: u64,
    seconds: f64,
}

/// Faster than any Lambda reads from S3: before anything is measured, only what cannot possibly fit is refused.
const HOPEFUL_COST_PER_SECOND: f64 = 600e6;

impl Pace {
    /// Takes a measurement.
    pub fn add(&mut self, work: Work, seconds: f64) {
        self.cost = self.cost.saturating_add(work.cost());
        self.seconds += seconds;
    }

    /// Seconds that this much work will take.
    #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
    pub fn estimate_seconds(&self, work: Work) -> f64 {
        let per_second = if self.seconds > 0.0 && self.cost > 0 { self.cost as f64 / self.seconds } else { HOPEFUL_COST_PER_SECOND };
        work.cost() as f64 / per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::report::parse_slot_name;

    fn at(name: &str) -> DateTime<Utc> {
        parse_slot_name(name).expect("time")
    }

    fn candidate(database: &str, day: u32, last: Option<(&str, bool)>) -> Candidate {
        let slot = at(&format!("2026-11-{day:02}T02-00-00Z"));
        let key = ArchiveKey { instance: "app-db".into(), database: database.into(), slot, run_id: "0badcafe".into() };
        let last = last.map(|(time, good)| Last { at: at(time), good });
        Candidate { key, work: Work { objects: 3, bytes: 1_000 }, last }
    }

    fn order(candidates: &[Candidate], deep: Deep) -> Vec<(String, u32)> {
        use chrono::Datelike as _;
        plan(candidates, deep).into_iter().map(|decision| (decision.key.database, decision.key.slot.day())).collect()
    }

    #[test]
    fn the_most_urgent_comes_first_and_everything_has_a_reason() {
        let candidates = [
            candidate("app", 18, Some(("2026-11-20T06-00-00Z", true))),
            candidate("app", 19, Some(("2026-11-19T06-00-00Z", true))),
            candidate("app", 20, Some(("2026-11-22T06-00-00Z", false))),
            candidate("app", 21, None),
            candidate("app", 22, None),
            candidate("app", 23, None),
            candidate("crm", 22, None),
        ];
        let expected = [("app", 23), ("crm", 22), ("app", 20), ("app", 22), ("app", 21), ("app", 19), ("app", 18)];
        assert_eq!(order(&candidates, Deep::Share), expected.map(|(database, day)| (database.to_owned(), day)));
        assert_eq!(order(&candidates, Deep::All), expected.map(|(database, day)| (database.to_owned(), day)));
        assert!(order(&candidates, Deep::None).is_empty());
        let plan = plan(&candidates, Deep::Share);
        assert!(plan.iter().all(|decision| !decision.why.is_empty()));
        assert_eq!(plan.iter().filter(|decision| decision.must).count(), 2);
    }

    #[test]
    fn whatever_is_read_first_today_is_read_last_tomorrow() {
        let mut candidates: Vec<Candidate> = (1..=20).map(|day| candidate("app", day, None)).collect();
        let mut read = std::collections::BTreeSet::new();
        // Each day only three fit; after seven days all twenty were read.
        for day in 0..7 {
            for decision in plan(&candidates, Deep::Share).into_iter().take(3) {
                read.insert(decision.key.clone());
                let candidate = candidates.iter_mut().find(|candidate| candidate.key == decision.key).expect("it is one of them");
                candidate.last = Some(Last { at: at("2026-11-23T06-00-00Z") + TimeDelta::days(day), good: true });
            }
        }
        assert_eq!(read.len(), 20);
    }

    #[test]
    fn what_was_not_read_in_time_is_named() {
        let now = at("2026-12-23T06-00-00Z");
        let mut candidates = vec![candidate("app", 24, None), candidate("app", 2, Some(("2026-11-24T06-00-00Z", true)))];
        assert_eq!(overdue(&candidates, "app-db", TimeDelta::days(30), now), None);
        candidates.push(candidate("app", 3, Some(("2026-11-23T05-59-59Z", true))));
        candidates.push(candidate("app", 1, None));
        let finding = overdue(&candidates, "app-db", TimeDelta::days(30), now).expect("two are late");
        assert_eq!(finding.kind, FindingKind::RereadOverdue);
        for named in ["2 backups", "52 d", "2026-11-01T02-00-00Z", "2026-11-03T02-00-00Z"] {
            assert!(finding.seen.contains(named), "{}", finding.seen);
        }
        assert!(!finding.seen.contains("2026-11-24T02"), "{}", finding.seen);
    }

    #[test]
    fn the_estimate_follows_what_was_measured() {
        let mut pace = Pace::default();
        let gigabyte = Work { objects: 1, bytes: 1_000_000_000 };
        assert!(pace.estimate_seconds(gigabyte) < 2.0);
        pace.add(Work { objects: 1, bytes: 100_000_000 }, 1.0);
        assert!((9.0..11.0).contains(&pace.estimate_seconds(gigabyte)));
        assert!(pace.estimate_seconds(Work { objects: 10_000, bytes: 0 }) > 60.0, "many small objects take their time");
    }
}
