//! Whatever a report holds, the message is one that Slack takes, says what matters, and pings nobody.

use super::*;

use shared::finding::FindingKind;

use crate::samples::report;

fn places() -> Places {
    Places { runbook_url: Some("https://example.org/runbook?a=1&b=2".into()), bucket: "backups".into() }
}

fn render(report: Report) -> Card {
    card(&Content::Report(Box::new(report)), &places())
}

/// Every text of a message that Slack looks into.
fn texts(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => {
            if let (Some(kind), Some(text)) = (fields.get("type").and_then(Value::as_str), fields.get("text").and_then(Value::as_str)) {
                found.push((kind.to_owned(), text.to_owned()));
                assert!(kind != "mrkdwn" || fields.get("verbatim") == Some(&Value::Bool(true)));
            }
            fields.values().for_each(|value| texts(value, found));
        }
        _ => {}
    }
}

/// Slack's limits, as they are documented, and the rule that nothing pings.
fn assert_slack_takes(card: &Card) {
    assert!((1..=50).contains(&card.blocks.len()));
    assert!(serde_json::to_vec(&card.blocks).expect("JSON").len() <= 12_100, "{}", serde_json::to_vec(&card.blocks).expect("JSON").len());
    for block in &card.blocks {
        let length = |value: &Value| {
            let text = value["text"].as_str().expect("a text");
            assert!(!text.is_empty());
            units(text)
        };
        match block["type"].as_str().expect("a type") {
            "header" => assert!(length(&block["text"]) <= 150 && block["text"]["type"] == "plain_text"),
            "section" => {
                assert!(block["text"].is_null() || length(&block["text"]) <= 3_000);
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.len() <= 10 && fields.iter().all(|field| length(field) <= 2_000));
                assert!(!block["text"].is_null() || !fields.is_empty());
            }
            "context" => assert!(
                block["elements"].as_array().is_some_and(|elements| elements.len() <= 10 && elements.iter().all(|element| length(element) <= 2_000))
            ),
            other => panic!("a block of type {other}"),
        }
    }
    assert!((1..=3_500).contains(&units(&card.plain)), "{}", units(&card.plain));
    assert!((1..=500).contains(&units(&card.text)));
    let mut found = vec![("mrkdwn".to_owned(), card.plain.clone()), ("mrkdwn".to_owned(), card.text.clone())];
    texts(&Value::Array(card.blocks.clone()), &mut found);
    for (_, text) in found {
        for (place, _) in text.match_indices('<') {
            assert!(text[place..].starts_with("<https://example.org/"), "a `<` that is not ours: {}", &text[place..text.len().min(place + 40)]);
        }
    }
}

