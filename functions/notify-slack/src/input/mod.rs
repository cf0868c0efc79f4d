//! What came: from any message of the queue to an [`Event`] that everything behind understands. Pure, and never fails: what is not known is a message
//! too.
//!
//! Only envelopes are typed. What is in them is looked into field by field, because AWS's events have more shapes than anybody's types: each reader takes
//! what is there, and an event without any of it is still said.

mod alarm;
mod backup;
mod change;
mod console;
mod dead_letter;
mod envelope;
pub mod event;
pub(crate) mod figures;
mod other;
mod rds;
mod rds_events;
mod report;
mod security;
mod tags;
mod value;

use aws_lambda_events::sqs::SqsEvent;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub use event::{Event, Fact, Incident, Link, Quiet, Runbook, Shown, Source, State};

use self::envelope::Carried;

/// Characters of a message that are looked at: SQS takes 1 MiB.
const BODY_MAX: usize = 1_100_000;

/// One message of the queue.
#[derive(Clone, Debug)]
pub struct Item {
    /// SQS's id, by which it goes back to the queue.
    pub message_id: Option<String>,
    /// When it was sent to the queue.
    pub sent_at: DateTime<Utc>,
    /// What it says; more than one only if somebody put several messages into one.
    pub events: Vec<Event>,
}

/// The messages of a batch in the order in which they were sent: SQS promises none. `now` is for those that do not say when.
pub fn items(batch: SqsEvent, now: DateTime<Utc>) -> Vec<Item> {
    let mut items: Vec<Item> = batch
        .records
        .into_iter()
        .map(|record| {
            let sent = record.attributes.get("SentTimestamp").and_then(|sent| sent.parse().ok()).and_then(DateTime::from_timestamp_millis);
            let sent_at = sent.unwrap_or(now);
            let why = dead_letter::attributes(&serde_json::to_value(&record.message_attributes).unwrap_or_default());
            let events = read_all(record.body.as_deref().unwrap_or_default(), sent_at);
            let events = events.into_iter().map(|event| dead_letter::undelivered(event, &why)).collect();
            Item { message_id: record.message_id, sent_at, events }
        })
        .collect();
    items.sort_by_key(|item| item.sent_at);
    items
}

/// A batch out of whatever the function was invoked with: SQS's own, or, when CloudWatch or SNS invoke it directly, a batch of that one message.
pub fn batch(request: &Value) -> SqsEvent {
    let is_queue = request["Records"]
        .as_array()
        .is_some_and(|records| records.iter().all(|record| record["body"].is_string() || !record["messageId"].is_null()));
    let queued = is_queue.then(|| serde_json::from_value(request.clone()).ok()).flatten();
    queued.unwrap_or_else(|| {
        let record = json!({"body": request.to_string(), "attributes": {}, "messageAttributes": {}});
        serde_json::from_value(json!({"Records": [record]})).unwrap_or_default()
    })
}

/// Reads a message. Of several in one it is the first, which says how many more there are; [`read_all`] gives each.
pub fn read(body: &str, sent_at: DateTime<Utc>) -> Event {
    let mut events = read_all(body, sent_at);
    let more = events.len().saturating_sub(1);
    let mut event = if events.is_empty() { other::read(&Carried::empty(sent_at)) } else { events.remove(0) };
    event.words("and", (more > 0).then(|| format!("{more} more messages")));
    event
}

/// Reads every message in a body; at least one.
pub fn read_all(body: &str, sent_at: DateTime<Utc>) -> Vec<Event> {
    let end = body.char_indices().nth(BODY_MAX).map_or(body.len(), |(end, _)| end);
    envelope::open(&body[..end], sent_at).iter().map(read_one).collect()
}

fn read_one(carried: &Carried) -> Event {
    let detail = if carried.value["detail-type"].is_string() { &carried.value["detail"] } else { &Value::Null };
    report::read(carried, &carried.value)
        .or_else(|| report::read(carried, detail))
        .or_else(|| alarm::changed::read(carried))
        .or_else(|| alarm::read(carried))
        .or_else(|| rds::read(carried))
        .or_else(|| backup::read(carried))
        .or_else(|| change::read(carried))
        .or_else(|| security::read(carried))
        .or_else(|| dead_letter::read(carried))
        .unwrap_or_else(|| other::read(carried))
        .finished()
}

/// A text of which no more is kept than this.
pub(crate) fn shortened(text: &str, characters_max: usize) -> String {
    value::cut(text, characters_max)
}

/// A time for tests.
#[cfg(test)]
pub(crate) fn at_noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_435_200, 0).expect("a time")
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
