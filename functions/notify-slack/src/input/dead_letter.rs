//! What could not be done or delivered, and was put aside for the record: Lambda's record of an invocation that failed for good, and messages in a
//! dead-letter queue, whose attributes say why.
//!
//! Shapes: Lambda developer guide, "Asynchronous invocation records"; EventBridge user guide, "Dead-letter queues"; EventBridge Scheduler user guide.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::finding::Severity;

use super::console;
use super::envelope::Carried;
use super::event::{Event, Runbook, Source};
use super::value::{Arn, any_text, at, count, cut, text, time};

/// Attributes by which EventBridge and its Scheduler say what was not delivered where.
const RULES: [&str; 2] = ["RULE_ARN", "SCHEDULE_ARN"];

/// Reads the record of a failed invocation, also as an event.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let value = &carried.value;
    let record = if value["detail-type"].as_str().is_some_and(|kind| kind.starts_with("Lambda Function Invocation Result")) {
        &value["detail"]
    } else {
        value
    };
    let function = text(record, "requestContext.functionArn")?;
    let condition = text(record, "requestContext.condition")?;
    let arn = Arn::read(&function);
    let name = arn.as_ref().map_or(function.as_str(), |arn| arn.name()).split(':').next().unwrap_or_default().to_owned();
    let (severity, what) = match condition.as_str() {
        "Success" => (Severity::Note, "the invocation was done".to_owned()),
        "RetriesExhausted" => (Severity::Critical, "it failed each time that it was tried, and is not tried again".to_owned()),
        "EventAgeExceeded" => (Severity::Critical, "it could not be begun in time, and is not tried again".to_owned()),
        other => (Severity::Critical, format!("it was given up ({})", cut(other, 60))),
    };
    let mut event = carried.event(Source::DeadLetter, &name, what);
    event.severity = severity;
    event.service.clone_from(&name);
    event.region = arn.as_ref().and_then(|arn| arn.region.clone()).or(event.region.take());
    event.account = arn.as_ref().and_then(|arn| arn.account.clone()).or(event.account.take());
    event.since = time(record, "timestamp").or(Some(carried.sent_at));
    let error = any_text(record, &["responsePayload.errorType", "responseContext.functionError"]);
    let message = any_text(record, &["responsePayload.errorMessage", "responsePayload.errorType"]);
    event.description = message.filter(|message| Some(message) != error.as_ref()).map(|message| cut(&message, 1_000));
    event.code("error", error);
    event.words("tries", count(record, "requestContext.approximateInvokeCount").map(|tries| tries.to_string()));
    event.code("request", asked(&record["requestPayload"]));
    if severity == Severity::Critical {
        event.advice = Some("when the cause is gone, invoke the function again with the same request".to_owned());
        event.runbook = Some(Runbook::Section("runFailed".to_owned()));
    }
    if let Some(id) = text(record, "requestContext.requestId") {
        event.duplicate_key = format!("invocation:{id}:{condition}");
        event.small.push(format!("request {}", cut(&id, 60)));
    }
    event.link("open the function", console::page(event.region.clone().as_deref(), "lambda", &format!("/functions/{}", console::part(&name))));
    event.small.push(function);
    Some(event)
}

/// What it was asked, short.
fn asked(request: &Value) -> Option<String> {
    match request {
        Value::Null => None,
        Value::String(text) => Some(cut(text, 300)),
        value => Some(cut(&value.to_string(), 300)),
    }
}

/// What an event becomes when the attributes of its message say that it was not delivered elsewhere.
pub(super) fn undelivered(inner: Event, attributes: &BTreeMap<String, String>) -> Event {
    let of = |name: &str| attributes.get(name).map(|value| cut(value, 500)).filter(|value| !value.is_empty());
    let by_rule = RULES.iter().find_map(|name| of(name));
    let by_lambda = of("ErrorMessage").or_else(|| of("ErrorCode")).filter(|_| attributes.contains_key("RequestID"));
    if by_rule.is_none() && by_lambda.is_none() {
        return inner;
    }
    let (target, rule) = (of("TARGET_ARN"), by_rule);
    let named = |arn: &Option<String>| arn.as_deref().map(|text| Arn::read(text).map_or_else(|| text.to_owned(), |arn| arn.name().to_owned()));
    let what = match (named(&target), by_lambda.is_some()) {
        (Some(target), _) => format!("a message for {target} could not be delivered, and is not tried again: {}", inner.title),
        (None, true) => format!("a function could not do what it was asked, and is not asked again: {}", inner.title),
        (None, false) => format!("a message could not be delivered, and is not tried again: {}", inner.title),
    };
    let title = named(&rule).unwrap_or_else(|| "an invocation".to_owned());
    let mut event =
        Event { source: Source::DeadLetter, incident: None, quiet: None, title: cut(&title, 300), what: cut(&what, 1_500), ..inner.clone() };
    event.severity = Severity::Critical;
    Source::DeadLetter.name().clone_into(&mut event.service);
    event.findings = Vec::new();
    event.facts = Vec::new();
    event.code("error", of("ERROR_CODE").or_else(|| of("ErrorCode")));
    event.code("message", of("ERROR_MESSAGE").or_else(|| of("ErrorMessage")));
    event.code("tries", of("RETRY_ATTEMPTS"));
    event.code("it said", Some(inner.what).filter(|what| !what.is_empty()));
    event.advice = Some("when the cause is gone, send the message again".to_owned());
    event.runbook = None;
    event.small.extend([target, rule, of("RequestID")].into_iter().flatten());
    // Being put aside is another thing than having happened.
    event.duplicate_key = format!("undelivered:{}", inner.duplicate_key);
    event.finished()
}

/// Attributes of a message of SQS: `{"NAME": {"stringValue": "…"}}`.
pub(super) fn attributes(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else { return BTreeMap::new() };
    let text = |value: &Value| any_text(value, &["stringValue", "StringValue", "Value"]).or_else(|| at(value, "").as_str().map(str::to_owned));
    map.iter().take(20).filter_map(|(name, value)| Some((cut(name, 100), text(value)?))).collect()
}
