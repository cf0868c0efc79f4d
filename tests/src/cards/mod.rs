//! What may come to `notify-slack`, and what it makes of it: samples of every sort (`events/notify-slack/inputs/`), a judge of what is shown, and a
//! fuzzer over both.
//!
//! A sample is `{"about", "by", "subject"?, "message", "expect"}`. `message` is written for a reader: what AWS sends as JSON within a text
//! (`reasonData`, SNS's `Message`) is JSON here, and put into a text before it is read.

mod fuzz;
mod judge;

use std::path::Path;

use serde_json::{Value, json};

pub use fuzz::{Fuzzed, fuzz};
pub use judge::{in_words, mistakes};

/// The topic of the samples.
const TOPIC: &str = "arn:aws:sns:eu-central-1:111122223333:shop-prod-ops";

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its path from the root of the checkout.
    pub path: String,
    /// What it is, for a reader.
    pub about: String,
    /// How it comes: `raw`, `sns`, `snsRecords`.
    pub by: String,
    /// SNS's subject.
    pub subject: Option<String>,
    /// What comes.
    pub message: Value,
    /// What must be read from it.
    pub expect: Value,
}

impl Sample {
    /// The name of its file, without the ending.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json")
    }

    /// What lies in the queue.
    pub fn body(&self) -> String {
        wrapped(&self.by, self.subject.as_deref(), &as_sent(&self.message))
    }
}

/// A message in its envelope.
fn wrapped(by: &str, subject: Option<&str>, message: &str) -> String {
    let notification = json!({"Type": "Notification", "MessageId": "0a4f0000-0000-4000-8000-000000000001", "TopicArn": TOPIC, "Subject": subject,
        "Message": message, "Timestamp": "2026-11-23T02:55:06.000Z", "SignatureVersion": "1", "Signature": "EXAMPLE"});
    match by {
        "sns" => notification.to_string(),
        "snsRecords" => json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}]}).to_string(),
        _ => message.to_owned(),
    }
}

/// As it is sent: text as it is, and JSON with what is JSON within a text put into one.
fn as_sent(message: &Value) -> String {
    match message {
        Value::String(text) => text.clone(),
        other => quoted(other).to_string(),
    }
}

fn quoted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let inner = if name == "reasonData" && value.is_object() { Value::String(value.to_string()) } else { quoted(value) };
                (name.clone(), inner)
            })
            .collect(),
        Value::Array(items) => items.iter().map(quoted).collect(),
        other => other.clone(),
    }
}

/// Every sample, by path.
///
/// # Panics
/// When one is not what a sample is.
pub fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout").join("events/notify-slack/inputs");
    let mut samples: Vec<Sample> = std::fs::read_dir(folder)
        .expect("list the samples")
        .map(|entry| {
            let file = entry.expect("list the samples").path();
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let value: Value =
                serde_json::from_slice(&std::fs::read(&file).expect("read a sample")).unwrap_or_else(|error| panic!("{name}: {error}"));
            let text = |field: &str| value[field].as_str().map(str::to_owned);
            Sample {
                about: text("about").unwrap_or_else(|| panic!("{name} says not what it is")),
                by: text("by").unwrap_or_else(|| panic!("{name} says not how it comes")),
                subject: text("subject"),
                message: value["message"].clone(),
                expect: value["expect"].clone(),
                path: format!("events/notify-slack/inputs/{name}"),
            }
        })
        .collect();
    samples.sort_by(|a, b| a.path.cmp(&b.path));
    samples
}
