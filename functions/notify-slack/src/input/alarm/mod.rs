//! CloudWatch alarms in their three encodings: by EventBridge (`detail`), by SNS (a message in PascalCase), direct to Lambda (`alarmData`). All become one
//! [`Alarm`], and from there on nobody knows which it was.
//!
//! Field names: CloudWatch user guide, "Alarm events and EventBridge", "Invoke a Lambda function from an alarm". The typed readers of others fail on
//! metric math, on composite alarms without a suppressor, on periods of a day and on missing descriptions; this one reads what there is.

pub(super) mod changed;
mod composite;
mod metric;
mod reason;
mod words;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::finding::Severity;

use self::composite::Child;
use self::metric::Metric;
use self::reason::Reason;
use self::words::Measured;
use super::envelope::Carried;
use super::event::{Event, Quiet, Shown, Source, State};
use super::value::{Arn, any_text, at, cut, entries, is_account, is_region, scalar, text, time, unwrapped};
use super::{console, tags};

/// Children that are shown one by one.
const CHILDREN_SHOWN_MAX: usize = 8;
/// Dimensions that are shown.
const DIMENSIONS_SHOWN_MAX: usize = 4;
/// CloudWatch's reason while an alarm has not been evaluated.
const JUST_MADE: &str = "Unchecked: Initial alarm creation";

/// An alarm that changed its state, whichever way it came.
struct Alarm {
    name: String,
    arn: Option<String>,
    description: Option<String>,
    account: Option<String>,
    region: Option<String>,
    state: Option<String>,
    previous: Option<String>,
    previous_reason: String,
    reason: Reason,
    changed_at: Option<DateTime<Utc>>,
    metric: Option<Metric>,
    rule: Option<String>,
    children: Vec<Child>,
    tags: BTreeMap<String, String>,
    suppressed: Option<String>,
    is_muted: bool,
    muted_until: Option<DateTime<Utc>>,
    /// The series of an alarm with many, as `name=value`.
    contributor: Option<String>,
}

/// Whether the state is one of an alarm, and which.
fn state_of(word: Option<&str>) -> State {
    match word {
        Some("ALARM") => State::Firing,
        Some("OK") => State::Resolved,
        _ => State::Unknown,
    }
}

/// Reads an alarm out of whichever encoding it is; `None` if it is none.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let value = &carried.value;
    let alarm = if value["AlarmName"].is_string() && value["NewStateValue"].is_string() {
        of_sns(value, carried)
    } else if value["alarmData"].is_object() {
        of_states(&value["alarmData"], value, carried)
    } else if is_state_change(value) {
        of_states(&value["detail"], value, carried)
    } else {
        return None;
    };
    alarm.map(|alarm| alarm.event(carried))
}

fn is_state_change(value: &Value) -> bool {
    let kinds = ["CloudWatch Alarm State Change", "CloudWatch Alarm Contributor State Change"];
    let has_state = value["detail"]["alarmName"].is_string() && value["detail"]["state"]["value"].is_string();
    value["detail-type"].as_str().is_some_and(|kind| kinds.contains(&kind)) || (has_state && value["detail"]["operation"].is_null())
}

/// EventBridge and direct: the same names, in another place.
fn of_states(data: &Value, envelope: &Value, carried: &Carried) -> Option<Alarm> {
    let arn = text(envelope, "alarmArn").or_else(|| scalar(&envelope["resources"][0])).filter(|arn| Arn::read(arn).is_some());
    let name = text(data, "alarmName").or_else(|| arn.as_deref().and_then(Arn::read).map(|arn| arn.name().to_owned()))?;
    let (configuration, state) = (&data["configuration"], &data["state"]);
    let sentence = text(state, "reason").unwrap_or_default();
    let contributor = at(data, "alarmContributor");
    let contributor = (!contributor.is_null()).then(|| named_series(entries(&contributor["attributes"]), text(contributor, "id")));
    Some(
        Alarm {
            arn,
            description: text(configuration, "description"),
            account: any_text(envelope, &["account", "accountId"]),
            region: text(envelope, "region"),
            state: text(state, "value"),
            previous: text(data, "previousState.value"),
            previous_reason: text(data, "previousState.reason").unwrap_or_default(),
            reason: Reason::read(&sentence, &state["reasonData"]),
            changed_at: time(state, "timestamp").or_else(|| time(envelope, "time")),
            metric: Metric::read(configuration),
            rule: composite::rule(configuration, &Value::Null),
            children: composite::children(&state["reasonData"], &Value::Null),
            tags: [&data["alarmTags"], &envelope["alarmTags"]]
                .into_iter()
                .map(|tags| entries(&unwrapped_tags(tags)))
                .find(|tags| !tags.is_empty())
                .unwrap_or_default(),
            suppressed: any_text(state, &["actionsSuppressedReason", "actionsSuppressedBy"]),
            is_muted: !data["muteDetail"].is_null(),
            muted_until: time(data, "muteDetail.muteWindowEnd"),
            contributor,
            name,
        }
        .placed(carried),
    )
}

