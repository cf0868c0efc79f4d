//! The ways in, and what holds for every event whatever came.

use super::*;
use shared::finding::{Finding, FindingKind, Severity};
use shared::report::{Outcome, Report, SCHEMA, Subject};

fn report(job: &str, kinds: &[FindingKind]) -> Report {
    let mut report = Report {
        schema: SCHEMA,
        id: format!("{job}.app-db.2026-11-23T06-00-00Z"),
        job: job.into(),
        stage: "prod".into(),
        subject: Subject { instance: "app-db".into(), database: None },
        version: "0.1.0".into(),
        git_sha: "0badcafe".into(),
        started_at: at_noon(),
        duration_seconds: 0.0,
        outcome: Outcome::Unknown,
        summary: "what was done".into(),
        facts: Vec::new(),
        findings: kinds.iter().map(|kind| Finding::new(*kind, "subject", "seen")).collect(),
        findings_left_out: 0,
        links: Vec::new(),
    };
    report.finish(at_noon() + chrono::TimeDelta::seconds(90));
    report
}

fn of(report: &Report) -> Event {
    read(&serde_json::to_string(report).expect("write"), at_noon())
}

fn sns(message: &str) -> Value {
    json!({"Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:eu-central-1:111122223333:ops", "Subject": null, "Message": message})
}

#[test]
fn every_way_in_leads_to_the_same_event() {
    let body = serde_json::to_string(&report("backup-verify", &[FindingKind::ObjectCorrupt])).expect("write");
    let plain = read(&body, at_noon());
    let lambda = json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns(&body)}]});
    let queue = json!({"Records": [{"messageId": "a", "body": sns(&body).to_string(), "eventSource": "aws:sqs"}]});
    let bridge = json!({"version": "0", "id": "1", "detail-type": "Lifeboat report", "source": "lifeboat", "detail": serde_json::from_str::<Value>(&body).expect("JSON")});
    let quoted = Value::String(body.clone());
    for wrapped in [sns(&body), sns(&sns(&body).to_string()), lambda, queue, bridge, quoted] {
        let event = read(&wrapped.to_string(), at_noon());
        assert_eq!((event.source, &event.incident, &event.duplicate_key), (Source::Report, &plain.incident, &plain.duplicate_key), "{wrapped}");
    }
}

#[test]
fn several_messages_in_one_are_all_read() {
    let records: Vec<Value> = (0..3).map(|number| json!({"EventSource": "aws:sns", "Sns": sns(&format!("message {number}"))})).collect();
    let body = json!({"Records": records}).to_string();
    let whats: Vec<String> = read_all(&body, at_noon()).into_iter().map(|event| event.what).collect();
    assert_eq!(whats, ["message 0", "message 1", "message 2"]);
    assert!(read(&body, at_noon()).facts.iter().any(|fact| fact.value == Shown::Words("2 more messages".into())));
}

