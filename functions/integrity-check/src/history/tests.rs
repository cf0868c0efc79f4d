//! What is written is read again, however it is damaged in between; how large it gets, on disk and in memory; and what came and went.

use chrono::NaiveDate;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::past::Past;
use super::*;
use crate::anomaly::Metric;
use crate::model::{Column, ColumnMetrics};

fn at(day: u32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(2026, 11, day).and_then(|date| date.and_hms_opt(2, 0, 0)).expect("a time").and_utc()
}

fn one(name: &str, columns: &[(&str, TypeClass)], rows: u64) -> TableTonight {
    let numbers = columns.iter().map(|(name, _)| ColumnMetrics {
        column: (*name).to_owned(),
        nulls: rows / 4,
        distinct: Some(123.456),
        min: Some(-1.5),
        max: Some(1_700_000_000.0),
        empty: Some(1),
        ..ColumnMetrics::default()
    });
    let metrics = TableMetrics { table: name.to_owned(), rows, seen: rows, pages: 3, partial: None, columns: numbers.collect() };
    let columns = columns.iter().map(|(name, class)| ((*name).to_owned(), *class)).collect();
    TableTonight { table: name.to_owned(), quoted: name.to_owned(), pages: 3, columns, metrics: Some(metrics) }
}

fn text(gzip: &[u8]) -> String {
    std::io::read_to_string(flate2::read::GzDecoder::new(gzip)).expect("it is gzip of text")
}

#[test]
fn the_lines_are_flat_and_what_is_not_known_is_not_there() {
    let tables = [
        one("public.orders", &[("id", TypeClass::Number), ("note", TypeClass::Text)], 100),
        TableTonight { metrics: None, ..one("public.far", &[("id", TypeClass::Integer)], 0) },
    ];
    let mut marks = Marks::default();
    marks.add("public.orders", None, Metric::Rows, false);
    marks.add("public.orders", Some("id"), Metric::Nulls, true);
    let lines = text(&encode(at(23).date_naive(), &tables, &marks, Extremes::Values));
    assert_eq!(
        lines.lines().collect::<Vec<_>>(),
        [
            r#"{"date":"2026-11-23","table":"public.orders","rows":100,"seen":100,"pages":3,"flagged":["rows"]}"#,
            r#"{"date":"2026-11-23","table":"public.orders","column":"id","type":"number","seen":100,"nulls":25,"distinct":123,"min":-1.5,"max":1700000000,"negative":true,"empty":1,"flagged":["nulls"],"shifted":["nulls"]}"#,
            r#"{"date":"2026-11-23","table":"public.orders","column":"note","type":"text","seen":100,"nulls":25,"distinct":123,"min":-1.5,"max":1700000000,"empty":1}"#,
            r#"{"date":"2026-11-23","table":"public.far"}"#,
            r#"{"date":"2026-11-23","table":"public.far","column":"id","type":"integer"}"#,
        ]
    );
    let signs = text(&encode(at(23).date_naive(), &tables, &marks, Extremes::SignOnly));
    let id = signs.lines().nth(1).expect("the number");
    assert!(!id.contains("min\":") && !id.contains("max\":") && id.contains("\"negative\":true"), "{id}");
    assert!(signs.lines().nth(2).is_some_and(|note| note.contains("\"max\":1700000000")), "the length of a text is no value");
}

#[test]
fn what_was_written_is_read_again() {
    let columns = [("id", TypeClass::Number), ("note", TypeClass::Text)];
    let mut marks = Marks::default();
    marks.add("public.orders", Some("id"), Metric::Distinct, true);
    let night = |day, rows| (at(day), encode(at(day).date_naive(), &[one("public.orders", &columns, rows)], &marks, Extremes::Values));
    let tables = [one("public.orders", &columns, 1)];
    let past = unpack(&[night(20, 100), night(21, 0), night(22, 200)], &tables, usize::MAX);
    let table = past.table("public.orders").expect("it is there");
    assert_eq!(table.rows().values, [100.0, 0.0, 200.0]);
    let id = table.column(0, "id").expect("a column");
    let nulls = id.points(Metric::Nulls).values;
    assert!((nulls[0] - 0.25).abs() < 1e-4 && nulls[1].is_nan() && (nulls[2] - 0.25).abs() < 1e-4, "no share of no rows: {nulls:?}");
    assert_eq!(
        (id.points(Metric::Distinct).values[0].to_bits(), id.points(Metric::Distinct).flagged, id.points(Metric::Distinct).shifted),
        (123.0_f64.to_bits(), 0b101, 0b101)
    );
    assert_eq!((id.signed, id.negative), (0b101, 0b101));
    assert!(past.unreadable.is_empty() && past.left_out.is_none());
}