/// SNS: one flat message.
fn of_sns(message: &Value, carried: &Carried) -> Option<Alarm> {
    let sentence = text(message, "NewStateReason").unwrap_or_default();
    let suppressed = any_text(message, &["ActionsSuppressedReason", "ActionsSuppressedBy"]);
    let contributor = any_text(message, &["AlarmContributorId", "AlarmContributor.Id", "ContributorId"]);
    let attributes = [at(message, "AlarmContributorAttributes"), at(message, "AlarmContributor.Attributes"), at(message, "ContributorAttributes")];
    let attributes = attributes.into_iter().find(|attributes| !attributes.is_null()).map(entries).unwrap_or_default();
    Some(
        Alarm {
            name: text(message, "AlarmName")?,
            arn: text(message, "AlarmArn").filter(|arn| Arn::read(arn).is_some()),
            description: text(message, "AlarmDescription"),
            account: text(message, "AWSAccountId"),
            // A name for people: the region is taken from an ARN.
            region: None,
            state: text(message, "NewStateValue"),
            previous: text(message, "OldStateValue"),
            previous_reason: String::new(),
            reason: Reason::read(&sentence, &message["NewStateReasonData"]),
            changed_at: time(message, "StateChangeTime"),
            metric: Metric::read(&message["Trigger"]),
            rule: composite::rule(&Value::Null, message),
            children: composite::children(&Value::Null, message),
            tags: entries(&unwrapped_tags(&message["AlarmTags"])),
            suppressed,
            is_muted: !message["MuteDetail"].is_null(),
            muted_until: time(message, "MuteDetail.MuteWindowEnd"),
            contributor: (contributor.is_some() || !attributes.is_empty()).then(|| named_series(attributes, contributor)),
        }
        .placed(carried),
    )
}

fn unwrapped_tags(tags: &Value) -> Value {
    unwrapped(tags)
}

/// `TableName=orders`, or the id if there is nothing better.
fn named_series(attributes: BTreeMap<String, String>, id: Option<String>) -> String {
    let named: Vec<String> = attributes.into_iter().take(3).map(|(name, value)| format!("{name}={value}")).collect();
    if named.is_empty() { id.unwrap_or_else(|| "one series".to_owned()) } else { named.join(", ") }
}

impl Alarm {
    /// Fills in account, region and ARN from each other, and from the topic: an alarm's topic is in its region.
    fn placed(mut self, carried: &Carried) -> Self {
        let arns = [self.arn.as_deref(), carried.topic_arn.as_deref()].map(|arn| arn.and_then(Arn::read));
        let [own, topic] = arns;
        let region = |arn: &Option<Arn>| arn.as_ref().and_then(|arn| arn.region.clone());
        self.region = self.region.take().filter(|name| is_region(name)).or_else(|| region(&own)).or_else(|| region(&topic));
        let account = |arn: &Option<Arn>| arn.as_ref().and_then(|arn| arn.account.clone());
        self.account = self.account.take().filter(|id| is_account(id)).or_else(|| account(&own)).or_else(|| account(&topic));
        if let (None, Some(region), Some(account)) = (&self.arn, &self.region, &self.account) {
            let partition = topic.map_or_else(|| "aws".to_owned(), |topic| topic.partition);
            self.arn = Some(format!("arn:{partition}:cloudwatch:{region}:{account}:alarm:{}", self.name));
        }
        self
    }

