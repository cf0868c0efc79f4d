//! Whatever an event holds, its card is one that Slack takes; what matters is on it, and in its place.

use super::*;
use crate::input::{Fact, Incident, Link, Runbook, Shown};
use crate::input::{at_noon, read};
use shared::finding::{Finding, FindingKind};

fn places() -> Places {
    Places { runbook_url: Some("https://example.org/runbook?a=1&b=2".into()), bucket: "backups".into() }
}

fn event() -> Event {
    let mut event = read("{\"source\":\"shop\",\"detail-type\":\"Something\"}", at_noon());
    event.is_understood = true;
    event.source = Source::Alarm;
    event.severity = Severity::Critical;
    event.title = "app-db-cpu-high".into();
    event.what = "CPUUtilization was 97.2 %, at most 80 % is fine".into();
    event.since = Some(at_noon());
    event.incident = Some(Incident { key: "k".into(), state: State::Firing, at: at_noon(), part: None, findings: Vec::new() });
    event
}

fn text(card: &Card) -> String {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("text").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| collect(value, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&Value::Array(card.blocks.clone()), &mut found);
    found.join("\n")
}

#[test]
fn the_first_lines_say_what_how_bad_since_when_and_what_to_do() {
    let mut event = event();
    event.owner = Some("payments".into());
    event.stage = Some("prod".into());
    event.runbook = Some(Runbook::Address("https://wiki.example/db?a=1&b=2".into()));
    event.links = vec![Link { title: "open the alarm".into(), target: "https://console.example/x".into() }];
    let card = root(&event, &Standing::default(), &places());
    let said = text(&card);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "🔴 app-db-cpu-high");
    assert_eq!(lines[1], "CPUUtilization was 97.2 %, at most 80 % is fine");
    assert_eq!(lines[2], "*Critical* since <!date^1795435200^{date_short_pretty} at {time}|2026-11-23 12:00 UTC> · prod · owner `payments`");
    assert_eq!(lines[3], "*Do:* <https://wiki.example/db?a=1&amp;b=2|runbook> · <https://console.example/x|open the alarm>");
    assert!(card.text.starts_with("🔴 Critical: app-db-cpu-high: CPUUtilization was"), "{}", card.text);
    assert!(card.plain.contains("runbook") && card.plain.contains("at most 80 %"), "{}", card.plain);
}

#[test]
fn what_is_over_says_how_long_it_was() {
    let mut event = event();
    event.incident =
        Some(Incident { key: "k".into(), state: State::Resolved, at: at_noon() + chrono::TimeDelta::minutes(25), part: None, findings: Vec::new() });
    let standing = Standing {
        since: Some(at_noon()),
        was: Some("CPUUtilization was *97* %".into()),
        severity_was: Some(Severity::Critical),
        ..Standing::default()
    };
    let said = text(&root(&event, &standing, &places()));
    assert!(
        said.starts_with("✅ app-db-cpu-high\n")
            && said.contains("|2026-11-23 12:25 UTC> after 25 min · was critical")
            && said.contains("It was: CPUUtilization was ∗97∗ %"),
        "{said}"
    );
    let line = text(&thread(&event, &standing, &places()));
    assert!(line.starts_with("✅ *Resolved* ") && line.contains(" after 25 min"), "{line}");
}

#[test]
fn what_comes_and_goes_says_so_and_how_often() {
    let standing = Standing { since: Some(at_noon()), fired: 20, is_flapping: true, ..Standing::default() };
    let said = text(&root(&event(), &standing, &places()));
    assert!(said.starts_with("🔁 app-db-cpu-high comes and goes") && said.contains("fired 20 times"), "{said}");
    assert!(text(&thread(&event(), &standing, &places())).starts_with("🔁 *It comes and goes*: 20 times so far"));
    let still = Standing { reminded_at: Some(at_noon() + chrono::TimeDelta::hours(4)), ..Standing::default() };
    assert!(text(&thread(&event(), &still, &places())).contains("*Still so* after 4 h"));
    assert!(text(&root(&event(), &still, &places())).contains("|2026-11-23 12:00 UTC>, still so after 4 h"));
    let late = Standing { late_since: Some(at_noon()), ..Standing::default() };
    assert!(text(&root(&event(), &late, &places())).contains("late: it was sent"));
}

#[test]
fn ten_thousand_findings_fit_and_all_are_counted() {
    let mut event = event();
    event.source = Source::Report;
    event.title = "backup-verify: app-db".into();
    event.findings = (0..20)
        .map(|number| Finding::new(FindingKind::ObjectCorrupt, format!("dumps/{number}"), "7 bytes").expected("8 bytes").hint("look for a copy"))
        .collect();
    event.findings_left_out = 9_980;
    let card = root(&event, &Standing::default(), &places());
    let said = text(&card);
    assert!(said.starts_with("🔴 backup-verify: app-db failed"), "{said}");
    assert_eq!(said.matches("*critical: objectCorrupt*").count(), 10, "the worst are shown");
    assert!(
        said.contains(
            "seen: `7 bytes`\nexpected: `8 bytes`\n*Do:* look for a copy · <https://example.org/runbook?a=1&amp;b=2#objectCorrupt|runbook>"
        ),
        "{said}"
    );
    assert!(said.contains("… and 9,990 more: 10 critical, 9,980 only in the whole report"), "{said}");
    assert!(card.plain.contains("objectCorrupt"));
}