#[test]
fn an_object_that_is_damaged_costs_that_night_and_no_other() {
    let columns = [("id", TypeClass::Number)];
    let tables: Vec<TableTonight> = (0..50).map(|number| one(&format!("public.t{number}"), &columns, 100 + number)).collect();
    let whole = encode(at(21).date_naive(), &tables, &Marks::default(), Extremes::Values);
    let seed = 20_261_123;
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..200 {
        let mut damaged = whole.clone();
        match round % 3 {
            0 => damaged.truncate(rng.random_range(0..damaged.len())),
            1 => {
                let place = rng.random_range(0..damaged.len());
                damaged[place] ^= 1 << rng.random_range(0..8);
            }
            _ => damaged = (0..rng.random_range(0..500)).map(|_| rng.random()).collect(),
        }
        let past = unpack(&[(at(20), whole.clone()), (at(21), damaged), (at(22), whole.clone())], &tables, usize::MAX);
        let rows = past.table("public.t7").expect("it is there").rows().values;
        assert_eq!((rows[0].to_bits(), rows[2].to_bits()), (107.0_f64.to_bits(), 107.0_f64.to_bits()), "seed {seed}, round {round}");
    }
    assert_eq!(unpack(&[(at(21), b"no gzip".to_vec())], &tables, usize::MAX).unreadable.len(), 1);
}

/// Numbers as tables have them.
fn drawn(tables: usize, columns: usize, rng: &mut StdRng) -> Vec<TableTonight> {
    let classes =
        [TypeClass::Integer, TypeClass::Text, TypeClass::Time, TypeClass::Number, TypeClass::Boolean, TypeClass::Hashable, TypeClass::Opaque];
    let table = |number: usize| {
        let rows: u64 = 10_u64.pow(rng.random_range(1..8)) + rng.random_range(0..10);
        let mut numbers = Vec::new();
        let mut named = Vec::new();
        for place in 0..columns {
            let class = classes[place % classes.len()];
            let name = format!(
                "{}_{place}",
                ["customer_id", "shipping_address", "created_at", "amount", "is_paid", "token", "payload"][place % classes.len()]
            );
            let nulls = if place % 3 == 0 { rng.random_range(0..=rows) } else { 0 };
            let extremes = !matches!(class, TypeClass::Boolean | TypeClass::Hashable | TypeClass::Opaque);
            numbers.push(ColumnMetrics {
                column: name.clone(),
                nulls,
                distinct: (class != TypeClass::Opaque).then(|| f64::from(rng.random_range(1..u32::try_from(rows).expect("small")))),
                min: extremes.then_some(0.0),
                max: extremes.then(|| rng.random_range(1.0..2e9)),
                empty: (class == TypeClass::Text).then_some(0),
                trues: (class == TypeClass::Boolean).then(|| rng.random_range(0..=rows)),
            });
            named.push((name, class));
        }
        let name = format!("public.table_{number}");
        let metrics = TableMetrics { table: name.clone(), rows, seen: rows, pages: rows / 50, partial: None, columns: numbers };
        TableTonight { table: name.clone(), quoted: name, pages: rows / 50, columns: named, metrics: Some(metrics) }
    };
    (0..tables).map(table).collect()
}

#[test]
fn a_night_of_500_tables_with_5000_columns_is_small() {
    let tables = drawn(500, 10, &mut StdRng::seed_from_u64(1));
    let bytes = encode(at(23).date_naive(), &tables, &Marks::default(), Extremes::Values).len();
    assert!(bytes <= 200 << 10, "{bytes} bytes");
}

