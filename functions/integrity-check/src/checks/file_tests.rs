use std::time::Duration;

use super::*;
use crate::checks::EXAMPLE;
use crate::checks::check::{Holds, Kind, Level};
use crate::flags::Source;

fn said(text: &str) -> Vec<String> {
    TeamFile::read(text).wrong.iter().map(Wrong::said).collect()
}

const GOOD: &str = "[[check]]\nname = \"a\"\nkind = \"not-null\"\ntable = \"s.t\"\ncolumn = \"c\"\n";

#[test]
fn the_example_has_every_kind_and_is_right() {
    let file = TeamFile::read(EXAMPLE);
    assert_eq!(file.wrong, []);
    let mut kinds: Vec<&str> = file.checks.iter().map(Check::kind_name).collect();
    kinds.dedup();
    assert_eq!(kinds, ["sql", "values", "fresh", "not-null", "range", "pattern", "unique", "references", "threshold", "s3-objects"]);
    let first = &file.checks[0];
    assert_eq!((first.level, first.owner.as_deref(), first.timeout), (Level::Critical, Some("billing team"), Duration::from_secs(30)));
    let line = EXAMPLE.lines().position(|line| line.starts_with("SELECT o.id")).expect("the query") + 1;
    assert!(matches!(&first.kind, Kind::Rows(sql) if sql.line == line && sql.is_block), "{first:?}");
    assert_eq!(EXAMPLE.lines().nth(first.line - 1), Some("[[check]]"));
    assert!(file.calendar.month_ends && file.calendar.days.len() == 3);
    assert!(matches!(&file.flags.expect("flags").source, Source::Table(name) if name.subject() == "shop.feature_flags"));
}

#[test]
fn a_day_that_is_no_date_is_said_with_its_line_and_the_checks_stand() {
    let text = format!("{GOOD}\n[calendar]\ndays = [\"2026-12-25\", \"christmas\"]\n");
    let file = TeamFile::read(&text);
    assert_eq!(file.checks.len(), 1);
    assert_eq!(said(&text), ["line 8: calendar: \"christmas\" is no date: it is written \"2026-12-25\""]);
    assert!(file.calendar.days.is_empty());
}

#[test]
fn one_wrong_check_disables_no_other_and_every_mistake_has_its_line() {
    let text = "[[check]]\nname = \"paid orders\"\nkind = \"values\"\nseverity = \"fatal\"\ntabel = \"s.t\"\ncolumn = 7\naccepted = []\n\n"
        .to_owned()
        + GOOD;
    let file = TeamFile::read(&text);
    assert_eq!(file.checks.iter().map(|check| (check.name.as_str(), check.line)).collect::<Vec<_>>(), [("a", 9)]);
    let mistakes: Vec<(usize, &str)> = file.wrong[0].mistakes.iter().map(|mistake| (mistake.line, mistake.what.as_str())).collect();
    assert_eq!(
        mistakes,
        [
            (1, "`table` is missing"),
            (4, "`severity` must be note, warning, critical"),
            (5, "`tabel` is not known here; did you mean `table`?"),
            (6, "`column` must be a text, not an integer"),
            (7, "`accepted` must have 1 to 1000 entries, none of them empty or with a NUL character"),
        ]
    );
    let finding = file.wrong[0].finding("s3://b/checks.toml");
    assert_eq!((finding.kind, finding.subject.as_str()), (FindingKind::CheckInvalid, "paid orders"));
    assert!(finding.seen.contains("line 4: check \"paid orders\": `severity` must be"), "{}", finding.seen);
}

