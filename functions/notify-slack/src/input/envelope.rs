//! What a message is wrapped in, taken off layer by layer: SQS's body, SNS's notification, a record of SNS, the record of a failed invocation. Never
//! fails: what is no envelope is the message itself.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::digest::Content;
use shared::finding::Severity;

use super::event::{Event, Source};
use super::value::{Arn, any_text, cut, is_account, is_region, text};

/// Envelopes within envelopes; more is somebody's joke.
const LAYERS_MAX: usize = 5;
/// Records of one envelope; SNS sends one.
const RECORDS_MAX: usize = 100;
/// What SNS says that it sends (developer guide, "HTTP/HTTPS notification JSON format").
const SNS_TYPES: [&str; 3] = ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"];
/// Of the whole message that are kept, in characters.
const RAW_MAX: usize = 2_800;

/// A message without its envelopes, and what stood on them.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// The message: `Null` if it is not JSON.
    pub(super) value: Value,
    /// The message as it came.
    pub(super) text: String,
    /// When it was sent to the queue: the best there is when the message has no time.
    pub(super) sent_at: DateTime<Utc>,
    /// Of SNS.
    pub(super) subject: Option<String>,
    pub(super) topic_arn: Option<String>,
    /// What tells two messages apart that say the same: SNS's id.
    pub(super) message_id: Option<String>,
}

/// Every message in a body; at least one.
pub(super) fn open(body: &str, sent_at: DateTime<Utc>) -> Vec<Carried> {
    let text = body.trim_start_matches('\u{feff}');
    let value = serde_json::from_str(text).unwrap_or(Value::Null);
    let mut opened = Vec::new();
    unwrap(Carried { value, text: text.to_owned(), sent_at, subject: None, topic_arn: None, message_id: None }, LAYERS_MAX, &mut opened);
    opened
}

fn unwrap(carried: Carried, layers: usize, opened: &mut Vec<Carried>) {
    if layers == 0 || opened.len() >= RECORDS_MAX {
        opened.push(carried);
        return;
    }
    let value = &carried.value;
    let records = value["Records"].as_array().filter(|records| !records.is_empty());
    if let Some(records) = records.filter(|records| records.len() <= RECORDS_MAX && records.iter().all(|record| inner(record).is_some())) {
        for record in records {
            let (message, envelope) = inner(record).unwrap_or_default();
            unwrap(inside(&carried, &message, &envelope), layers - 1, opened);
        }
    } else if value["Message"].is_string() && value["Type"].as_str().is_some_and(|kind| SNS_TYPES.contains(&kind)) {
        let message = value["Message"].as_str().unwrap_or_default().to_owned();
        let envelope = value.clone();
        unwrap(inside(&carried, &message, &envelope), layers - 1, opened);
    } else if let Some(text) = value.as_str().filter(|text| text.trim_start().starts_with('{')) {
        // JSON in a string: a target's input that was quoted once too often.
        let text = text.to_owned();
        unwrap(inside(&carried, &text, &Value::Null), layers - 1, opened);
    } else {
        opened.push(carried);
    }
}

/// The message of a record of SNS or SQS, and its envelope.
fn inner(record: &Value) -> Option<(String, Value)> {
    let sns = &record["Sns"];
    if let Some(message) = sns["Message"].as_str() {
        return Some((message.to_owned(), sns.clone()));
    }
    let body = record["body"].as_str().filter(|_| record["messageId"].is_string() || record["eventSource"] == "aws:sqs")?;
    Some((body.to_owned(), Value::Null))
}

fn inside(outer: &Carried, message: &str, envelope: &Value) -> Carried {
    Carried {
        value: serde_json::from_str(message).unwrap_or(Value::Null),
        text: message.to_owned(),
        sent_at: outer.sent_at,
        subject: text(envelope, "Subject").map(|subject| cut(&subject, 200)).or_else(|| outer.subject.clone()),
        topic_arn: text(envelope, "TopicArn").or_else(|| outer.topic_arn.clone()),
        message_id: text(envelope, "MessageId").map(|id| cut(&id, 100)).or_else(|| outer.message_id.clone()),
    }
}

impl Carried {
    /// A message that says nothing.
    pub(super) fn empty(sent_at: DateTime<Utc>) -> Self {
        Self { value: Value::Null, text: String::new(), sent_at, subject: None, topic_arn: None, message_id: None }
    }

    /// An event with what the envelopes say; the reader of its kind fills in the rest.
    pub(super) fn event(&self, source: Source, title: impl Into<String>, what: impl Into<String>) -> Event {
        let topic = self.topic_arn.as_deref().and_then(Arn::read);
        let account = any_text(&self.value, &["account", "accountId"]).filter(|account| is_account(account));
        let region = text(&self.value, "region").filter(|region| is_region(region));
        let (title, what): (String, String) = (title.into(), what.into());
        Event {
            source,
            incident: None,
            severity: Severity::Note,
            title: cut(&title, 300),
            what: cut(&what, 1_500),
            description: None,
            advice: None,
            since: None,
            facts: Vec::new(),
            findings: Vec::new(),
            findings_left_out: 0,
            links: Vec::new(),
            owner: None,
            runbook: None,
            tags: BTreeMap::new(),
            account: account.or_else(|| topic.as_ref().and_then(|topic| topic.account.clone())),
            region: region.or_else(|| topic.as_ref().and_then(|topic| topic.region.clone())),
            stage: None,
            service: source.name().to_owned(),
            quiet: None,
            duplicate_key: self.id(),
            small: Vec::new(),
            raw: self.raw(),
            is_understood: true,
        }
    }

    /// What stays the same when the message comes twice: EventBridge's id, else SNS's, else its words.
    fn id(&self) -> String {
        let own = text(&self.value, "id").filter(|_| self.value["detail-type"].is_string());
        if let Some(id) = own.or_else(|| self.message_id.clone()) {
            return format!("message:{}", cut(&id, 200));
        }
        let mut words = Content::default();
        words.add_row(self.text.as_bytes());
        format!("text:{}", words.digest)
    }

    /// All of it, laid out for a person, as far as it fits.
    fn raw(&self) -> String {
        let text = match &self.value {
            Value::Null | Value::String(_) => None,
            value => serde_json::to_string_pretty(value).ok(),
        };
        cut(text.as_deref().unwrap_or(&self.text), RAW_MAX)
    }
}