#[test]
fn a_batch_is_in_the_order_in_which_it_was_sent_and_a_direct_call_is_a_batch() {
    let record =
        |id: &str, sent: u64| json!({"messageId": id, "body": id, "attributes": {"SentTimestamp": sent.to_string()}, "messageAttributes": {}});
    let queue = batch(&json!({"Records": [record("c", 1_795_435_203_000), record("a", 1_795_435_201_000), record("b", 1_795_435_202_000)]}));
    let ids: Vec<_> = items(queue, at_noon()).into_iter().filter_map(|item| item.message_id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let alarm = json!({"source": "aws.cloudwatch", "alarmArn": "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:x", "alarmData": {"alarmName": "x", "state": {"value": "ALARM"}}});
    let direct = items(batch(&alarm), at_noon());
    assert_eq!((direct.len(), direct[0].message_id.as_ref(), direct[0].events[0].source), (1, None, Source::Alarm));
    for odd in [json!(null), json!({"Records": [{}]}), json!({"Records": [{"messageId": "x", "body": null}]}), json!([1])] {
        assert_eq!(items(batch(&odd), at_noon()).len(), 1, "{odd}");
    }
}

#[test]
fn what_was_not_delivered_says_so_whatever_it_was() {
    let attribute = |text: &str| json!({"stringValue": text, "dataType": "String"});
    let record = json!({"messageId": "a", "body": "{\"kind\":\"daily\"}", "attributes": {}, "messageAttributes": {
        "SCHEDULE_ARN": attribute("arn:aws:scheduler:eu-central-1:111122223333:schedule/default/lifeboat-prod-dump"),
        "TARGET_ARN": attribute("arn:aws:lambda:eu-central-1:111122223333:function:lifeboat-prod-dump"), "ERROR_CODE": attribute("ThrottlingException")}});
    let event = items(batch(&json!({"Records": [record]})), at_noon()).remove(0).events.remove(0);
    assert_eq!((event.source, event.severity), (Source::DeadLetter, Severity::Critical));
    assert!(
        event.what.contains("lifeboat-prod-dump could not be delivered")
            || event.what.contains("function:lifeboat-prod-dump")
            || event.what.contains("lifeboat-prod-dump"),
        "{}",
        event.what
    );
    assert!(event.title.contains("lifeboat-prod-dump") && event.facts.iter().any(|fact| fact.value == Shown::Code("ThrottlingException".into())));
}

#[test]
fn a_good_report_ends_what_a_bad_one_began_if_it_looked() {
    let bad = of(&report("backup-verify", &[FindingKind::ObjectCorrupt, FindingKind::RunUnfinished]));
    let good = of(&report("backup-verify", &[]));
    let key = |event: &Event| event.incident.as_ref().map(|incident| incident.key.clone());
    assert_eq!((bad.state(), good.state()), (Some(State::Firing), Some(State::Resolved)));
    assert_eq!(key(&bad), key(&good));
    assert_eq!(
        bad.incident.as_ref().map(|incident| incident.findings.clone()),
        Some(vec!["objectCorrupt subject".to_owned()]),
        "notes are not what is wrong"
    );
    assert_eq!(of(&report("logical-dump", &[FindingKind::AlreadyRunning])).incident, None, "it saw nothing");
    assert_eq!(of(&report("rotate-secret", &[])).incident, None, "it looked at one secret");
    let mut all = report("rotate-secret", &[]);
    all.count("rotationsOpen", 0, shared::report::Unit::Count);
    assert_eq!(of(&all).state(), Some(State::Resolved));
    let mut gate = report("restore-drill", &[FindingKind::MigrationRefused]);
    let drill = of(&gate);
    gate.seconds("rehearsalSeconds", 3.0);
    assert_ne!(key(&of(&gate)), key(&drill), "a gate that refuses is not a drill that failed");
}

#[test]
fn a_newer_report_still_says_what_it_is() {
    let mut value = serde_json::to_value(report("backup-verify", &[FindingKind::ObjectCorrupt])).expect("write");
    value["schema"] = 99.into();
    value["findings"][0]["kind"] = "nobodyKnows".into();
    let event = read(&value.to_string(), at_noon());
    assert_eq!((event.source, event.severity, event.is_understood), (Source::Report, Severity::Critical, false));
    assert!(event.title.contains("backup-verify") && event.what == "what was done" && event.raw.contains("nobodyKnows"));
}

#[test]
fn whatever_else_comes_is_said_as_it_came() {
    for body in [
        "",
        "hello",
        "null",
        "[1]",
        "{\"Type\":1,\"Message\":2}",
        "{\"Type\":\"Notification\"}",
        "\u{0}\u{1f600}",
        "{\"schema\":1}",
        "\u{feff}{}",
        "0",
        "\"\"",
    ] {
        let event = read(body, at_noon());
        assert_eq!((event.source, event.is_understood), (Source::Other, false), "{body}");
        assert!(!event.title.is_empty() && !event.what.is_empty(), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(read(&deep, at_noon()).what.starts_with("[[["));
    let log = read(r#"{"Type":"Error","Message":"disk"}"#, at_noon());
    assert!(log.raw.contains("Error"), "not every message with a type is one of SNS");
}

#[test]
fn what_came_twice_has_one_key_and_what_differs_has_two() {
    let key = |body: &str| read(body, at_noon()).duplicate_key;
    assert_eq!(key("hello"), key("hello"));
    assert_ne!(key("hello"), key("hello "));
    assert_eq!(key(&sns("hello").to_string()), key(&sns("hello").to_string()));
    let (one, mut two) = (sns("hello"), sns("hello"));
    two["MessageId"] = "m-2".into();
    assert_ne!(key(&one.to_string()), key(&two.to_string()), "somebody said it twice");
    let alarm = |time: &str| json!({"AlarmName": "x".repeat(5_000), "NewStateValue": "ALARM", "StateChangeTime": time}).to_string();
    let (one, two) = (alarm("2026-11-23T02:55:04.112+0000"), alarm("2026-11-23T02:56:04.112+0000"));
    assert!(key(&one) != key(&two) && key(&one).len() <= 1_000, "also when they are long");
}