    fn event(self, carried: &Carried) -> Event {
        let state = state_of(self.state.as_deref());
        let at = self.changed_at.unwrap_or(carried.sent_at);
        let key = format!("alarm:{}", self.arn.as_deref().unwrap_or(&self.name));
        let measured = self.metric.as_ref().map(|metric| Measured::new(metric, &self.reason));
        let what = self.sentence(state, measured.as_ref());
        let mut event = carried.event(Source::Alarm, cut(&self.name, 255), what);
        event.since = Some(at);
        event.description = self.description.as_deref().map(|text| cut(text, 1_000));
        event.severity = Severity::Critical;
        event.service = self.service();
        event.account.clone_from(&self.account);
        event.region.clone_from(&self.region);
        event.quiet = self.quiet(state);
        event.duplicate_key =
            format!("{key}@{}{}", at.timestamp_millis(), self.contributor.as_deref().map(|name| format!("#{name}")).unwrap_or_default());
        event.belongs_to(&key, state, at);
        if let Some(incident) = &mut event.incident {
            incident.part = self.contributor.as_deref().map(|name| cut(name, 300));
        }
        self.describe(&mut event, state, measured.as_ref());
        event.link("open the alarm", console::alarm(self.region.as_deref(), &self.name));
        event.small.extend(self.arn.clone());
        tags::apply(&mut event, self.tags);
        // What is not known is not as bad as what is, and never good; unless the alarm itself does not matter.
        if state == State::Unknown && event.severity != Severity::Note {
            event.severity = Severity::Unknown;
        }
        event
    }

    fn sentence(&self, state: State, measured: Option<&Measured>) -> String {
        let said = if self.rule.is_some() {
            composite::sentence(&self.children, state, &self.reason.text)
        } else {
            measured.and_then(|measured| measured.sentence(state, &self.reason))
        };
        let said = said.unwrap_or_else(|| match self.reason.text.as_str() {
            "" => format!("the alarm is in the state {}", cut(self.state.as_deref().unwrap_or("?"), 40)),
            reason => cut(reason, 1_000),
        });
        match &self.contributor {
            Some(series) => cut(&format!("{series}: {said}"), 1_500),
            None => cut(&said, 1_500),
        }
    }

    fn describe(&self, event: &mut Event, state: State, measured: Option<&Measured>) {
        for child in self.children.iter().take(CHILDREN_SHOWN_MAX) {
            event.fact("watches", Shown::Child { name: cut(&child.name, 255), state: child.state, since: child.since });
        }
        let hidden = self.children.len().saturating_sub(CHILDREN_SHOWN_MAX);
        event.words("and", (hidden > 0).then(|| format!("{hidden} more")));
        event.code("rule", self.rule.clone());
        if let (Some(metric), Some(measured)) = (&self.metric, measured) {
            event.words("last values", measured.last_values());
            let how = measured.how(metric).map(|how| format!(", {how}")).unwrap_or_default();
            let name = if metric.namespace.is_empty() { metric.name.clone() } else { format!("{} {}", metric.namespace, metric.name) };
            event.code("metric", Some(format!("{name}{how}")));
            event.code("expression", metric.expression.clone().filter(|expression| *expression != metric.name));
            let of: Vec<String> = metric.dimensions.iter().take(DIMENSIONS_SHOWN_MAX).map(|(name, value)| format!("{name}={value}")).collect();
            event.code("dimensions", (!of.is_empty()).then(|| of.join(", ")));
        }
        if state == State::Firing && self.previous.as_deref() == Some("INSUFFICIENT_DATA") && self.previous_reason != JUST_MADE {
            event.words("before", Some("nothing was known".to_owned()));
        }
        event.code("held back", self.suppressed.clone());
        event.moment("muted until", self.muted_until);
    }

    /// What a burst of alarms is grouped by: where the numbers come from.
    fn service(&self) -> String {
        let namespace = self.metric.as_ref().map(|metric| metric.namespace.trim_start_matches("AWS/")).filter(|name| !name.is_empty());
        match (namespace, &self.rule) {
            (Some(name), _) => cut(name, 80),
            (None, Some(_)) => "composite alarms".to_owned(),
            (None, None) => "alarms".to_owned(),
        }
    }

    fn quiet(&self, state: State) -> Option<Quiet> {
        let first_look = self.previous_reason == JUST_MADE || self.previous_reason.contains(" was created and its alarm rule evaluates to ");
        if self.reason.text == JUST_MADE || (first_look && state != State::Firing) {
            Some(Quiet::JustMade)
        } else if self.suppressed.is_some() {
            Some(Quiet::Suppressed)
        } else if self.is_muted {
            Some(Quiet::Muted)
        } else {
            None
        }
    }
}
