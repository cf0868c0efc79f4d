//! The sample events: what `sam remote invoke` is given by hand is what the functions understand, and none lies around unused.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::lambda::Function;
use shared::report::Report;

use super::assert_none;
use super::tree::{File, files};

/// Whether a function understands an event. `version` is answered before a request is parsed.
fn mistake<F: Function>(event: &Value) -> Option<String> {
    if *event == json!({"kind": "version"}) {
        return None;
    }
    parsed::<F::Request>(event).err()
}

fn parsed<T: DeserializeOwned>(event: &Value) -> Result<T, String> {
    serde_json::from_value(event.clone()).map_err(|error| error.to_string())
}

/// A batch of the queue carries the topic's envelopes, and those carry reports.
fn batch_mistake(event: &Value) -> Option<String> {
    let records = event["Records"].as_array().filter(|records| !records.is_empty());
    let Some(records) = records else { return Some("it has no records".to_owned()) };
    records.iter().find_map(|record| report(record).err())
}

fn report(record: &Value) -> Result<Report, String> {
    let body = record["body"].as_str().ok_or("a record has no body")?;
    let envelope: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let message = envelope["Message"].as_str().ok_or("a record has no message")?;
    serde_json::from_str(message).map_err(|error| error.to_string())
}

fn event_mistake(path: &str, text: &str) -> Option<String> {
    let event: Value = match serde_json::from_str(text) {
        Ok(event) => event,
        Err(error) => return Some(format!("{path}: {error}")),
    };
    let found = match path.split('/').nth(1) {
        Some("logical-dump") => mistake::<logical_dump::LogicalDump>(&event),
        Some("backup-verify") => mistake::<backup_verify::BackupVerify>(&event),
        Some("snapshot") => mistake::<snapshot::Snapshot>(&event),
        Some("restore-drill") => mistake::<restore_drill::RestoreDrill>(&event),
        Some("integrity-check") => mistake::<integrity_check::IntegrityCheck>(&event),
        Some("canary") => mistake::<canary::Canary>(&event),
        Some("rotate-secret") => mistake::<rotate_secret::RotateSecret>(&event),
        Some("retention") => mistake::<retention::Retention>(&event),
        // What may come wrapped in all that: tests/it/cards.rs reads each.
        Some("notify-slack") if path.starts_with("events/notify-slack/inputs/") => event["expect"].is_null().then(|| "it expects nothing".to_owned()),
        Some("notify-slack") if event.get("kind").is_none() => mistake::<notify_slack::NotifySlack>(&event).or_else(|| batch_mistake(&event)),
        Some("notify-slack") => mistake::<notify_slack::NotifySlack>(&event),
        _ => Some("there is no such function".to_owned()),
    };
    found.map(|mistake| format!("{path}: {mistake}"))
}

fn unused(events: &[&str], others: &[(&str, &str)]) -> Vec<String> {
    events.iter().filter(|event| !others.iter().any(|(_, text)| text.contains(**event))).map(|event| format!("nobody names {event}")).collect()
}

fn events() -> Vec<&'static File> {
    files().iter().filter(|file| file.path.starts_with("events/")).collect()
}

#[test]
fn every_event_is_understood_by_its_function() {
    let events = events();
    for function in local::binaries::FUNCTIONS {
        assert!(events.iter().any(|file| file.path == format!("events/{function}/version.json")), "{function}");
    }
    assert_none(&events.iter().filter_map(|file| event_mistake(&file.path, &file.text)).collect::<Vec<_>>());
}

#[test]
fn no_event_is_unused() {
    let events: Vec<&str> = events().iter().map(|file| file.path.as_str()).collect();
    let others: Vec<(&str, &str)> =
        files().iter().filter(|file| !file.path.starts_with("events/")).map(|file| (file.path.as_str(), file.text.as_str())).collect();
    assert_none(&unused(&events, &others));
    assert_eq!(unused(&["events/a/b.json", "events/a/c.json"], &[("README.md", "see events/a/b.json")]).len(), 1);
}

#[test]
fn planted_events_are_noticed() {
    for (path, text) in [
        ("events/logical-dump/x.json", r#"{"kind":"dump","databse":["app"]}"#),
        ("events/logical-dump/x.json", r#"{"kind":"restore"}"#),
        ("events/logical-dump/x.json", r#"{"kind":"version","more":1}"#),
        ("events/backup-verify/x.json", r#"{"kind":"verify","deep":"most"}"#),
        ("events/snapshot/x.json", r#"{"kind":"preDeploy"}"#),
        ("events/snapshot/x.json", r#"{"kind":"daily","requestId":"7"}"#),
        ("events/retention/x.json", r#"{"kind":"retain","dryrun":true}"#),
        ("events/notify-slack/x.json", r#"{"Records":[]}"#),
        ("events/notify-slack/x.json", r#"{"Records":[{"messageId":"a","body":"{\"Message\":\"{}\"}","attributes":{},"messageAttributes":{}}]}"#),
        ("events/nobody/x.json", r#"{"kind":"version"}"#),
        ("events/logical-dump/x.json", "{"),
    ] {
        assert!(event_mistake(path, text).is_some(), "{path}: {text}");
    }
}
