//! The detector on series that are written down by age, tonight's before them: what it must see, and what it must not.

use super::detect::{Series, Side, Sort, Tonight, Verdict, bands, judge};
use super::model::DAYS;

/// A series by age from 1 on.
fn series(value: impl Fn(usize) -> f64, nights: usize) -> Series {
    let mut series = Series::default();
    for age in 1..=nights.min(DAYS - 1) {
        series.values[age] = value(age);
    }
    series
}

fn tonight(value: f64) -> Tonight {
    Tonight { value, seen: 1e6, is_estimate: false, widening: 1.0 }
}

fn side(series: &Series, sort: Sort, value: f64) -> Option<Side> {
    judge(series, sort, &tonight(value)).and_then(|verdict| verdict.flagged)
}

/// Noise of a twentieth, the same every time.
fn noise(age: usize) -> f64 {
    let wave = u32::try_from(age * 7919 % 101).expect("small");
    1.0 + (f64::from(wave) / 100.0 - 0.5) * 0.1
}

fn real(age: usize) -> f64 {
    f64::from(u32::try_from(age).expect("small"))
}

/// Weekends are less than half; age 7 is tonight's weekday, a working day.
fn weekly(age: usize) -> f64 {
    10_000.0 * noise(age) * if matches!(age % 7, 1 | 2) { 0.4 } else { 1.0 }
}

#[test]
fn half_of_the_rows_is_flagged_and_a_usual_night_is_not() {
    let series = series(|age| 10_000.0 * noise(age), 56);
    assert_eq!(side(&series, Sort::Rows, 10_100.0), None);
    assert_eq!(side(&series, Sort::Rows, 5_000.0), Some(Side::Low));
    assert_eq!(side(&series, Sort::Rows, 20_000.0), Some(Side::High));
    assert_eq!(side(&series, Sort::Rows, 0.0), Some(Side::Low));
}

#[test]
fn a_working_day_is_held_against_working_days() {
    let series = series(weekly, 56);
    let verdict = judge(&series, Sort::Rows, &tonight(4_000.0)).expect("enough nights");
    assert!(verdict.is_weekday && verdict.flagged == Some(Side::Low), "a weekend's number on a working day: {verdict:?}");
    assert_eq!(side(&series, Sort::Rows, 10_000.0), None);
    // The same series a day later: tonight is a weekend's night.
    let mut weekend = series.clone();
    for age in 1..DAYS - 6 {
        weekend.values[age] = weekly(age + 1);
    }
    assert_eq!(side(&weekend, Sort::Rows, 4_000.0), None);
    assert_eq!(side(&weekend, Sort::Rows, 10_000.0), Some(Side::High));
}

#[test]
fn too_few_nights_say_nothing_and_growth_is_no_news() {
    assert_eq!(judge(&series(|_| 10_000.0, 7), Sort::Rows, &tonight(0.0)), None);
    assert_eq!(side(&series(|_| 10_000.0, 8), Sort::Rows, 0.0), Some(Side::Low));
    let growing = series(|age| 10_000.0 * (1.02_f64).powf(-real(age)) * noise(age), 56);
    assert_eq!(side(&growing, Sort::Rows, 10_000.0), None);
    assert_eq!(side(&growing, Sort::Rows, 7_000.0), Some(Side::Low));
}

#[test]
fn tonight_is_never_in_its_own_model_and_one_wild_night_moves_nothing() {
    let clean = series(|age| 10_000.0 * noise(age), 56);
    let mut wild = clean.clone();
    wild.values[3] = 9e9;
    let (a, b) = (judge(&clean, Sort::Rows, &tonight(1.0)).expect("a verdict"), judge(&clean, Sort::Rows, &tonight(1e9)).expect("a verdict"));
    assert_eq!((a.low.to_bits(), a.high.to_bits()), (b.low.to_bits(), b.high.to_bits()), "whatever tonight is, the same was expected");
    let c = judge(&wild, Sort::Rows, &tonight(1.0)).expect("a verdict");
    assert!((c.expected / a.expected - 1.0).abs() < 0.02 && c.high < a.high * 1.2, "{c:?} {a:?}");
}

#[test]
fn what_is_flagged_and_what_is_not_are_the_two_sides_of_the_range_that_is_said() {
    let share = series(|age| 0.02 * noise(age), 56);
    let rows = series(weekly, 56);
    for (series, sort) in [(share, Sort::Share), (rows, Sort::Rows)] {
        let Verdict { low, high, .. } = judge(&series, sort, &tonight(0.0)).expect("a verdict");
        for (value, expected) in [(low, None), (high, None), (low * 0.99 - 1e-9, Some(Side::Low)), (high * 1.01, Some(Side::High))] {
            assert_eq!(side(&series, sort, value), expected.filter(|_| value >= 0.0), "{value} of {low} to {high}");
        }
    }
}

