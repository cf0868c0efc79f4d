//! Whatever nobody knows: said as it came, with a title that a person can make something of. Nothing is lost because nobody thought of it.

use serde_json::Value;
use shared::finding::Severity;

use super::envelope::Carried;
use super::event::{Event, Source};
use super::value::{any_text, cut, scalar, text, time};
use super::{figures, tags};
use crate::text::words;

/// Single values that are shown of an event, and how long one may be: all of them are in the whole, below.
const FACTS_MAX: usize = 6;
const FACT_MAX: usize = 60;
/// Where an event says how it stands.
const STATES: [&str; 6] = ["state", "status", "State", "Status", "outcome", "result"];

/// Reads anything.
pub(super) fn read(carried: &Carried) -> Event {
    let value = &carried.value;
    let mut event = if value["detail-type"].is_string() && value["source"].is_string() {
        bridge(carried)
    } else if value.is_object() {
        object(carried)
    } else {
        plain(carried)
    };
    event.is_understood = false;
    event
}

/// An event of EventBridge that is not known.
fn bridge(carried: &Carried) -> Event {
    let value = &carried.value;
    let detail = &value["detail"];
    let (kind, source) = (text(value, "detail-type").unwrap_or_default(), text(value, "source").unwrap_or_default());
    let state = any_text(detail, &STATES);
    let about = [scalar(&value["resources"][0]), any_text(detail, &["name", "id", "resource"])].into_iter().flatten().next();
    let said = any_text(detail, &["message", "summary", "description", "reason", "cause", "statusMessage"]);
    let what = match (&state, &said) {
        (Some(state), Some(said)) => format!("{state}: {said}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => format!("an event of {source} of which nothing more is known here"),
    };
    let mut event = carried.event(Source::Other, kind, what);
    event.severity = guess(&[state.as_deref().unwrap_or_default(), &event.title]);
    event.service = cut(source.trim_start_matches("aws."), 80);
    event.since = time(value, "time");
    event.code("from", Some(source));
    event.raw = serde_json::to_string_pretty(detail)
        .map(|text| cut(&text, 2_800))
        .ok()
        .filter(|_| detail.as_object().is_none_or(|fields| !fields.is_empty()))
        .unwrap_or_default();
    event.code("about", about);
    facts(&mut event, detail);
    event
}

/// JSON of no known shape.
fn object(carried: &Carried) -> Event {
    let value = &carried.value;
    let title = carried.subject.clone().or_else(|| any_text(value, &["title", "subject", "name", "Title", "Subject", "Name", "kind", "type"]));
    let said = any_text(value, &["message", "summary", "text", "description", "reason", "error", "Message", "Description", "errorMessage"]);
    let what = said.unwrap_or_else(|| "a message of a kind that is not known here".to_owned());
    let mut event = carried.event(Source::Other, title.unwrap_or_else(|| "A message".to_owned()), what);
    let severity = any_text(value, &["severity", "level", "priority"]).and_then(|word| tags::severity(&word));
    event.severity = severity.unwrap_or_else(|| {
        guess(&[
            any_text(value, &STATES).unwrap_or_default().as_str(),
            any_text(value, &["level", "severity"]).unwrap_or_default().as_str(),
            &event.title,
        ])
    });
    event.since = ["time", "timestamp", "Timestamp", "date"].iter().find_map(|name| time(value, name));
    facts(&mut event, value);
    event
}

/// No JSON at all.
fn plain(carried: &Carried) -> Event {
    let text = carried.text.trim();
    let title = carried.subject.clone().unwrap_or_else(|| "A message".to_owned());
    let mut event = carried.event(Source::Other, title, if text.is_empty() { "it is empty" } else { text });
    event.severity = guess(&[&event.title]);
    if text.chars().count() <= event.what.chars().count() {
        // All of it was said already.
        event.raw = String::new();
    }
    event
}

/// The single values of an object, with names that are words.
fn facts(event: &mut Event, value: &Value) {
    let Some(fields) = value.as_object() else { return };
    let said = [event.what.clone(), event.title.clone()];
    for (name, value) in fields {
        if event.facts.len() >= FACTS_MAX {
            break;
        }
        let name: String = name.chars().filter(|char| char.is_alphanumeric() || *char == ' ').take(40).collect();
        let shown = match value {
            // A large number may be a time or an id.
            Value::Number(number) => number.as_f64().map(|value| if value.abs() < 1e6 { figures::short(value) } else { number.to_string() }),
            other => scalar(other),
        };
        let shown = shown.filter(|text| !name.is_empty() && !said.contains(text) && text.chars().count() <= FACT_MAX);
        event.code(&words(&name), shown);
    }
}

/// How bad it may be, by the words that it uses for itself.
fn guess(said: &[&str]) -> Severity {
    let said = said.join(" ").to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["fail", "error", "alarm", "critical", "timed_out", "timed out", "abort", "degraded", "breach", "exceeded"]) {
        Severity::Warning
    } else {
        Severity::Note
    }
}
