//! Whole nights, as the function has them: written into a history, read back, judged. Each rule on a clean history, then on the same one broken.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Utc};
use shared::finding::{Finding, FindingKind, Severity};

use super::{Calendar, Judgement, Marks, Metric, judge};
use crate::history::{Extremes, TableTonight, encode, unpack};
use crate::model::{ColumnMetrics, TableMetrics, TypeClass};

/// A table that changes from night to night.
type Night<'a> = &'a dyn Fn(usize) -> TableTonight;

/// Columns: `email` (text), `amount` (number).
fn table(rows: u64, nulls: u64, min: f64) -> TableTonight {
    let email = ColumnMetrics {
        column: "email".into(),
        nulls,
        distinct: Some(crate::model::real(rows) * 0.9),
        empty: Some(rows / 50),
        ..ColumnMetrics::default()
    };
    let amount = ColumnMetrics { column: "amount".into(), min: Some(min), max: Some(100.0), distinct: Some(500.0), ..ColumnMetrics::default() };
    let metrics = TableMetrics { table: "public.orders".into(), rows, seen: rows, pages: 10, partial: None, columns: vec![email, amount] };
    TableTonight {
        table: "public.orders".into(),
        quoted: "\"public\".\"orders\"".into(),
        pages: 10,
        columns: vec![("email".into(), TypeClass::Text), ("amount".into(), TypeClass::Number)],
        metrics: Some(metrics),
    }
}

fn sampled(mut table: TableTonight) -> TableTonight {
    if let Some(metrics) = &mut table.metrics {
        metrics.seen = metrics.rows / 100;
        metrics.columns.iter_mut().for_each(|column| (column.nulls, column.empty) = (column.nulls / 100, column.empty.map(|empty| empty / 100)));
    }
    table
}

/// A Monday.
fn slot(night: usize) -> DateTime<Utc> {
    "2026-08-03T02:00:00Z".parse::<DateTime<Utc>>().expect("a time") + Days::new(night as u64)
}

/// Plays the nights and gives the judgements of all of them.
fn play(nights: usize, tonight: Night<'_>) -> Vec<Judgement> {
    play_some(nights, tonight, |_| true, &Calendar::default())
}

fn play_some(nights: usize, tonight: Night<'_>, runs: impl Fn(usize) -> bool, calendar: &Calendar) -> Vec<Judgement> {
    let (mut written, mut judgements) = (Vec::new(), Vec::new());
    for night in (0..nights).filter(|night| runs(*night)) {
        let tables = [tonight(night)];
        let judgement = judge(&unpack(&written, &tables, usize::MAX), &tables, slot(night), calendar);
        written.push((slot(night), encode(slot(night).date_naive(), &tables, &judgement.marks, Extremes::SignOnly)));
        judgements.push(judgement);
    }
    judgements
}

/// Kinds of each night that had any.
fn kinds(judgements: &[Judgement]) -> BTreeMap<usize, Vec<FindingKind>> {
    let with = judgements.iter().enumerate().filter(|(_, judgement)| !judgement.findings.is_empty());
    with.map(|(night, judgement)| (night, judgement.findings.iter().map(|finding| finding.kind).collect())).collect()
}

fn one(judgements: &[Judgement], night: usize) -> &Finding {
    let findings = &judgements[night].findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    &findings[0]
}

/// 10,000 rows more or less, never fewer than the night before.
fn growing(night: usize) -> u64 {
    10_000 + 7 * night as u64
}

#[test]
fn a_quiet_table_is_quiet() {
    let judgements = play(80, &|night| table(growing(night), 200, 1.0));
    assert_eq!(kinds(&judgements), BTreeMap::new());
    assert!(judgements[79].bands["public.orders"].tonight.is_some_and(|(low, high)| low < 10_500.0 && high > 10_600.0));
}

#[test]
fn an_emptied_table_is_said_until_it_is_filled_and_never_of_a_sample_or_a_queue() {
    let empties = |rows: u64| move |night: usize| table(if (30..40).contains(&night) { 0 } else { rows }, 0, 1.0);
    let judgements = play(45, &empties(10_000));
    let nights: Vec<usize> =
        kinds(&judgements).into_iter().filter(|(_, kinds)| kinds == &[FindingKind::TableEmptied]).map(|(night, _)| night).collect();
    assert_eq!(nights, (30..40).collect::<Vec<_>>());
    let finding = one(&judgements, 30);
    assert_eq!((finding.seen.as_str(), finding.severity), ("no rows; 10,000 in the last night that had any", Severity::Critical));
    assert!(finding.hint.as_ref().is_some_and(|hint| hint.starts_with("SELECT count(*) FROM \"public\".\"orders\";")));
    assert_eq!(kinds(&play(3, &|night| table(if night == 2 { 0 } else { 500 }, 0, 1.0))).len(), 1, "no history is needed but a night");

    let of_sample = |night: usize| {
        let mut table = sampled(table(10_000, 0, 1.0));
        if night == 30 {
            // A sample of 2 of 10 pages that held no row.
            table.metrics = table.metrics.map(|metrics| TableMetrics { rows: 0, seen: 0, pages: 2, ..metrics });
        }
        table
    };
    assert!(kinds(&play(31, &of_sample)).values().flatten().all(|kind| *kind != FindingKind::TableEmptied), "a sample is no proof");
    assert_eq!(kinds(&play(40, &|night| table((night as u64 * 7919) % 6, 0, 1.0))), BTreeMap::new(), "a queue is empty now and then");
}

