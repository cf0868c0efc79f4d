//! In haste, killed, twice at once: it converges, and nothing is done twice.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Copy, State, database, files, run};
use restore_drill::rehearsal::files::Files;

/// Every file leaves a mark; a mark twice is a file that ran twice.
fn migration() -> Files {
    files(&[
        ("1.sql", "insert into ran values ('one'); select takes(0.3); insert into ran values ('two');"),
        ("2.sql", "begin; insert into ran values ('three'); commit; create index concurrently i on big (slow(n)); insert into ran values ('four');"),
        ("3.sql", "insert into ran select 'five' where slow(1) = 1; alter table big add column c int;"),
        ("4.sql", "drop index concurrently i; vacuum small"),
        ("5.sql", "insert into ran values ('six');"),
    ])
}

const MARKS: &str = "five,four,one,six,three,two";

async fn ends_well(copy: &Copy, state: &State, told: &str) {
    let result = state.result.as_ref().expect("a result");
    assert!(result.verdict.passes, "{told}: {result:#?}");
    assert_eq!(result.units.len(), 8, "{told}");
    assert_eq!(copy.ask("select string_agg(what, ',' order by what) from ran").await, MARKS, "{told}");
    assert_eq!(copy.ask("select count(*) from pg_index where not indisvalid").await, "0", "{told}");
    assert_eq!(copy.ask("select to_regclass('i')").await, "null");
    for (unit, least) in [(0, 0.3), (2, 2.0), (4, 2.0)] {
        let seconds = result.units[unit].seconds;
        assert!((least..least + 3.0).contains(&seconds), "unit {unit} took {seconds} s: {told}: {result:#?}");
    }
}

/// A statement outside a transaction leaves no trace of its own: ended while nobody looked, it is unknown, and said to be.
async fn ends_well_or_says_so(copy: &Copy, state: &State, told: &str) {
    let result = state.result.as_ref().unwrap_or_else(|| panic!("{told}: {state:?}"));
    if result.units.iter().all(|unit| unit.unknown.is_none()) {
        ends_well(copy, state, told).await;
    } else {
        assert!(!result.verdict.passes, "{told}: what is unknown does not pass");
        let marks = copy.ask("select count(*) = count(distinct what) from ran").await;
        assert_eq!(marks, "true", "{told}");
    }
}

#[test]
fn in_haste_it_goes_on_where_it_was() {
    run(async {
        let (copy, migration) = (Copy::new(17).await, migration());
        let (mut calls, mut before, mut time) = (0, 0, Duration::from_millis(600));
        let state = loop {
            calls += 1;
            let state = copy.advance(&migration, time).await.expect("go on");
            if state.done {
                break state;
            }
            assert!(calls < 500 && (state.units_done >= before || state.units_done == 0), "{calls}: {state:?}");
            before = state.units_done;
            // A busy machine may need longer for the shortest of its steps.
            time = time.mul_f32(1.02);
        };
        assert!(calls >= 4, "statements outlived {calls} invocations");
        ends_well_or_says_so(&copy, &state, "in haste").await;
        copy.drop().await;
    });
}

#[test]
fn killed_at_any_moment_it_converges() {
    run(async {
        let seed: u64 = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        let (copy, migration) = (Copy::new(17).await, migration());
        for _ in 0..25 {
            let millis = random.random_range(1..700);
            // Dropped in the middle, as a function that is killed: sockets close, and nothing is said.
            let _ = tokio::time::timeout(Duration::from_millis(millis), copy.advance(&migration, Duration::from_mins(1))).await;
        }
        let mut state = copy.advance(&migration, Duration::from_mins(1)).await.expect("go on");
        for _ in 0..100 {
            if state.done {
                break;
            }
            // The lock of one that was killed is let go when its server notices.
            state = copy.advance(&migration, Duration::from_mins(1)).await.expect("go on");
        }
        ends_well_or_says_so(&copy, &state, &format!("seed {seed}")).await;
        copy.drop().await;
    });
}

#[test]
fn twice_at_once_it_happens_once() {
    run(async {
        let (copy, migration) = (Copy::new(17).await, migration());
        let limit = Duration::from_mins(1);
        let (one, other) = tokio::join!(copy.advance(&migration, limit), copy.advance(&migration, limit));
        let (one, other) = (one.expect("one"), other.expect("the other"));
        assert!(one.done != other.done, "the one that found the lock held says that there is more: {one:?} {other:?}");
        ends_well(&copy, if one.done { &one } else { &other }, "twice").await;
        let again = copy.advance(&migration, limit).await.expect("again");
        assert_eq!(again.result, if one.done { one.result } else { other.result }, "and again, it says the same");
        copy.drop().await;
    });
}

/// Ends the migration's backend as soon as it is at work.
async fn end_backend(copy: &Copy) -> bool {
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and application_name like '% migration %' and state = 'active' and query like 'DO %'";
    copy.ask(sql).await != "0"
}

#[test]
fn a_session_that_is_ended_from_outside_is_tried_again_but_not_for_ever() {
    run(async {
        for (times, passes) in [(1, true), (5, false)] {
            let copy = Copy::new(17).await;
            let migration = files(&[("1.sql", "insert into ran values ('one'); select slow(1);")]);
            let end = async {
                let mut ended = 0;
                while ended < times {
                    ended += i32::from(end_backend(&copy).await);
                }
            };
            let (state, ()) = tokio::join!(copy.advance(&migration, Duration::from_mins(1)), end);
            let result = state.expect("rehearse").result.expect("a result");
            assert_eq!(result.verdict.passes, passes, "{result:#?}");
            assert_eq!(copy.ask("select count(*) from ran").await, if passes { "1" } else { "0" });
            copy.drop().await;
        }
    });
}

#[test]
fn nothing_of_it_stays_at_the_server() {
    run(async {
        let (copy, migration) = (Copy::new(17).await, migration());
        copy.rehearse(&migration).await;
        database::run_as_admin(&copy.instance, &copy.database, "select 1").await.expect("ask");
        let left = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'lifeboat%'";
        let deadline = super::Instant::now() + Duration::from_secs(10);
        while copy.ask(left).await != "0" {
            assert!(super::Instant::now() < deadline, "sessions stay");
        }
        copy.drop().await;
    });
}
