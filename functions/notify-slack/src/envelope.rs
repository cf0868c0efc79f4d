//! From a batch of the queue to what is to be said: pure.
//!
//! SQS carries what SNS delivered, which carries a report. Whatever is not understood is said as it came: it is never lost, and never
//! a reason to fail.

use aws_lambda_events::sqs::SqsEvent;
use serde_json::Value;
use shared::report::{Report, SCHEMA};

/// One message of the queue.
#[derive(Clone, Debug)]
pub struct Item {
    /// SQS's id, by which it goes back to the queue.
    pub message_id: Option<String>,
    /// When it was sent, in milliseconds since 1970.
    pub sent_at: u64,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A report.
    Report(Box<Report>),
    /// Anything else, as text.
    Text {
        /// What it seems to be.
        title: String,
        /// All of it.
        text: String,
    },
}

/// The messages of a batch in the order in which they were sent: SQS promises none.
pub fn items(event: SqsEvent) -> Vec<Item> {
    let mut items: Vec<Item> = event
        .records
        .into_iter()
        .map(|record| Item {
            message_id: record.message_id,
            sent_at: record.attributes.get("SentTimestamp").and_then(|sent| sent.parse().ok()).unwrap_or_default(),
            content: read(record.body.as_deref().unwrap_or_default()),
        })
        .collect();
    items.sort_by_key(|item| item.sent_at);
    items
}

/// Reads a body: SNS's envelope around a message, or (raw delivery) the message itself.
pub fn read(body: &str) -> Content {
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(envelope))
            if envelope.get("Type").is_some_and(Value::is_string) && envelope.get("Message").is_some_and(Value::is_string) =>
        {
            let subject = envelope.get("Subject").and_then(Value::as_str);
            message(envelope.get("Message").and_then(Value::as_str).unwrap_or_default(), subject)
        }
        _ => message(body, None),
    }
}

fn message(text: &str, subject: Option<&str>) -> Content {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return other(subject, text.to_owned()) };
    let schema = value.get("schema").and_then(Value::as_u64);
    match serde_json::from_value::<Report>(value.clone()) {
        Ok(report) if report.schema <= SCHEMA => Content::Report(Box::new(report)),
        _ => {
            // A report of another version still has a job, an outcome and a summary.
            let part = |name: &str| value.get(name).and_then(Value::as_str);
            let pretty = serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned());
            match (part("job"), part("outcome"), part("summary")) {
                (Some(job), Some(outcome), summary) => Content::Text {
                    title: format!("{job} {outcome} (a report of schema {}, which this version does not know)", schema.unwrap_or_default()),
                    text: format!("{}\n{pretty}", summary.unwrap_or_default()),
                },
                _ => other(subject, pretty),
            }
        }
    }
}

fn other(subject: Option<&str>, text: String) -> Content {
    let title = subject.filter(|subject| !subject.trim().is_empty()).unwrap_or("A message that is not a report").to_owned();
    Content::Text { title, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::report;
    use serde_json::json;

    fn event(bodies: &[(&str, u64, String)]) -> SqsEvent {
        let records: Vec<Value> = bodies
            .iter()
            .map(
                |(id, sent, body)| json!({"messageId": id, "body": body, "attributes": {"SentTimestamp": sent.to_string()}, "messageAttributes": {}}),
            )
            .collect();
        serde_json::from_value(json!({"Records": records})).expect("an event")
    }

    fn notification(message: &str) -> String {
        json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-central-1:1:ops", "Subject": null, "Message": message})
            .to_string()
    }

    #[test]
    fn a_report_is_found_in_its_envelope_and_without_it() {
        let text = serde_json::to_string(&report(0)).expect("write");
        for body in [notification(&text), text] {
            assert_eq!(read(&body), Content::Report(Box::new(report(0))));
        }
    }

    #[test]
    fn messages_come_in_the_order_in_which_they_were_sent() {
        let items = items(event(&[("c", 3, "3".into()), ("a", 1, "1".into()), ("b", 2, "2".into())]));
        assert_eq!(items.iter().filter_map(|item| item.message_id.as_deref()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_newer_report_still_says_what_it_is() {
        let mut value = serde_json::to_value(report(1)).expect("write");
        value["schema"] = 99.into();
        value["findings"][0]["kind"] = "nobodyKnows".into();
        let Content::Text { title, text } = read(&notification(&value.to_string())) else { panic!("it cannot be read as a report") };
        assert!(title.contains("backup-verify") && title.contains("99"), "{title}");
        assert!(text.contains("nobodyKnows") && text.starts_with(&report(1).summary), "{text}");
    }

    #[test]
    fn whatever_else_comes_is_text() {
        let alarm = json!({"Type": "Notification", "Subject": "ALARM: \"x\" in EU", "Message": "{\"AlarmName\":\"x\"}"}).to_string();
        assert_eq!(read(&alarm), Content::Text { title: "ALARM: \"x\" in EU".into(), text: "{\n  \"AlarmName\": \"x\"\n}".into() });
        for body in ["", "hello", "null", "[1]", "{\"Type\":1,\"Message\":2}", "{\"Type\":\"Notification\"}", "\u{0}\u{1f600}", "{\"schema\":1}"] {
            assert!(matches!(read(body), Content::Text { .. }), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep), Content::Text { title: "A message that is not a report".into(), text: deep.clone() });
    }

    #[test]
    fn a_batch_of_odd_records_is_a_batch() {
        let odd = json!({"Records": [{}, {"messageId": "x", "body": null, "attributes": null, "messageAttributes": null}]});
        assert_eq!(items(serde_json::from_value(odd).expect("an event")).len(), 2);
    }
}
