//! A share of the turns under load; the program `soak` plays as many as you ask for.

use std::time::Duration;

use tests::turns::turns;
use tests::world::run;

#[test]
fn nobody_is_refused_while_the_pair_takes_turns_and_everything_fails() {
    run(async {
        let turns = turns(1, 8, Duration::from_millis(100)).await;
        assert_eq!(turns.wrong, [""; 0], "{turns:#?}");
        assert!(turns.rotations == 7 && turns.logins > 100);
    });
}