fn all_text(card: &Card) -> String {
    let mut found = Vec::new();
    texts(&Value::Array(card.blocks.clone()), &mut found);
    found.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_run_is_short() {
    let card = render(report(0));
    assert_slack_takes(&card);
    assert_eq!(card.blocks.len(), 4, "header, summary, facts, context");
    let text = all_text(&card);
    for part in [
        ":white_check_mark: backup-verify ok: app-db (prod)",
        "14 backups of 2 databases",
        "*bytes read*\n1.2 GB",
        "*rows counted*\n12,345",
        "*backup age max*\n4 h",
        "Lifeboat 0.1.0 (0123456789)",
        "`backup-verify.app-db.2026-11-23T06-00-00Z`",
        "started 2026-11-23 06:00:00 UTC, took 1 min",
        "aws s3 cp s3://backups/reports/backup-verify/2026-11-23/",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_finding_says_what_was_seen_what_was_expected_and_what_to_do() {
    let mut report = report(1);
    report.subject.database = Some("crm".into());
    let card = render(report);
    assert_slack_takes(&card);
    let text = all_text(&card);
    for part in [
        ":rotating_light: backup-verify failed: app-db/crm (prod)",
        ":red_circle: *critical: objectCorrupt* `dumps/app-db/app/2026-11-23T02-00-00Z-0badcafe/0.dat.zst`",
        "seen: `7 bytes`\nexpected: `8 bytes`\nlook for a copy\n<https://example.org/runbook?a=1&amp;b=2#objectCorrupt|runbook>",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(card.plain.contains("objectCorrupt") && card.plain.contains("0.dat.zst"));
}

#[test]
fn ten_thousand_findings_fit_and_all_are_counted() {
    let mut report = report(10_000);
    report.findings_left_out = 7;
    let card = render(report);
    assert_slack_takes(&card);
    let text = all_text(&card);
    let shown = text.matches(":red_circle:").count();
    assert_eq!(shown, 10, "the worst are shown");
    assert!(text.contains("… and 9,997 more: 4,990 critical, 5,000 warning, 7 only in the whole report"), "{text}");
    assert!(card.plain.contains("more: "), "{}", card.plain);
}

#[test]
fn texts_without_end_are_cut_and_everything_else_stays() {
    for filler in ["x", "&", "<", "😀", "ü", "`", "*_~", "\n", "\u{202e}", "漢"] {
        let long = filler.repeat(1_000_000 / filler.len());
        let mut report = report(20);
        report.summary.clone_from(&long);
        report.job.clone_from(&long);
        report.stage.clone_from(&long);
        report.subject.instance.clone_from(&long);
        report.subject.database = Some(long.clone());
        report.id.clone_from(&long);
        report.version.clone_from(&long);
        report.git_sha.clone_from(&long);
        report.facts.iter_mut().for_each(|fact| fact.name.clone_from(&long));
        report.facts = std::iter::repeat_n(report.facts, 10).flatten().collect();
        report.link(&long, &long);
        report.link(&long, format!("https://example.org/{}", "x".repeat(5_000)));
        for finding in &mut report.findings {
            finding.subject.clone_from(&long);
            finding.seen.clone_from(&long);
            finding.expected = Some(long.clone());
            finding.hint = Some(long.clone());
            finding.runbook.clone_from(&long);
        }
        let card = render(report);
        assert_slack_takes(&card);
        assert!(all_text(&card).contains("*critical: objectCorrupt*"), "at least one finding is shown: {filler}");
        assert_slack_takes(&super::card(&Content::Text { title: long.clone(), text: long }, &places()));
    }
}

#[test]
fn nothing_in_a_report_pings_or_links() {
    for evil in [
        "<!channel>",
        "<!here|x>",
        "<@U012345>",
        "<https://evil.example|click>",
        "```<!everyone>```",
        "&lt;!channel&gt;<!channel>",
        "*bold*` <!channel> `",
    ] {
        let mut report = report(3);
        report.summary = evil.into();
        report.subject.instance = evil.into();
        report.id = evil.into();
        report.facts[0].name = evil.into();
        report.link(evil, evil);
        report.link(evil, "https://example.org/x");
        report.link(evil, "https://example.org/|<!channel>");
        report.findings[0].subject = evil.into();
        report.findings[0].seen = evil.into();
        report.findings[0].expected = Some(evil.into());
        report.findings[0].hint = Some(evil.into());
        report.findings[0].runbook = evil.into();
        assert_slack_takes(&render(report));
        assert_slack_takes(&card(&Content::Text { title: evil.into(), text: evil.into() }, &places()));
    }
}

#[test]
fn empty_and_absurd_values_make_a_message_too() {
    let mut report = report(1);
    report.summary = String::new();
    report.facts.iter_mut().for_each(|fact| fact.value = f64::NAN);
    report.facts[0].value = f64::NEG_INFINITY;
    report.duration_seconds = f64::INFINITY;
    report.findings[0].seen = String::new();
    report.findings[0].subject = String::new();
    assert_slack_takes(&render(report));
    assert_slack_takes(&card(&Content::Text { title: String::new(), text: String::new() }, &Places::default()));
}

#[test]
fn every_kind_of_finding_and_every_outcome_can_be_said() {
    for kind in FindingKind::ALL {
        let mut report = report(0);
        report.findings.push(Finding::new(*kind, "subject", "seen"));
        report.finish(report.started_at);
        let card = render(report);
        assert_slack_takes(&card);
        let text = all_text(&card);
        assert!(text.contains(kind.name()) && text.contains(&format!("#{}|runbook", kind.name())), "{text}");
    }
}