#[test]
fn a_number_that_was_flagged_three_nights_stays_there_and_its_weeks_are_kept() {
    let mut moved = series(|age| weekly(age) * if age <= 2 { 3.0 } else { 1.0 }, 56);
    moved.flagged = 0b110;
    let verdict = judge(&moved, Sort::Rows, &tonight(30_000.0)).expect("a verdict");
    assert!(verdict.is_shift && verdict.flagged == Some(Side::High), "{verdict:?}");
    let two = Series { flagged: 0b10, ..moved.clone() };
    assert!(!judge(&two, Sort::Rows, &tonight(30_000.0)).expect("a verdict").is_shift, "only one night before it was flagged");
    // A night later: what was at 1 and 2 is at 2 and 3, and the shift was decided at 1.
    let mut later = series(|age| weekly(age) * if age <= 3 { 3.0 } else { 1.0 }, 56);
    (later.flagged, later.shifted) = (0b1110, 0b10);
    assert_eq!(side(&later, Sort::Rows, 30_000.0), None, "its history began anew");
    assert_eq!(side(&later, Sort::Rows, 10_000.0), Some(Side::Low), "and what it was before is unusual now");
    let unmarked = Series { shifted: 0, ..later };
    assert_eq!(side(&unmarked, Sort::Rows, 30_000.0), Some(Side::High), "without the mark it would still be flagged");
}

#[test]
fn missing_nights_and_a_day_that_the_schedule_never_ran_on_raise_nothing() {
    let mut gaps = series(weekly, 56);
    for age in (1..DAYS).filter(|age| age % 3 == 1) {
        gaps.values[age] = f64::NAN;
    }
    assert_eq!(side(&gaps, Sort::Rows, 10_000.0), None);
    assert_eq!(side(&gaps, Sort::Rows, 3_000.0), Some(Side::Low));
    // It always ran on one weekday; tonight is another.
    let mut once_a_week = Series::default();
    for age in (3..DAYS).step_by(7) {
        once_a_week.values[age] = 4_000.0;
    }
    assert_eq!(judge(&once_a_week, Sort::Rows, &tonight(10_000.0)), None);
}

#[test]
fn a_series_that_is_flagged_all_the_time_is_let_be() {
    let mut restless = series(|age| if age % 2 == 0 { 10_000.0 } else { 25_000.0 }, 56);
    restless.flagged = (1..DAYS).filter(|age| age % 2 == 1).fold(0, |mask, age| mask | 1 << age);
    assert_eq!(side(&restless, Sort::Rows, 25_000.0), None);
}

#[test]
fn small_numbers_and_small_shares_jump_by_themselves() {
    let few = series(|age| real(age * 7919 % 7), 56);
    for rows in 0..8 {
        assert_eq!(side(&few, Sort::Rows, real(rows)), None, "{rows}");
    }
    let share = series(|age| real(age * 31 % 5) / 50.0, 56);
    let of_fifty = Tonight { value: 0.1, seen: 50.0, is_estimate: false, widening: 1.0 };
    assert_eq!(judge(&share, Sort::Share, &of_fifty).and_then(|verdict| verdict.flagged), None);
}

#[test]
fn samples_and_special_days_are_given_room() {
    let series = series(|age| 10_000.0 + real(age % 3), 56);
    let at = |is_estimate, widening| {
        judge(&series, Sort::Rows, &Tonight { value: 8_700.0, seen: 8_700.0, is_estimate, widening }).expect("a verdict").flagged
    };
    assert_eq!([at(false, 1.0), at(true, 1.0)], [Some(Side::Low), None]);
    let noisy = self::series(|age| 10_000.0 * noise(age), 56);
    let at =
        |widening| judge(&noisy, Sort::Rows, &Tonight { value: 7_300.0, seen: 7_300.0, is_estimate: false, widening }).expect("a verdict").flagged;
    assert_eq!([at(1.0), at(2.0)], [Some(Side::Low), None]);
}

#[test]
fn the_band_of_the_nights_before_holds_most_of_them() {
    let series = series(weekly, 62);
    let bands = bands(&series, Sort::Rows, 10_000.0, 28);
    let inside = bands.iter().filter(|(age, low, high)| (*low..=*high).contains(&series.values[*age])).count();
    assert!(bands.len() >= 26 && inside == bands.len(), "{inside} of {}", bands.len());
}
