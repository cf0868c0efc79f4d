use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn night(number: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 2, 0, 0).single().expect("a night") + TimeDelta::days(number)
}

fn counters(at: DateTime<Utc>, entries: &[(i64, f64, f64)]) -> Counters {
    let entries =
        entries.iter().map(|(query, calls, milliseconds)| Entry(*query, 10, true, *calls, *milliseconds, *calls, 0.0, 0.0, 0.0, None)).collect();
    Counters { at, reset_at: Some(night(-100)), thrown_away: Some(0), is_cut: false, entries }
}

fn ids(reviewed: &[Reviewed]) -> Vec<i64> {
    reviewed.iter().map(|reviewed| reviewed.query).collect()
}

#[test]
fn the_first_night_has_nothing_new_and_nothing_slower() {
    let review = review(None, &counters(night(0), &[(1, 1000.0, 500_000.0), (2, 10.0, 100.0)]));
    assert_eq!((ids(&review.top), review.new.len(), review.slower.len()), (vec![1, 2], 0, 0));
    assert!((review.hours, review.seconds.round()) == (0.0, 500.0) && (review.top[0].share - 0.9998).abs() < 1e-4);
}

#[test]
fn only_what_happened_between_the_nights_counts() {
    let before = counters(night(0), &[(1, 1000.0, 900_000.0), (2, 500.0, 5_000.0), (3, 10.0, 10.0)]);
    let now = counters(night(1), &[(1, 1000.0, 900_000.0), (2, 700.0, 7_000.0), (3, 10.0, 10.0), (4, 20_000.0, 80_000.0)]);
    let review = review(Some(&before), &now);
    assert_eq!((ids(&review.top), ids(&review.new), review.slower.len()), (vec![4, 2], vec![4], 0));
    assert_eq!((review.hours.round(), review.queries, review.top[1].calls.round(), review.top[1].mean_milliseconds.round()), (24.0, 2, 200.0, 10.0));
    assert_eq!(review.findings()[0].subject, "query 4");
}

#[test]
fn a_query_is_slower_when_its_mean_doubled_over_enough_calls_and_it_costs_something() {
    let before = counters(night(0), &[(1, 1000.0, 10_000.0), (2, 1000.0, 10_000.0), (3, 50.0, 500.0), (4, 1000.0, 1.0)]);
    let after = [(1, 1500.0, 22_000.0), (2, 2000.0, 29_000.0), (3, 1050.0, 30_500.0), (4, 1500.0, 10.0)];
    // 1: 24 ms instead of 10, 7 s lost; 2: 19 ms; 3: too few calls before; 4: costs nothing.
    assert_eq!(ids(&review(Some(&before), &counters(night(1), &after)).slower), Vec::<i64>::new());
    let worse = [(1, 1500.0, 32_000.0), (2, 2000.0, 29_000.0), (3, 1050.0, 30_500.0), (4, 1500.0, 10.0)];
    let review = review(Some(&before), &counters(night(1), &worse));
    assert_eq!(ids(&review.slower), [1]);
    let finding = &review.findings()[0];
    assert!(
        finding.seen.contains("44 ms on average over 500 calls") && finding.expected.as_ref().is_some_and(|said| said.contains("10 ms")),
        "{finding:?}"
    );
}

#[test]
fn a_reset_begins_at_zero_and_calls_nothing_new() {
    let before = counters(night(0), &[(1, 100_000.0, 900_000.0), (2, 5.0, 5.0)]);
    let mut now = counters(night(1), &[(1, 200.0, 90_000.0), (7, 500.0, 90_000.0)]);
    now.reset_at = Some(night(1) - TimeDelta::hours(1));
    let all = review(Some(&before), &now);
    assert!(all.was_reset && all.new.is_empty() && (all.seconds - 180.0).abs() < 1e-9, "{all:?}");
    // One entry fell by itself: somebody reset it alone.
    now.reset_at = before.reset_at;
    let one = review(Some(&before), &now);
    assert!(one.was_reset && ids(&one.new) == [7], "{one:?}");
}

#[test]
fn what_was_thrown_away_and_came_back_is_not_new() {
    let before = counters(night(0), &[(1, 10.0, 10.0)]);
    let mut now = counters(night(1), &[(1, 20.0, 20.0), (2, 5000.0, 900_000.0)]);
    assert_eq!(ids(&review(Some(&before), &now).new), [2]);
    now.thrown_away = Some(40);
    let churned = review(Some(&before), &now);
    assert_eq!((churned.new.len(), churned.thrown_away, ids(&churned.top)), (0, 40, vec![1]));
    // From 17 on every entry says since when it is counted.
    now.entries[1].9 = Some(seconds(night(1)) - 3600.0);
    assert_eq!(ids(&review(Some(&before), &now).new), [2]);
    now.entries[1].9 = Some(seconds(night(0)) - 3600.0);
    assert_eq!(ids(&review(Some(&before), &now).new), Vec::<i64>::new());
}

#[test]
fn the_whole_is_the_sum_of_what_is_called_from_outside() {
    let before = counters(night(0), &[]);
    let mut now = counters(night(1), &[(1, 10.0, 100_000.0), (2, 10.0, 90_000.0)]);
    now.entries[1].2 = false;
    let review = review(Some(&before), &now);
    assert!((review.seconds - 100.0).abs() < 1e-9 && (review.top[1].share - 0.9).abs() < 1e-9, "{review:?}");
}

#[test]
fn nights_add_up_whatever_happens_in_between() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut state: Vec<(i64, f64, f64)> = (0..20).map(|query| (query, 0.0, 0.0)).collect();
        let (mut before, mut sum) = (None, 0.0);
        for number in 0..6 {
            for (_, calls, milliseconds) in &mut state {
                let more = f64::from(rng.random_range(0..50_u32));
                *calls += more;
                *milliseconds += more * rng.random_range(0.1..9.0);
            }
            let now = counters(night(number), &state);
            let review = review(before.as_ref(), &now);
            sum += review.seconds;
            assert!(review.top.windows(2).all(|pair| pair[0].seconds >= pair[1].seconds), "seed {seed}");
            assert!(review.top.iter().map(|reviewed| reviewed.share).sum::<f64>() <= 1.0 + 1e-9, "seed {seed}");
            before = Some(now);
        }
        let all = state.iter().map(|(_, _, milliseconds)| milliseconds / 1000.0).sum::<f64>();
        assert!((sum - all).abs() < 1e-6, "seed {seed}: {sum} of {all}");
    }
}

#[test]
fn counters_are_small_in_the_history() {
    let entries: Vec<(i64, f64, f64)> = (0..2000).map(|query| (query * 1_234_567_890_123, 12_345.0, 98_765.4)).collect();
    let json = serde_json::to_vec(&counters(night(0), &entries)).expect("serialise");
    assert!(json.len() < 200_000, "{} bytes", json.len());
    assert_eq!(serde_json::from_slice::<Counters>(&json).expect("read"), counters(night(0), &entries));
}
