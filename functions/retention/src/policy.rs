//! How many backups a policy keeps: so many of the newest, and the newest of each of so many hours, days, weeks, months and years.
//!
//! Only periods that have a backup are counted, as restic's `forget` does: never "older than so many days". So a pause in the backups deletes nothing, and a
//! clock that jumps deletes nothing. A policy that keeps nothing is an error.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};

/// What a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Backups.
    Last,
    /// Hours that have one.
    Hourly,
    /// Days that have one, in UTC as all of these.
    Daily,
    /// Weeks of ISO 8601 that have one.
    Weekly,
    /// Months that have one.
    Monthly,
    /// Years that have one.
    Yearly,
}

impl Rule {
    /// Every rule, the one that keeps longest first: it is the reason that an operator wants to read.
    pub const LONGEST_FIRST: [Self; 6] = [Self::Yearly, Self::Monthly, Self::Weekly, Self::Daily, Self::Hourly, Self::Last];

    fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// A number that two slots share when they are in one period; it grows with time. `None`: every backup is a period of its own.
    pub fn period(self, slot: DateTime<Utc>) -> Option<i64> {
        match self {
            Self::Last => None,
            Self::Hourly => Some(slot.timestamp().div_euclid(3600)),
            Self::Daily => Some(slot.timestamp().div_euclid(86_400)),
            // The days are counted from a Monday.
            Self::Weekly => Some((i64::from(slot.num_days_from_ce()) - 1).div_euclid(7)),
            Self::Monthly => Some(i64::from(slot.year()) * 12 + i64::from(slot.month0())),
            Self::Yearly => Some(i64::from(slot.year())),
        }
    }

    /// The period of a slot, for a person: `week 2026-W47`.
    pub fn label(self, slot: DateTime<Utc>) -> String {
        let format = match self {
            Self::Last => return "the newest".to_owned(),
            Self::Hourly => "hour %Y-%m-%d %H:00",
            Self::Daily => "day %Y-%m-%d",
            Self::Weekly => "week %G-W%V",
            Self::Monthly => "month %Y-%m",
            Self::Yearly => "year %Y",
        };
        slot.format(format).to_string()
    }
}

/// How many each rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    counts: [u32; Rule::LONGEST_FIRST.len()],
}

impl Policy {
    /// How many a rule keeps.
    pub fn count(&self, rule: Rule) -> u32 {
        Rule::LONGEST_FIRST.iter().zip(self.counts).find(|(known, _)| **known == rule).map_or(0, |(_, count)| count)
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut policy = Self { counts: [0; Rule::LONGEST_FIRST.len()] };
        let mut named = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, count) = part.split_once('=').ok_or_else(|| format!("`{part}` must be like `daily=14`"))?;
            let place = Rule::LONGEST_FIRST.iter().position(|rule| rule.name() == name.trim());
            let place = place.ok_or_else(|| format!("`{}` is none of last, hourly, daily, weekly, monthly, yearly", name.trim()))?;
            if named.contains(&place) {
                return Err(format!("`{}` is there twice", name.trim()));
            }
            named.push(place);
            policy.counts[place] = count.trim().parse().map_err(|_| format!("`{}` in `{part}` is not a number of backups", count.trim()))?;
        }
        if policy.counts.iter().all(|count| *count == 0) {
            return Err("it keeps nothing: name at least one of last, hourly, daily, weekly, monthly, yearly with a number above 0".to_owned());
        }
        Ok(policy)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Rule::LONGEST_FIRST.iter().zip(self.counts).rev().filter(|(_, count)| *count > 0);
        let parts: Vec<String> = named.map(|(rule, count)| format!("{}={count}", rule.name())).collect();
        formatter.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for text in ["last=20", "daily=14,weekly=8,monthly=12", "last=1,hourly=2,daily=3,weekly=4,monthly=5,yearly=6"] {
            assert_eq!(text.parse::<Policy>().expect(text).to_string(), text);
        }
        let policy: Policy = " daily = 2 , weekly=0 ,".parse().expect("blanks and a zero beside another rule are harmless");
        assert_eq!((policy.count(Rule::Daily), policy.count(Rule::Weekly), policy.to_string()), (2, 0, "daily=2".to_owned()));
    }

    #[test]
    fn a_policy_that_keeps_nothing_or_is_not_understood_is_an_error() {
        for (text, part) in [
            ("", "it keeps nothing"),
            (" , ", "it keeps nothing"),
            ("last=0,daily=0", "it keeps nothing"),
            ("dayly=3", "`dayly` is none of"),
            ("daily", "must be like"),
            ("daily=-1", "not a number"),
            ("daily=many", "not a number"),
            ("daily=1,daily=2", "twice"),
            ("daily=99999999999", "not a number"),
        ] {
            let error = text.parse::<Policy>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn periods_change_where_the_calendar_changes_and_have_its_names() {
        let slot = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        // The last moment of a period, the first of the next, and the name of that.
        for (rule, before, after, label) in [
            (Rule::Hourly, "2026-11-23T01:59:59Z", "2026-11-23T02:00:00Z", "hour 2026-11-23 02:00"),
            (Rule::Daily, "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z", "day 2026-11-23"),
            (Rule::Weekly, "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z", "week 2026-W48"),
            (Rule::Weekly, "2027-01-03T23:59:59Z", "2027-01-04T00:00:00Z", "week 2027-W01"),
            (Rule::Monthly, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "month 2027-01"),
            (Rule::Yearly, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "year 2027"),
            (Rule::Daily, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "day 1970-01-01"),
        ] {
            let (before, after) = (slot(before), slot(after));
            assert_eq!(rule.period(before).map(|period| period + 1), rule.period(after), "{rule:?} {after}");
            assert_eq!(rule.label(after), label);
        }
        assert_eq!(Rule::Weekly.period(slot("2026-12-31T00:00:00Z")), Rule::Weekly.period(slot("2027-01-03T00:00:00Z")), "a week spans the new year");
        assert_eq!(Rule::Last.period(slot("2026-11-23T00:00:00Z")), None);
    }
}
