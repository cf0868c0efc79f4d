//! Somebody made, changed or deleted an alarm: what it watches less well than before is said, the rest is a note.
//!
//! A deleted alarm never goes back to OK, so its incident ends here.

use std::fmt::Write as _;

use serde_json::Value;
use shared::finding::Severity;

use crate::input::envelope::Carried;
use crate::input::event::{Event, Source, State};
use crate::input::value::{Arn, cut, list, scalar, text, time};
use crate::input::{console, tags};

/// Reads `CloudWatch Alarm Configuration Change`.
pub(in crate::input) fn read(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    if value["detail-type"] != "CloudWatch Alarm Configuration Change" {
        return None;
    }
    let arn = scalar(&value["resources"][0]).filter(|arn| Arn::read(arn).is_some());
    let name = text(detail, "alarmName").or_else(|| text(detail, "configuration.alarmName"));
    let name = name.or_else(|| arn.as_deref().and_then(Arn::read).map(|arn| arn.name().to_owned()))?;
    let operation = text(detail, "operation").unwrap_or_else(|| "change".to_owned());
    let (now, before) = (&detail["configuration"], &detail["previousConfiguration"]);
    let (what, severity) = match operation.as_str() {
        "create" if is_deaf(now) => ("the alarm was made, and nobody is told when it fires: it has no action".to_owned(), Severity::Note),
        "create" => ("the alarm was made".to_owned(), Severity::Note),
        "delete" => ("the alarm was deleted: nobody watches this any more".to_owned(), Severity::Warning),
        "update" => updated(now, before),
        other => (format!("the alarm was changed ({})", cut(other, 40)), Severity::Note),
    };
    let mut event = carried.event(Source::AlarmChange, cut(&name, 255), what);
    event.severity = severity;
    event.since = time(now, "timestamp").or_else(|| time(value, "time"));
    event.description = text(now, "description").map(|text| cut(&text, 1_000));
    "alarm settings".clone_into(&mut event.service);
    if operation == "delete" {
        let at = time(value, "time").or_else(|| time(detail, "state.timestamp")).unwrap_or(carried.sent_at);
        event.belongs_to(format!("alarm:{}", arn.as_deref().unwrap_or(&name)), State::Resolved, at);
        event.advice = Some("if nobody meant to, deploy the stack again that had it".to_owned());
        event.code("state when it was deleted", text(detail, "state.value"));
    } else {
        event.link("open the alarm", console::alarm(event.region.clone().as_deref(), &name));
    }
    event.small.extend(arn);
    let tags = crate::input::value::entries(&detail["alarmTags"]);
    tags::apply(&mut event, tags);
    event.severity = severity;
    Some(event)
}

/// No action is left for when it fires.
fn is_deaf(configuration: &Value) -> bool {
    configuration["alarmActions"].is_array() && list(configuration, "alarmActions").is_empty()
}

/// What changed, and whether less is watched now.
fn updated(now: &Value, before: &Value) -> (String, Severity) {
    let switched = |value: &Value| value["actionsEnabled"].as_bool();
    if switched(now) == Some(false) && switched(before) != Some(false) {
        return ("the alarm's actions were switched off: it still changes its state, and tells nobody".to_owned(), Severity::Warning);
    }
    if is_deaf(now) && !list(before, "alarmActions").is_empty() {
        return ("the alarm's last action was taken away: it tells nobody when it fires".to_owned(), Severity::Warning);
    }
    let mut changes = String::new();
    let settings = [
        ("threshold", "threshold"),
        ("comparisonOperator", "comparison"),
        ("evaluationPeriods", "periods"),
        ("datapointsToAlarm", "values that make it fire"),
        ("treatMissingData", "missing values"),
        ("alarmRule", "rule"),
        ("actionsEnabled", "actions"),
        ("description", "description"),
    ];
    for (field, words) in settings {
        let values = [before, now].map(|value| scalar(&value[field]).map(|text| cut(&text, 80)));
        if let [was, is] = values
            && was != is
        {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            let _ = write!(changes, "{}{words} {} → {}", if changes.is_empty() { "" } else { ", " }, shown(was), shown(is));
        }
    }
    if changes.is_empty() {
        ("the alarm was changed".to_owned(), Severity::Note)
    } else {
        (format!("the alarm was changed: {changes}"), Severity::Note)
    }
}
