use super::*;
use crate::rehearsal::files::File;
use crate::rehearsal::measure::{Failed, RanStatement};
use crate::rehearsal::split::split;

fn locked(mode: Mode, seconds: f64, bytes: u64) -> Locked {
    Locked { relation: "public.t".into(), is_index: false, mode, seconds, blocked_writes_seconds: seconds, bytes, rows: None }
}

fn statement() -> RanStatement {
    let text = "alter table t".to_owned();
    RanStatement { line: 1, text, seconds: 1.0, rows: 0, timeout_seconds: None, rewrote: vec![], rebuilt: vec![], scanned: vec![], dropped: vec![] }
}

fn judged(policy: &Policy, text: &str, unit: RanUnit) -> Verdict {
    let file = File { name: "1.sql".into(), text: text.into() };
    let planned: Vec<Planned<'_>> = split(&file).expect("units").into_iter().map(|unit| Planned { file: &file, unit }).collect();
    let rehearsal = Rehearsal { units: vec![unit], lints: crate::rehearsal::lint::lint(&file), ..Rehearsal::default() };
    judge(policy, &planned, &rehearsal)
}

fn unit(locks: Vec<Locked>) -> RanUnit {
    RanUnit { file: "1.sql".into(), is_transaction: true, statements: vec![statement()], locks, ..RanUnit::default() }
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_lock_is_judged_by_what_it_shuts_for_how_long_on_how_large_a_table() {
    let policy = Policy::default();
    for (mode, seconds, bytes, passes) in [
        (Mode::AccessExclusive, 1.9, 100 * MIB, true),
        (Mode::AccessExclusive, 2.1, 100 * MIB, false),
        (Mode::AccessExclusive, 100.0, MIB, true),
        (Mode::Share, 4.9, 100 * MIB, true),
        (Mode::Share, 5.1, 100 * MIB, false),
        (Mode::ShareRowExclusive, 5.1, 100 * MIB, false),
        (Mode::ShareUpdateExclusive, 1000.0, 100 * MIB, true),
        (Mode::RowExclusive, 1000.0, 100 * MIB, true),
    ] {
        let verdict = judged(&policy, "select 1", unit(vec![locked(mode, seconds, bytes)]));
        assert_eq!(verdict.passes, passes, "{mode:?} {seconds} {bytes}: {verdict:?}");
        assert!(verdict.reasons.iter().all(|reason| reason.hint.is_some()));
    }
}

#[test]
fn longer_larger_and_stronger_never_turn_a_refusal_into_a_pass() {
    let policy = Policy::default();
    let modes = [Mode::RowExclusive, Mode::ShareUpdateExclusive, Mode::Share, Mode::ShareRowExclusive, Mode::Exclusive, Mode::AccessExclusive];
    let passes = |mode: usize, seconds: usize, size: usize| {
        let lock = locked(modes[mode], [0.1, 1.0, 3.0, 6.0, 60.0][seconds], [0, MIB, 16 * MIB, 1024 * MIB][size]);
        judged(&policy, "select 1", unit(vec![lock])).passes
    };
    for (mode, seconds, size) in (0..6).flat_map(|mode| (0..5).flat_map(move |seconds| (0..4).map(move |size| (mode, seconds, size)))) {
        for (more_mode, more_seconds, more_size) in [(mode + 1, seconds, size), (mode, seconds + 1, size), (mode, seconds, size + 1)] {
            if more_mode < 6 && more_seconds < 5 && more_size < 4 {
                assert!(passes(mode, seconds, size) || !passes(more_mode, more_seconds, more_size), "{mode} {seconds} {size}");
            }
        }
    }
}

#[test]
fn a_rewrite_is_judged_by_size() {
    for (bytes, passes) in [(256 * MIB, true), (257 * MIB, false)] {
        let mut unit = unit(vec![locked(Mode::AccessExclusive, 1.0, bytes)]);
        unit.statements[0].rewrote = vec!["public.t".into()];
        let verdict = judged(&Policy::default(), "select 1", unit);
        assert_eq!((verdict.passes, verdict.reasons.len()), (passes, 1), "{verdict:?}");
    }
}

#[test]
fn what_failed_or_is_unknown_never_passes() {
    let failed = Failed { line: 1, text: "x".into(), sqlstate: "42P01".into(), message: "relation does not exist".into(), seconds: 0.0 };
    assert!(!judged(&Policy::default(), "select 1", RanUnit { failed: Some(failed), ..unit(vec![]) }).passes);
    let verdict = judged(&Policy::default(), "select 1", RanUnit { unknown: Some("why".into()), ..unit(vec![]) });
    assert!(!verdict.passes && verdict.reasons[0].kind == FindingKind::NotChecked);
    assert!(!judged(&Policy::default(), "begin; select 1; commit; begin; select 2; commit", unit(vec![])).passes, "the second did not run");
}

#[test]
fn its_own_timeout_would_have_stopped_it() {
    let mut unit = unit(vec![]);
    unit.statements[0].timeout_seconds = Some(0.5);
    assert!(!judged(&Policy::default(), "select 1", unit).passes);
}

#[test]
fn what_destroys_is_listed_whether_it_is_in_the_text_or_was_only_seen() {
    let verdict = judged(&Policy::default(), "drop table t", unit(vec![]));
    assert_eq!((verdict.passes, verdict.destroys), (true, vec!["1.sql:1 DROP TABLE".to_owned()]));
    let mut hidden = unit(vec![]);
    hidden.statements[0].dropped = vec!["public.t".into()];
    let verdict = judged(&Policy::default(), "do $$ begin execute 'drop table t'; end $$", hidden);
    assert_eq!(verdict.destroys, ["1.sql:1 dropped public.t"]);
}

#[test]
fn a_rule_warns_refuses_or_is_silent_as_it_is_told() {
    let text = "alter table t rename column a to b";
    let rules = vec!["renaming-column".to_owned()];
    for (policy, passes, count) in [
        (Policy::default(), true, 1),
        (Policy { refuse_rules: rules.clone(), ..Policy::default() }, false, 1),
        (Policy { ignore_rules: rules, ..Policy::default() }, true, 0),
    ] {
        let verdict = judged(&policy, text, unit(vec![]));
        assert_eq!((verdict.passes, verdict.reasons.len()), (passes, count), "{verdict:?}");
    }
}

#[test]
fn an_unknown_setting_is_a_mistake() {
    assert!(serde_json::from_str::<Policy>(r#"{"largeBytes": 1}"#).is_ok());
    assert!(serde_json::from_str::<Policy>(r#"{"largeByte": 1}"#).is_err());
}

#[test]
fn of_very_many_reasons_those_that_refuse_are_kept() {
    let renames: Vec<String> = (0..500).map(|number| format!("alter table t{number} rename to u{number};\n")).collect();
    let text = renames.concat() + "select 1;";
    let failed = Failed { line: 501, text: "x".into(), sqlstate: "42P01".into(), message: "relation does not exist".into(), seconds: 0.0 };
    let verdict = judged(&Policy::default(), &text, RanUnit { failed: Some(failed), ..unit(vec![]) });
    assert_eq!((verdict.passes, verdict.reasons.len(), verdict.reasons[0].kind), (false, REASONS_MAX + 1, FindingKind::MigrationRefused));
}

#[test]
fn of_very_many_statements_and_locks_what_matters_is_listed() {
    let mut unit = unit((0..1000).map(|number| locked(Mode::AccessExclusive, 1.0, number)).collect());
    unit.statements = (0..1000).map(|number| RanStatement { seconds: f64::from(number % 500), ..statement() }).collect();
    unit.shorten();
    assert!(unit.statements.len() <= 100 && unit.statements.iter().all(|statement| statement.seconds > 400.0));
    assert!(unit.locks.len() <= 100 && unit.locks.iter().any(|locked| locked.bytes == 999));
    assert_eq!(unit.left_out, 2000 - unit.statements.len() - unit.locks.len());
}
