//! The page: what a tired person must see first, nothing from elsewhere, nothing that a name could break out of, and how large it gets.

use chrono::{DateTime, NaiveDate, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::finding::{Finding, FindingKind};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn row(table: &str) -> TableRow {
    TableRow {
        table: table.to_owned(),
        rows: Some(1_234_567),
        points: (0..28_u32).map(|night| Some(1e6 + f64::from(night) * 1e4)).collect(),
        band: vec![Some((9e5, 1.4e6)); 28],
        columns: vec![ColumnRow { name: "id".into(), kind: "integer", nulls: Some(0.0), distinct: Some(1e6), ..ColumnRow::default() }],
        ..TableRow::default()
    }
}

fn with(findings: Vec<ShownFinding>) -> Page {
    let database = DatabasePage {
        name: "app".into(),
        tables: vec![row("public.orders")],
        findings,
        coverage: Some(Coverage::default()),
        ..DatabasePage::default()
    };
    Page { instance: "app-db".into(), stage: "prod".into(), night: at("2026-11-23T02:00:00Z"), databases: vec![database], ..Page::default() }
}

fn shown(kind: FindingKind, subject: &str, since: Option<&str>) -> ShownFinding {
    ShownFinding { finding: Finding::new(kind, subject, "seen"), since: since.map(|date| date.parse::<NaiveDate>().expect("a date")) }
}

#[test]
fn the_first_words_say_whether_anything_is_wrong() {
    let headline = |findings| {
        let html = page(&with(findings)).into_string();
        let (_, rest) = html.split_once("<h1>").expect("a headline");
        (rest.split_once("</h1>").expect("its end").0.to_owned(), html)
    };
    let (text, html) = headline(Vec::new());
    assert_eq!(text, "All is well");
    assert!(html.contains("<header class=\"ok\">") && html.contains("Nothing needs anybody."));
    let note = shown(FindingKind::LevelShift, "public.orders", None);
    assert_eq!(headline(vec![note.clone()]).0, "All is well", "a note is no trouble");
    let warning = shown(FindingKind::MetricAnomaly, "public.orders", None);
    assert_eq!(headline(vec![note.clone(), warning.clone()]).0, "One thing to look at this week");
    let unknown = shown(FindingKind::NotChecked, "public.b", None);
    assert_eq!(headline(vec![warning.clone(), unknown.clone(), unknown.clone()]).0, "2 things could not be checked");
    let critical = shown(FindingKind::TableEmptied, "public.orders", Some("2026-11-20"));
    let (text, html) = headline(vec![note, warning, unknown, critical]);
    assert_eq!(text, "One thing is wrong and needs you now");
    assert!(html.contains("<header class=\"critical\">") && html.contains("since 20 November") && html.contains("Table emptied"));
    let place = |words: &str| html.find(words).unwrap_or_else(|| panic!("{words} is missing"));
    assert!(place("Table emptied") < place("Not checked") && place("Not checked") < place("Metric anomaly"), "the worst comes first");
}

#[test]
fn a_table_with_something_to_look_at_is_drawn_without_the_script() {
    let mut page_of = with(Vec::new());
    page_of.databases[0].tables.push(TableRow { worst: Some(Severity::Critical), ..row("public.broken") });
    let html = page(&page_of).into_string();
    let (drawn, others) = (html.find("public.broken").expect("it"), html.find("public.orders").expect("it"));
    assert!(drawn < others && html[drawn..others].contains("class=\"spark\""), "the broken one is first, and drawn");
    assert!(!html[others..].contains("class=\"spark\""), "the others are drawn by the script");
}

/// What a name, a message or a query may hold to break out of where it stands.
const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><b>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "<!--<script>",
    "]]>",
    "&lt;b&gt;",
    "${alert(1)}",
    "\u{2028}\u{2029}\u{0}",
    "javascript:alert(1)",
    "a\\\"b\nc",
];