#[test]
fn each_thing_that_can_be_written_wrong_is_named() {
    let cases = [
        ("kind = \"not-null\"", "kind = \"notnull\"", "line 3: check \"a\": `kind` must be sql"),
        ("kind = \"not-null\"", "", "`kind` is missing"),
        ("name = \"a\"\n", "", "check number 1: `name` is missing"),
        ("name = \"a\"", "name = \"a\\nb\"", "on one line"),
        ("name = \"a\"", "name = \"\"", "line 2: check number 1: `name` is empty"),
        ("name = \"a\"", "name = \"a\\u0000\"", "NUL"),
        ("s.t", "t", "line 4: check \"a\": `table` must be schema.table"),
        ("s.t", "a.b.c", "`table` must be schema.table"),
        ("s.t", "\\\"s.t", "`table` must be schema.table"),
        (
            "column = \"c\"",
            "column = \"c\"\nwhere = \"true) OR (true\"",
            "line 6: check \"a\": `where` cannot be read as SQL: it closes a parenthesis",
        ),
        ("column = \"c\"", "column = \"c\"\nwhere = \"a; DROP TABLE t\"", "semicolon"),
        ("column = \"c\"", "column = \"c\"\nwhere = \"a = $1\"", "parameter"),
        ("column = \"c\"", "column = \"c\"\nrunbook = \"javascript:alert(1)\"", "`runbook` must be a URL"),
        ("column = \"c\"", "column = \"c\"\ntimeout-seconds = 0", "a whole number from 1 to 600, not 0"),
        (
            "column = \"c\"",
            "column = \"c\"\ntimeout-seconds = 1e3",
            "line 6: check \"a\": `timeout-seconds` must be a whole number from 1 to 600, not a float",
        ),
        ("column = \"c\"", "column = \"c\"\nshow-values = \"yes\"", "`show-values` must be true or false, not a string"),
        ("column = \"c\"", "column = \"c\"\nmin = 3", "`min` is not known here"),
        ("\"not-null\"", "\"range\"", "`min`, `max` or both"),
        ("\"not-null\"", "\"fresh\"\nmax-age = \"2 weeks\"", "90m, 26h or 7d"),
        ("\"not-null\"", "\"unique\"", "`columns` is missing"),
        ("\"not-null\"", "\"values\"\naccepted = [1, \"a\"]", "either numbers or texts"),
        ("\"not-null\"", "\"values\"\naccepted = [inf]", "a list of texts, numbers or booleans"),
        ("\"not-null\"", "\"range\"\nmin = 2020-01-01\nmax = 3", "both be numbers, or both be times"),
        ("\"not-null\"", "\"range\"\nmin = 07:00:00", "a number, a date or a time"),
        ("\"not-null\"", "\"threshold\"\nmetric = \"nulls\"\noperator = \"==\"\nvalue = 1", "`metric` must be rows"),
        ("\"not-null\"", "\"s3-objects\"\nbucket = \"My_Bucket\"", "name of a bucket"),
        ("[[check]]", "[check]", "line 1: checks are written below [[check]]"),
        ("[[check]]", "[[checks]]", "did you mean `check`?"),
    ];
    assert_eq!(said(GOOD), Vec::<String>::new());
    for (from, to, expected) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let said = said(&text).join("; ");
        assert!(said.contains(expected), "{to}: {said}");
        assert!(TeamFile::read(&text).checks.is_empty(), "{to}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_one_finding_with_all_its_lines() {
    let text = format!("{GOOD}x = = 1\n\n[[check]\n");
    let file = TeamFile::read(&text);
    assert_eq!((file.checks.len(), file.wrong.len()), (0, 1));
    let lines: Vec<usize> = file.wrong[0].mistakes.iter().map(|mistake| mistake.line).collect();
    assert!(lines.contains(&6) && lines.contains(&8), "{:?}", file.wrong);
    assert_eq!(file.wrong[0].finding("/shop/checks").subject, "/shop/checks");
    // A second table or key of the same name is not TOML either.
    assert_eq!(TeamFile::read("[flags]\ntable = \"a.b\"\ntable = \"c.d\"\n").wrong[0].mistakes[0].line, 3);
}

#[test]
fn of_two_checks_of_one_name_neither_is_believed() {
    let other = GOOD.replace("\"a\"", "\"b\"");
    let file = TeamFile::read(&format!("{GOOD}{other}{GOOD}"));
    assert_eq!(file.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(file.wrong[0].said(), "line 11: check \"a\": line 1 has a check of this name already");
}

#[test]
fn each_database_gets_its_own() {
    let text = format!("{GOOD}{}[flags]\ndatabase = \"one\"\ntable = \"s.f\"\n", GOOD.replace("\"a\"", "\"b\"\ndatabase = \"two\""));
    let file = TeamFile::read(&text);
    let names = |database: &str| file.for_database(database).checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
    assert_eq!((names("one"), names("two")), (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    assert!(file.for_database("one").flags.is_some() && file.for_database("two").flags.is_none());
}

#[test]
fn names_are_names_whatever_they_hold() {
    let text = GOOD.replace("s.t", "Shop \\\" x.\\u00fcnï; DROP TABLE t").replace("\"c\"", "\"c\\\" IS NULL) --\"");
    let file = TeamFile::read(&text);
    assert_eq!(file.wrong, []);
    let sql = crate::checks::sql::for_a_person(&file.checks[0]).expect("a statement");
    assert_eq!(sql, "SELECT * FROM \"Shop \"\" x\".\"ünï; DROP TABLE t\" WHERE \"c\"\" IS NULL) --\" IS NULL LIMIT 20");
    assert!(matches!(&file.checks[0].kind, Kind::Each(_, rule) if rule.holds == Holds::NotNull));
}

#[test]
fn any_text_is_read_without_a_crash() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let pieces: Vec<&str> = EXAMPLE.split_inclusive([' ', '\n', '=', '"']).collect();
    for seed in 0..2000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut text: String = (0..rng.random_range(0..60)).map(|_| pieces[rng.random_range(0..pieces.len())]).collect();
        if seed % 3 == 0 {
            text = GOOD
                .chars()
                .map(|char| if rng.random_range(0..40) == 0 { ['"', '[', '\n', 'ü', '\\', '.'][rng.random_range(0..6)] } else { char })
                .collect();
        }
        let file = TeamFile::read(&text);
        for wrong in &file.wrong {
            let lines = text.lines().count() + 1;
            assert!(
                !wrong.mistakes.is_empty() && wrong.mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)),
                "seed {seed}: {wrong:?}\n{text}"
            );
        }
    }
}