#[test]
fn every_kind_of_finding_leads_to_its_section() {
    for kind in FindingKind::ALL {
        let mut event = event();
        event.findings = vec![Finding::new(*kind, "subject", "seen")];
        let said = text(&root(&event, &Standing::default(), &places()));
        assert!(said.contains(&format!("#{}|runbook", kind.name())), "{said}");
    }
}

#[test]
fn texts_without_end_are_cut_and_what_matters_stays() {
    for filler in ["x", "&", "<!channel>", "😀", "`", "*_~", "\n", "\u{202e}", "漢", ":fire:"] {
        let long = filler.repeat(20_000);
        let mut event = event();
        (event.title, event.what, event.raw) = (long.clone(), long.clone(), long.clone());
        (event.description, event.advice, event.owner, event.stage) =
            (Some(long.clone()), Some(long.clone()), Some(long.clone()), Some(long.clone()));
        event.small = vec![long.clone(); 9];
        event.links = vec![Link { title: long.clone(), target: long.clone() }, Link { title: long.clone(), target: "https://example.org/x".into() }];
        event.facts =
            vec![Shown::Code(long.clone()), Shown::Words(long.clone()), Shown::Child { name: long.clone(), state: State::Firing, since: None }]
                .into_iter()
                .map(|value| Fact { name: long.clone(), value })
                .collect();
        event.findings = vec![Finding::new(FindingKind::ObjectCorrupt, long.clone(), long.clone()).expected(long.clone()).hint(long.clone()); 20];
        for is_understood in [true, false] {
            event.is_understood = is_understood;
            let standing = Standing { was: Some(long.clone()), fired: u32::MAX, is_flapping: true, ..Standing::default() };
            let card = root(&event, &standing, &places());
            assert!(units(&json!(card.blocks).to_string()) <= blocks::CHARACTERS_MAX + 2, "{filler}");
            assert!(text(&card).contains("*critical: objectCorrupt*") && text(&card).contains("*Critical* since "), "{filler}");
            assert!((1..=TEXT_MAX).contains(&units(&card.text)) && (1..=PLAIN_MAX).contains(&units(&card.plain)), "{filler}");
            assert_eq!(thread(&event, &standing, &places()).blocks.len(), 1);
        }
    }
}

#[test]
fn a_burst_is_one_message_with_the_worst_first() {
    let mut group = Group { service: "RDS".into(), stage: Some("prod".into()), ..Group::default() };
    for number in 0..200_i64 {
        let mut event = event();
        event.title = format!("alarm-{number}");
        event.severity = if number % 10 == 7 { Severity::Critical } else { Severity::Warning };
        event.since = Some(at_noon() + chrono::TimeDelta::seconds(number));
        group.members.push(Member::of(&event));
    }
    let card = grouped(&group);
    let said = text(&card);
    assert!(said.starts_with("🔴 RDS: 200 fire\n*20 critical, 180 warning* since <!date^1795435200^"), "{said}");
    assert!(said.contains("alarm-7`") && said.find("alarm-197`") < said.find("alarm-0`") && said.contains("… and 175 more"), "{said}");
    group.members.iter_mut().for_each(|member| member.state = State::Resolved);
    assert!(text(&grouped(&group)).starts_with("✅ RDS: all 200 are over"));
    let long = "漢`<!here>*".repeat(5_000);
    group.members.iter_mut().for_each(|member| (member.title, member.what) = (long.clone(), long.clone()));
    (group.service, group.owner) = (long.clone(), Some(long));
    let card = grouped(&group);
    assert!(units(&json!(card.blocks).to_string()) <= blocks::CHARACTERS_MAX + 2 && units(&card.plain) <= PLAIN_MAX);
    assert!(!grouped(&Group::default()).blocks.is_empty());
}

#[test]
fn a_sentence_begins_and_ends_like_one_and_a_name_stays_a_name() {
    assert_eq!(
        [sentence("the dump failed"), sentence("CPUUtilization was 1 %"), sentence("p99 of X was 3"), sentence("")],
        ["The dump failed.", "CPUUtilization was 1 %", "p99 of X was 3.", ""]
    );
    assert_eq!([sentence("app-db is gone"), sentence("sum: 3!"), sentence("ünder")], ["app-db is gone.", "Sum: 3!", "ünder."]);
}
