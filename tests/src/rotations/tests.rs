//! A share of the histories; the program `soak` plays as many as you ask for.

use super::{Bug, Tally, history, signing_history};

#[test]
fn after_any_history_everybody_can_log_in() {
    let mut tally = Tally::default();
    for seed in 0..20_000 {
        if let Err(wrong) = history(seed, None, &mut tally) {
            panic!("{wrong}");
        }
    }
    for (what, count) in [
        ("killed", tally.killed),
        ("frozen", tally.frozen),
        ("late commits", tally.late_commits),
        ("done", tally.done),
        ("given up", tally.given_up),
        ("superseded", tally.superseded),
        ("incidents", tally.incidents),
    ] {
        assert!(count > 100, "{what}: {count}: {tally:?}");
    }
}

#[test]
fn a_bug_against_each_invariant_is_found() {
    for bug in Bug::ALL {
        let found = (0..20_000).find_map(|seed| history(seed, Some(bug), &mut Tally::default()).err().filter(|wrong| wrong.contains(bug.breaks())));
        assert!(found.is_some(), "{bug:?} is not found as a breach of {}", bug.breaks());
    }
}

#[test]
fn what_one_instance_signs_every_other_accepts() {
    for seed in 0..5_000 {
        if let Err(wrong) = signing_history(seed, false) {
            panic!("{wrong}");
        }
    }
}

#[test]
fn a_plain_swap_of_keys_is_noticed() {
    assert!((0..100).any(|seed| signing_history(seed, true).is_err()));
}
