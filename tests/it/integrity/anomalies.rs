//! The detection of anomalies on drawn series, in the small, where a single wild series weighs much; the program `soak` does it in the large, and holds the
//! promise: recall and precision of at least 0.95 each, and of 0.90 after three weeks of history.

use tests::anomalies::{Kind, simulate};

/// Seeds that nothing was tuned on: the program `soak` takes others.
const SEED: u64 = 20_251;

#[test]
fn what_goes_wrong_is_found_and_what_does_not_is_not_said() {
    let simulated = simulate(SEED, 4, 63);
    assert_eq!(simulated.wrong(0.93, 0.90), Vec::<String>::new(), "seed {SEED}:\n{simulated}");
    // The promise can be broken.
    assert!(!simulated.wrong(1.0, 1.0).is_empty(), "{simulated}");
    let tally = simulated.of(&Kind::COMPARED);
    assert!(tally.found + tally.missed > 80 && tally.right > 2_500, "{tally:?}");
}

#[test]
fn after_three_weeks_nearly_as_much_is_found() {
    let simulated = simulate(SEED, 2, 21);
    assert_eq!(simulated.wrong(0.90, 0.85), Vec::<String>::new(), "seed {SEED}:\n{simulated}");
}
