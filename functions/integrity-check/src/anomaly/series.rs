//! From nights with their times to a series by age: a run that was an hour later is of the same age, a missing night leaves a hole, a night that cannot be
//! compared with tonight's is left out.

use chrono::{DateTime, Utc};

use super::detect::Series;
use super::model::DAYS;
use crate::history::Points;

const DAY_SECONDS: i64 = 86_400;

/// The age in days of each night, seen from tonight; `None`: too old, or not yet a day.
pub(crate) fn ages(nights: &[DateTime<Utc>], tonight: DateTime<Utc>) -> Vec<Option<usize>> {
    let age = |night: &DateTime<Utc>| {
        let days = ((tonight - *night).num_seconds() + DAY_SECONDS / 2).div_euclid(DAY_SECONDS);
        usize::try_from(days).ok().filter(|days| (1..DAYS).contains(days))
    };
    nights.iter().map(age).collect()
}

/// The series of a number; `usable`: bit by night, those that can be compared with tonight.
pub(crate) fn series(ages: &[Option<usize>], points: &Points, usable: u64) -> Series {
    let mut series = Series::default();
    for (night, (age, value)) in ages.iter().zip(&points.values).enumerate() {
        let Some(age) = age.filter(|_| (usable >> night) & 1 == 1 && value.is_finite()) else { continue };
        series.values[age] = *value;
        for (from, to) in [(points.flagged, &mut series.flagged), (points.shifted, &mut series.shifted)] {
            *to = *to & !(1 << age) | ((from >> night) & 1) << age;
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_later_is_the_same_age() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let nights = ["2026-09-01T02:00:00Z", "2026-11-21T23:50:00Z", "2026-11-22T23:50:00Z", "2026-11-23T22:00:00Z"].map(at);
        assert_eq!(ages(&nights, at("2026-11-24T00:10:00Z")), [None, Some(2), Some(1), None], "the last is of the same night");
    }
}
