use chrono::{TimeDelta, TimeZone};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::*;
use crate::checks::file::TeamFile;

fn settings(more: &str) -> Settings {
    let file = TeamFile::read(&format!("[flags]\ntable = \"public.feature_flags\"\n{more}"));
    assert_eq!(file.wrong, []);
    file.flags.expect("flags")
}

fn rows(value: Value) -> Vec<Map<String, Value>> {
    serde_json::from_value(value).expect("rows")
}

fn day(number: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 2, 0, 0).single().expect("a day") + TimeDelta::days(number)
}

fn flag(name: &str, state: FlagState) -> Flag {
    Flag { name: name.to_owned(), state, created: None, updated: None, is_permanent: false }
}

fn subjects(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.subject.as_str()).collect()
}

#[test]
fn a_row_is_read_whatever_types_the_team_uses() {
    let seen = read(
        &settings("permanent-kinds = [\"operational\"]"),
        &rows(json!([
            {"name": "a", "enabled": true, "rollout_percentage": 100, "created_at": "2026-01-01T00:00:00+01:00", "updated_at": "2026-01-02T00:00:00"},
            {"name": "b", "enabled": "f", "rollout_percentage": null},
            {"name": 7, "enabled": 1, "rollout_percentage": "30 %", "kind": "operational"},
            {"name": "d", "enabled": true, "rollout_percentage": 0.0, "permanent": true},
            {"name": "e", "enabled": true, "updated_at": "infinity"},
            {"name": null, "enabled": true},
            {"name": "g", "enabled": "perhaps"},
            {"name": "h", "enabled": true, "rollout_percentage": "most"},
        ])),
    );
    let states: Vec<(&str, FlagState, bool)> = seen.flags.iter().map(|flag| (flag.name.as_str(), flag.state, flag.is_permanent)).collect();
    assert_eq!(
        states,
        [
            ("a", FlagState::On, false),
            ("b", FlagState::Off, false),
            ("7", FlagState::Partly, true),
            ("d", FlagState::Off, true),
            ("e", FlagState::On, false)
        ]
    );
    assert_eq!((seen.unreadable, seen.flags[0].created, seen.flags[4].updated), (3, Some(day(0) - TimeDelta::hours(3)), None));
}

#[test]
fn a_column_that_was_named_must_be_there() {
    let named = settings("rollout-column = \"percent\"");
    assert_eq!(read(&named, &rows(json!([{"name": "a", "enabled": true}]))).wrong, ["there is no column percent"]);
    assert!(read(&named, &rows(json!([{"name": "a", "enabled": true, "percent": null}]))).wrong.is_empty());
    assert_eq!(read(&settings(""), &rows(json!([{"flag": "a", "enabled": true}]))).wrong, ["there is no column name"]);
}

#[test]
fn with_dates_a_flag_is_stale_in_the_first_night() {
    let made = |name: &str, state, made: i64, changed: i64| Flag { created: Some(day(made)), updated: Some(day(changed)), ..flag(name, state) };
    let flags = [
        made("on", FlagState::On, 0, 60),
        made("fresh", FlagState::On, 0, 90),
        made("never", FlagState::Off, 50, 50),
        made("off", FlagState::Off, 0, 50),
        made("partly", FlagState::Partly, 0, 0),
        Flag { is_permanent: true, ..made("kept", FlagState::On, 0, 0) },
    ];
    let memory = remember(&Memory::new(), &flags, day(100));
    let findings = judge(&settings(""), &flags, &memory, day(100));
    let seen: Vec<(&str, &str)> = findings.iter().map(|finding| (finding.subject.as_str(), finding.seen.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("flag never", "never on since it was made, 50 days ago"),
            ("flag off", "on for nobody for 50 days"),
            ("flag on", "on for everybody for 40 days")
        ]
    );
}

#[test]
fn without_dates_the_nights_count_and_any_change_begins_anew() {
    let settings = settings("on-days = 10\noff-days = 5");
    let mut memory = Memory::new();
    let night = |memory: &mut Memory, number: i64, state| {
        let flags = [flag("a", state)];
        *memory = remember(memory, &flags, day(number));
        judge(&settings, &flags, memory, day(number)).len()
    };
    for number in 0..10 {
        assert_eq!(night(&mut memory, number, FlagState::On), 0, "night {number}");
    }
    assert_eq!(night(&mut memory, 10, FlagState::On), 1);
    assert_eq!(night(&mut memory, 11, FlagState::Partly), 0);
    for number in 12..17 {
        assert_eq!(night(&mut memory, number, FlagState::Off), 0, "night {number}");
    }
    assert_eq!(night(&mut memory, 17, FlagState::Off), 1);
    assert!(memory["a"].was_on);
    // A row that is touched without a change of its state does not become young.
    let touched = [Flag { updated: Some(day(17)), ..flag("a", FlagState::Off) }];
    memory = remember(&memory, &touched, day(18));
    // It was seen otherwise in night 11, and changed at some time after that.
    assert_eq!(memory["a"].since, day(12));
    let never_kept = [Flag { updated: Some(day(-100)), ..flag("a", FlagState::Off) }];
    memory = remember(&memory, &never_kept, day(18));
    assert_eq!(memory["a"].since, day(11), "a date that the application does not keep makes nothing old");
    assert!(remember(&memory, &[], day(19)).is_empty(), "what is gone is forgotten");
}

#[test]
fn a_flag_that_nobody_asks_for_is_said_at_once_and_many_are_counted() {
    let settings = settings("known = [\"a\"]");
    let flags: Vec<Flag> = (0..30).map(|number| flag(&format!("old{number:02}\n"), FlagState::Partly)).chain([flag("a", FlagState::On)]).collect();
    let memory = remember(&Memory::new(), &flags, day(0));
    let findings = judge(&settings, &flags, &memory, day(0));
    assert_eq!((findings.len(), subjects(&findings)[0]), (20, "flag old00 "));
    assert!(findings[19].seen.ends_with("(and 10 more flags like it)"));
}

#[test]
fn never_sooner_than_it_is_known_and_once_stale_it_stays_so_until_it_changes() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let settings = settings("on-days = 7\noff-days = 7");
        let (mut memory, mut changed_at, mut state) = (Memory::new(), 0, FlagState::On);
        for night in 0..60 {
            if rng.random_range(0..8) == 0 {
                let next = [FlagState::On, FlagState::Off, FlagState::Partly][rng.random_range(0..3)];
                if next != state {
                    (state, changed_at) = (next, night);
                }
            }
            // Some nights see nothing.
            if rng.random_range(0..4) == 0 {
                continue;
            }
            let flags = [flag("a", state)];
            memory = remember(&memory, &flags, day(night));
            let is_stale = !judge(&settings, &flags, &memory, day(night)).is_empty();
            assert!(
                !is_stale || (state != FlagState::Partly && night - changed_at >= 7) || memory["a"].since < day(changed_at),
                "seed {seed}, night {night}"
            );
            assert!(memory["a"].since <= day(night));
        }
    }
}