/// A page whose every text is drawn.
fn of_texts(mut text: impl FnMut() -> String) -> String {
    let finding = Finding::new(FindingKind::TableEmptied, text(), text()).expected(text()).hint(text());
    let note = Finding::new(FindingKind::LevelShift, text(), text()).hint(text());
    let mut table = row(&text());
    table.columns[0].name = text();
    let mut calm = row(&text());
    calm.columns[0].name = text();
    table.worst = Some(Severity::Warning);
    let check = |state| CheckRow { name: text(), table: Some(text()), state, seen: text(), owner: Some(text()), seconds: 1.0 };
    let database = DatabasePage {
        checks: [CheckState::Failed, CheckState::Ok].map(check).to_vec(),
        name: text(),
        findings: [finding, note].map(|finding| ShownFinding { finding, since: None }).to_vec(),
        resolved: vec![Finding::new(FindingKind::TableEmptied, text(), text())],
        tables: vec![table, calm],
        queries: vec![QueryRow { text: text(), remark: text(), share: 0.5, calls: 1, mean_ms: 1.0 }],
        flags: vec![FlagRow { name: text(), why: text() }],
        not_reached: vec![text()],
        figures: vec![(text(), text())],
        remarks: vec![text()],
        ..DatabasePage::default()
    };
    let second = DatabasePage { name: text(), queries_missing: Some(text()), ..DatabasePage::default() };
    page(&Page {
        instance: text(),
        stage: text(),
        runbook: Some(format!("https://example.test/{}", text())),
        databases: vec![database, second],
        ..Page::default()
    })
    .into_string()
}

#[test]
fn no_text_from_outside_becomes_markup() {
    let seed = 20_261_123;
    let mut rng = StdRng::seed_from_u64(seed);
    let tags = |html: &str| (html.matches('<').count(), html.matches('>').count());
    let plain = of_texts(|| "plain".to_owned());
    for round in 0..200 {
        let html = of_texts(|| (0..rng.random_range(1..4)).map(|_| HOSTILE[rng.random_range(0..HOSTILE.len())]).collect());
        assert_eq!(tags(&html), tags(&plain), "seed {seed}, round {round}: no tag more, and none less");
        let attributes = html.replace("\\\"", "");
        assert!(!attributes.contains("\" onerror") && !attributes.contains("\" onmouseover"), "seed {seed}, round {round}");
        let json = html.split("id=\"data-0\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("the data");
        assert!(!json.contains('\u{2028}') && !json.contains('&'), "seed {seed}, round {round}");
        let data: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
        assert!((0..2).all(|table| data[table][4][0][0].is_string()), "seed {seed}, round {round}");
    }
    let scripted = Page { runbook: Some("javascript:alert(1)".into()), ..with(vec![shown(FindingKind::TableEmptied, "a.b", None)]) };
    assert!(!page(&scripted).into_string().contains("javascript:"), "only a web page is linked");
    assert_ne!(tags(&plain.replacen("plain", "<b>", 1)), tags(&plain), "a tag more would be counted");
}

#[test]
fn nothing_comes_from_elsewhere_and_no_extreme_is_a_number() {
    let mut page_of = with(vec![shown(FindingKind::TableEmptied, "public.orders", None)]);
    page_of.databases[0].tables[0].columns[0].min_shape = vec![Some(0.25); 28];
    let html = page(&page_of).into_string();
    // The one address is the name of SVG, which nothing fetches.
    let addresses: Vec<&str> = html.match_indices("http").map(|(place, _)| &html[place..(place + 26).min(html.len())]).collect();
    assert_eq!(addresses, ["http://www.w3.org/2000/svg"]);
    for word in ["src=", "@import", "url(", "<link", "fetch(", "innerHTML", "eval("] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(!html.contains("0.25"), "a shape is letters");
}

#[test]
fn a_thousand_tables_fit_into_a_megabyte() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut noisy = |base: f64| (0..28).map(|_| Some(base * rng.random_range(0.9..1.1))).collect::<Vec<_>>();
    let tables = (0..1_000).map(|number| {
        let points = noisy(1e6);
        let columns = (0..10).map(|column| ColumnRow {
            name: format!("column_{column}"),
            kind: "integer",
            nulls: Some(0.02),
            distinct: Some(123_456.0),
            null_points: if column % 3 == 0 { noisy(0.02) } else { vec![Some(0.0); 28] },
            distinct_points: noisy(1e5),
            min_shape: vec![Some(0.5); 28],
            max_shape: if column % 2 == 0 { noisy(0.5) } else { vec![Some(0.5); 28] },
            ..ColumnRow::default()
        });
        TableRow { points, columns: columns.collect(), ..row(&format!("public.table_{number}")) }
    });
    let page_of = Page { databases: vec![DatabasePage { tables: tables.collect(), ..DatabasePage::default() }], ..Page::default() };
    let bytes = page(&page_of).into_string().len();
    assert!(bytes < 1_500_000, "{bytes}");
}
