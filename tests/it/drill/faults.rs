//! A share of the drills with trouble; the program `soak` plays as many as you ask for.

use tests::drills::troubled;
use tests::world::run;

#[test]
fn trouble_at_any_call_of_a_snapshots_drill_leaves_nothing_and_is_said() {
    run(async { assert_eq!(troubled("snapshot", 1, 3).await, [""; 0]) });
}

#[test]
fn trouble_at_any_call_of_an_archives_drill_leaves_nothing_and_is_said() {
    run(async { assert_eq!(troubled("archive", 1, 2).await, [""; 0]) });
}