#[test]
fn an_append_only_table_that_shrank_is_said_and_one_that_shrinks_is_not() {
    let loses = |lost: u64, from: usize| move |night: usize| table(growing(night) - if night >= from { lost } else { 0 }, 0, 1.0);
    let judgements = play(40, &loses(20, 30));
    let finding = one(&judgements, 30);
    assert_eq!(finding.kind, FindingKind::RowsShrank);
    assert!(finding.seen.starts_with("10,190 rows, 13 fewer than the 10,203 of before; in 30 nights it never had fewer"), "{}", finding.seen);
    assert_eq!(kinds(&play(40, &loses(20, 10))), BTreeMap::new(), "ten nights are not enough to say never");
    let restless = |night: usize| table(10_000 + (night as u64 * 7919) % 200, 0, 1.0);
    assert_eq!(kinds(&play(40, &restless)), BTreeMap::new());
    let of_sample = |night: usize| sampled(table(growing(night) - if night == 30 { 20 } else { 0 }, 0, 1.0));
    assert_eq!(kinds(&play(40, &of_sample)), BTreeMap::new(), "an estimate is no proof");
}

#[test]
fn what_stays_is_said_three_nights_and_then_it_is_usual() {
    let judgements = play(50, &|night| table(growing(night) - if night >= 30 { 3_000 } else { 0 }, 0, 1.0));
    let found = kinds(&judgements);
    assert_eq!(found[&30], [FindingKind::RowsShrank]);
    assert_eq!(found[&31], [FindingKind::RowsShrank]);
    assert!(found[&32].contains(&FindingKind::LevelShift) && !found[&32].contains(&FindingKind::RowsShrank), "{found:?}");
    assert!(found.keys().all(|night| *night <= 32), "one note, then quiet: {found:?}");
}

#[test]
fn first_nulls_are_said_also_if_they_are_few() {
    let judgements = play(40, &|night| table(growing(night), u64::from(night >= 30) * 3, 1.0));
    let finding = one(&judgements, 30);
    assert_eq!((finding.kind, finding.subject.as_str()), (FindingKind::FirstNulls, "public.orders"));
    assert_eq!(finding.seen, "email: 3 of 10,210 rows are null, none in the 30 nights before");
    assert_eq!(finding.hint.as_deref(), Some("SELECT count(*), count(*) FILTER (WHERE \"email\" IS NULL) AS nulls FROM \"public\".\"orders\";"));
    assert_eq!(
        kinds(&judgements).into_iter().map(|(night, kinds)| (night, kinds[0])).collect::<Vec<_>>(),
        [(30, FindingKind::FirstNulls), (31, FindingKind::FirstNulls), (32, FindingKind::LevelShift)]
    );
    let early = play(13, &|night| table(growing(night), u64::from(night >= 12) * 3, 1.0));
    assert_eq!(kinds(&early), BTreeMap::new(), "twelve nights are not enough");
    let never_proved = play(40, &|night| if night < 30 { sampled(table(growing(night), 0, 1.0)) } else { table(growing(night), 3, 1.0) });
    assert!(kinds(&never_proved).values().flatten().all(|kind| *kind != FindingKind::FirstNulls), "samples do not prove that there were none");
}

#[test]
fn first_negative_values_are_said_without_the_value() {
    let judgements = play(40, &|night| table(growing(night), 0, if night == 30 { -12_345.678 } else { 0.0 }));
    let finding = one(&judgements, 30);
    assert_eq!(
        (finding.kind, finding.seen.as_str()),
        (FindingKind::FirstNegative, "amount: some values are negative, none was in the 30 nights before")
    );
    assert!(!format!("{judgements:?}").contains("12345"), "no value of a row");
    assert_eq!(kinds(&play(40, &|night| table(growing(night), 0, if night % 9 == 8 { -1.0 } else { 0.0 }))), BTreeMap::new());
}

#[test]
fn an_anomaly_says_what_was_expected_and_for_which_day() {
    let weekly = |night: usize| if night % 7 >= 5 { 4_000 } else { 10_000 } + (night as u64 * 7919) % 300;
    // Night 57 is a Tuesday.
    let judgements = play(58, &|night| table(if night == 57 { 4_100 } else { weekly(night) }, 0, 1.0));
    let finding = one(&judgements, 57);
    assert_eq!((finding.kind, finding.subject.as_str()), (FindingKind::MetricAnomaly, "public.orders"));
    assert!(finding.seen.contains("rows: expected ") && finding.seen.contains(" for a Tuesday, got 4,100"), "{}", finding.seen);
    assert!(kinds(&judgements).keys().eq([57].iter()), "{:?}", kinds(&judgements));
    assert_eq!(judgements[57].marks.of("public.orders", None, false), [Metric::Rows]);
}

