use super::*;
use crate::checks::TeamFile;
use crate::checks::check::Operator;
use crate::checks::outcome::{State, conclude};
use crate::checks::run::thresholds;
use crate::model::{ColumnMetrics, TypeClass};

fn check(metric: &str, more: &str) -> Check {
    let text = format!("[[check]]\nname = \"n\"\nkind = \"threshold\"\ntable = \"s.t\"\nmetric = \"{metric}\"\n{more}\n");
    let file = TeamFile::read(&text);
    assert_eq!(file.wrong, []);
    file.checks.into_iter().next().expect("a check")
}

fn metrics(partial: Option<&str>) -> TableMetrics {
    let column = ColumnMetrics { column: "c".into(), nulls: 25, distinct: Some(40.0), min: Some(-3.0), max: Some(8.5), ..ColumnMetrics::default() };
    let none = ColumnMetrics { column: "j".into(), ..ColumnMetrics::default() };
    TableMetrics {
        table: "s.t".into(),
        rows: 1000,
        seen: 100,
        partial: partial.map(str::to_owned),
        columns: vec![column, none],
        ..TableMetrics::default()
    }
}

fn state(check: &Check, metrics: &[TableMetrics]) -> State {
    let tables = [crate::model::Table {
        oid: 1,
        schema: "s".into(),
        name: "t".into(),
        root: None,
        pages: 1,
        tuples: None,
        may_select: true,
        is_locked: false,
        columns: vec![crate::model::Column { name: "c".into(), class: TypeClass::Number, not_null: false, may_select: true }],
    }];
    thresholds(std::slice::from_ref(check), metrics, &tables).remove(0).state
}

#[test]
fn a_promise_holds_of_what_it_says() {
    let holds = |operator, number: f64| Promise { operator, value: 2.0 }.holds(number);
    for (operator, expected) in [
        (Operator::Equal, [false, true, false, false]),
        (Operator::NotEqual, [true, false, true, false]),
        (Operator::Less, [true, false, false, false]),
        (Operator::AtMost, [true, true, false, false]),
        (Operator::More, [false, false, true, false]),
        (Operator::AtLeast, [false, true, true, false]),
    ] {
        assert_eq!([1.0, 2.0, 3.0, f64::NAN].map(|number| holds(operator, number)), expected, "{operator:?}");
    }
}

#[test]
fn each_number_of_a_scan_is_held_against_its_threshold() {
    let column = "column = \"c\"\n";
    for (metric, more, operator, good, bad) in [
        ("rows", "", ">=", 1000.0, 1001.0),
        ("null-share", column, "<=", 0.25, 0.24),
        ("min", column, ">=", -3.0, -2.0),
        ("max", column, "<", 9.0, 8.5),
        ("distinct", column, "=", 40.0, 41.0),
    ] {
        let of = |value: f64| state(&check(metric, &format!("{more}operator = \"{operator}\"\nvalue = {value:?}")), &[metrics(None)]);
        assert_eq!((of(good), of(bad)), (State::Ok, State::Failed), "{metric}");
    }
}

#[test]
fn what_was_not_scanned_is_not_judged() {
    let rows = check("rows", "operator = \">\"\nvalue = 1");
    assert_eq!(state(&rows, &[]), State::NotChecked);
    assert_eq!(state(&rows, &[metrics(Some("row-level security"))]), State::NotChecked);
    let column = |name: &str, metric: &str| check(metric, &format!("column = \"{name}\"\noperator = \">\"\nvalue = 1"));
    assert_eq!(state(&column("gone", "min"), &[metrics(None)]), State::Invalid);
    assert_eq!(state(&column("j", "min"), &[metrics(None)]), State::NotChecked);
    let other =
        TeamFile::read("[[check]]\nname = \"n\"\nkind = \"threshold\"\ntable = \"s.tt\"\nmetric = \"rows\"\noperator = \">\"\nvalue = 1\n").checks;
    assert_eq!(state(&other[0], &[]), State::Invalid);
}

#[test]
fn the_smallest_and_the_largest_are_values_and_are_shown_only_if_asked() {
    let of = |more: &str| {
        let check = check("max", &format!("column = \"c\"\noperator = \"<\"\nvalue = 1\n{more}"));
        let outcome = threshold(&check, &[metrics(None)]).expect("an outcome");
        serde_json::to_string(&conclude(&check, outcome, 0.0)).expect("serialise")
    };
    assert!(!of("").contains("8.5") && of("show-values = true").contains("8.5"));
}