#[test]
fn a_hundred_thousand_columns_fit_into_memory_and_what_does_not_is_said() {
    let mut tables = drawn(1_000, 10, &mut StdRng::seed_from_u64(1));
    let nights: Vec<DateTime<Utc>> = (0..63).map(|number| at(1) + chrono::Days::new(number)).collect();
    let said = |bytes_max| Past::new(&nights, &tables, bytes_max).left_out;
    assert_eq!(said(20 << 20), None);
    let least = said(1 << 20).expect("it does not fit");
    assert!(
        least.starts_with("the history of smallest and largest values, distinct values, ") && least.contains("columns of the smallest tables"),
        "{least}"
    );
    let middle = said(7 << 20).expect("it does not fit");
    assert_eq!(middle, "the history of smallest and largest values did not fit into memory, so it was not looked at");
    // The largest tables are kept.
    tables.sort_by_key(|table| table.metrics.as_ref().map_or(0, |metrics| metrics.rows));
    let past = Past::new(&nights, &tables, 2 << 20);
    let columns = |table: &TableTonight| past.table(&table.table).map_or(0, |table| table.columns().len());
    assert_eq!((columns(&tables[0]), columns(&tables[999])), (0, 10));
}

#[test]
fn what_came_went_or_changed_is_said_once_for_a_table_and_a_table_that_was_not_reached_has_not_gone() {
    let columns = [("id", TypeClass::Integer), ("note", TypeClass::Text)];
    let before = [one("public.a", &columns, 1), one("public.b", &columns, 1), one("public.c", &columns, 1)];
    let newest = (at(22), encode(at(22).date_naive(), &before, &Marks::default(), Extremes::Values));
    let older = (at(21), encode(at(21).date_naive(), &[one("public.z", &columns, 1)], &Marks::default(), Extremes::Values));
    let seen = |tonight: &[TableTonight]| -> Vec<(String, String)> {
        let past = unpack(&[older.clone(), newest.clone()], tonight, usize::MAX);
        changes(&past, tonight).into_iter().map(|finding| (finding.subject, finding.seen)).collect()
    };
    assert_eq!(seen(&before), []);
    let not_reached: Vec<TableTonight> = before.iter().cloned().map(|table| TableTonight { metrics: None, ..table }).collect();
    assert_eq!(seen(&not_reached), []);
    let after =
        [one("public.a", &[("id", TypeClass::Text), ("more", TypeClass::Time)], 1), one("public.c", &columns, 1), one("public.d", &columns, 1)];
    let pair = |subject: &str, seen: &str| (subject.to_owned(), seen.to_owned());
    assert_eq!(
        seen(&after),
        [
            pair("public.a", "column note is gone; column id was an integer and is text; column more is new (a time)"),
            pair("public.b", "the table is gone"),
            pair("public.d", "the table is new"),
        ]
    );
    assert_eq!(changes(&unpack(&[], &after, usize::MAX), &after), [], "without a night before nothing is new");
}

#[test]
fn leaves_are_one_table_and_a_scan_of_what_is_gone_is_left_out() {
    let column = Column { name: "id".into(), class: TypeClass::Integer, not_null: true, may_select: true };
    let table = |name: &str, root: Option<&str>| Table {
        oid: 1,
        schema: "s".into(),
        name: name.into(),
        root: root.map(str::to_owned),
        pages: 5,
        tuples: None,
        may_select: true,
        is_locked: false,
        columns: vec![column.clone()],
    };
    let metrics = |name: &str| TableMetrics { table: name.into(), rows: 7, seen: 7, ..TableMetrics::default() };
    let all = tonight(&[table("p1", Some("s.p")), table("a\"b", None), table("p2", Some("s.p"))], vec![metrics("s.p"), metrics("s.gone")]);
    let short: Vec<(&str, &str, u64, bool)> =
        all.iter().map(|one| (one.table.as_str(), one.quoted.as_str(), one.pages, one.metrics.is_some())).collect();
    assert_eq!(short, [("s.p", "\"s\".\"p\"", 10, true), ("s.a\"b", "\"s\".\"a\"\"b\"", 5, false)]);
}

#[test]
fn keys_are_folders_that_athena_reads() {
    assert_eq!(key("app/db", "a b", at(23)), "history/tables/instance=app%2Fdb/database=a%20b/date=2026-11-23/2026-11-23T02-00-00Z.json.gz");
}