#[test]
fn a_jump_of_a_share_is_said_in_percent_and_columns_are_gathered() {
    let judgements = play(40, &|night| table(10_000 + (night as u64 * 7919) % 300, if night == 39 { 6_000 } else { 200 + night as u64 % 7 }, 1.0));
    let seen = &one(&judgements, 39).seen;
    assert!(seen.starts_with("email: share of nulls expected ") && seen.contains(" %, got 5"), "{seen}");
    let many = |night: usize| {
        let columns: Vec<ColumnMetrics> = (0..9)
            .map(|number| ColumnMetrics { column: format!("c{number}"), nulls: if night == 39 { 7_000 } else { 100 }, ..ColumnMetrics::default() })
            .collect();
        let mut table = table(10_000, 0, 1.0);
        table.columns = columns.iter().map(|column| (column.column.clone(), TypeClass::Hashable)).collect();
        table.metrics = table.metrics.map(|metrics| TableMetrics { columns, ..metrics });
        table
    };
    let judgements = play(40, &many);
    let seen = &one(&judgements, 39).seen;
    assert!(seen.starts_with("9 numbers of columns: ") && seen.ends_with("4 more numbers of this table"), "{seen}");
}

#[test]
fn nothing_new_in_a_table_that_grows_is_said_though_its_size_is_usual() {
    let stops = |night: usize| table(1_000_000 + 5_000 * night.min(39) as u64, 0, 1.0);
    let judgements = play(41, &stops);
    assert!(one(&judgements, 40).seen.starts_with("new rows since the night before: expected "), "{:?}", judgements[40].findings);
    assert!(kinds(&play(41, &|night| table(1_000_000 + 5_000 * night as u64, 0, 1.0))).is_empty());
}

#[test]
fn sampled_nights_between_exact_ones_and_missing_nights_raise_nothing() {
    let mixed = |night: usize| {
        if night % 5 == 3 { sampled(table(growing(night) + (night as u64 * 7919) % 500, 200, 1.0)) } else { table(growing(night), 200, 1.0) }
    };
    assert_eq!(kinds(&play(70, &mixed)), BTreeMap::new());
    let runs = |night: usize| night % 3 != 1 && !(40..50).contains(&night);
    assert_eq!(kinds(&play_some(70, &|night| table(growing(night), 200, 1.0), runs, &Calendar::default())), BTreeMap::new());
    let weekly = |night: usize| table(if night % 7 >= 5 { 4_000 } else { 10_000 }, 0, 1.0);
    // For eight weeks it ran on Saturdays only; then it ran on a Monday.
    let changed = play_some(64, &weekly, |night| night % 7 == 5 || night == 63, &Calendar::default());
    assert_eq!(kinds(&changed), BTreeMap::new());
}

#[test]
fn nights_that_saw_only_a_part_are_not_held_against_nights_that_saw_all() {
    let partly = |night: usize| {
        let mut table = table(if night >= 30 { 900 } else { growing(night) }, 0, 1.0);
        if night >= 30 {
            table.metrics = table.metrics.map(|metrics| TableMetrics { partial: Some("row-level security".into()), ..metrics });
        }
        table
    };
    assert_eq!(kinds(&play(45, &partly)), BTreeMap::new());
    assert_eq!(kinds(&play(31, &|night| table(if night >= 30 { 900 } else { growing(night) }, 0, 1.0)))[&30], [FindingKind::RowsShrank]);
}

#[test]
fn a_person_never_reads_more_than_twenty_tables() {
    let names: Vec<String> = (0..50).map(|number| format!("public.t{number:02}")).collect();
    let (mut written, mut last) = (Vec::new(), Judgement::default());
    for night in 0..20 {
        let tables: Vec<TableTonight> = names
            .iter()
            .map(|name| {
                let metrics = TableMetrics {
                    table: name.clone(),
                    rows: if night == 19 { 0 } else { 1_000 },
                    seen: if night == 19 { 0 } else { 1_000 },
                    ..TableMetrics::default()
                };
                TableTonight { table: name.clone(), quoted: name.clone(), pages: 1, columns: Vec::new(), metrics: Some(metrics) }
            })
            .collect();
        last = judge(&unpack(&written, &tables, usize::MAX), &tables, slot(night), &Calendar::default());
        written.push((slot(night), encode(slot(night).date_naive(), &tables, &Marks::default(), Extremes::Values)));
    }
    assert_eq!(last.findings.len(), 20);
    assert!(last.findings[19].seen.ends_with("; 30 more tables likewise") && !last.findings[18].seen.contains("more tables"));
}

#[test]
fn a_listed_day_is_given_room() {
    let noisy = |night: usize| table(if night == 40 { 13_500 } else { 10_000 + (night as u64 * 7919) % 900 }, 0, 1.0);
    let calendar = Calendar { days: [slot(40).date_naive()].into(), month_ends: false };
    let has = |judgements: &[Judgement]| kinds(judgements).contains_key(&40);
    assert_eq!([has(&play(41, &noisy)), has(&play_some(41, &noisy, |_| true, &calendar))], [true, false]);
}
