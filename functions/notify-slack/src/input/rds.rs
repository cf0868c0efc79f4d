//! Events of RDS, by EventBridge and by SNS (whose names have blanks in them). They come late, out of order or not at all: nothing may rely on them.

use serde_json::Value;

use super::envelope::Carried;
use super::event::{Event, Source};
use super::rds_events::{Known, known, of_category};
use super::value::{Arn, any_text, cut, entries, list, scalar, text, time};
use super::{console, tags};

/// Reads an event of RDS.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let value = &carried.value;
    let (detail, arn, name, id) = if value["source"] == "aws.rds" && value["detail"]["SourceIdentifier"].is_string() {
        let detail = &value["detail"];
        (
            detail,
            any_text(detail, &["SourceArn"]).or_else(|| scalar(&value["resources"][0])),
            text(detail, "SourceIdentifier"),
            text(detail, "EventID"),
        )
    } else if value["Event Source"].is_string() && value["Source ID"].is_string() {
        (value, text(value, "Source ARN"), text(value, "Source ID"), text(value, "Event ID"))
    } else {
        return None;
    };
    // An automated snapshot's name begins with `rds:`.
    let name = name.unwrap_or_default();
    let id = id.and_then(|id| id.rsplit('#').next().map(|id| cut(id, 40))).unwrap_or_default();
    let message = any_text(detail, &["Message", "Event Message"]).unwrap_or_default();
    let arn = arn.or_else(|| arn_by_topic(value, &name, carried));
    let known = known(&id);
    let parsed = arn.as_deref().and_then(Arn::read);
    let categories: Vec<String> = list(detail, "EventCategories").iter().filter_map(scalar).take(5).collect();
    let what = known.map_or_else(
        || if message.is_empty() { "RDS says nothing more about it".to_owned() } else { message.clone() },
        |known| known.words.to_owned(),
    );

    let mut event = carried.event(Source::Database, &name, what);
    event.severity = known.map_or_else(|| of_category(&categories), |known| known.severity);
    event.advice = known.and_then(|known| known.advice).map(str::to_owned);
    event.region = parsed.as_ref().and_then(|arn| arn.region.clone()).or(event.region.take());
    event.account = parsed.as_ref().and_then(|arn| arn.account.clone()).or(event.account.take());
    let at = time(detail, "Date").or_else(|| time(detail, "Event Time")).or_else(|| time(value, "time"));
    event.since = at.or(Some(carried.sent_at));
    let subject = arn.clone().unwrap_or_else(|| name.clone());
    if let Some((Known { trouble: Some((trouble, state)), .. }, at)) = known.zip(event.since) {
        event.belongs_to(format!("rds:{subject}:{trouble}"), *state, at);
    }
    if let Some(at) = at {
        // The same event comes by EventBridge and by SNS, under ids of their own.
        event.duplicate_key = format!("rds:{subject}:{id}@{}", at.timestamp());
    }
    if known.is_some() {
        event.code("RDS says", Some(message).filter(|message| !message.is_empty()));
    }
    let kind = any_text(detail, &["SourceType", "Event Source"]).map(|kind| kind.to_lowercase().replace(['_', '-'], " "));
    event.code("kind", kind.filter(|kind| kind != "db instance"));
    event.code("categories", (!categories.is_empty() && known.is_none()).then(|| categories.join(", ")));
    event.link("open the instance", instance_page(parsed.as_ref(), &name));
    event.small.extend([id, arn.unwrap_or_default()].into_iter().filter(|text| !text.is_empty()));
    let severity = event.severity;
    tags::apply(&mut event, tags_of(detail));
    // What an instance's tag says about alarms makes no note of RDS a page.
    event.severity = event.severity.min(severity);
    Some(event)
}

fn tags_of(detail: &Value) -> std::collections::BTreeMap<String, String> {
    entries(&super::value::unwrapped(&detail["Tags"]))
}

/// The ARN of an instance whose message has none: its topic is in its region and account.
fn arn_by_topic(value: &Value, name: &str, carried: &Carried) -> Option<String> {
    let topic = carried.topic_arn.as_deref().and_then(Arn::read).filter(|_| value["Event Source"] == "db-instance" && !name.is_empty())?;
    Some(format!("arn:{}:rds:{}:{}:db:{name}", topic.partition, topic.region?, topic.account?))
}

/// The page of an instance; of other things only where it is known.
fn instance_page(arn: Option<&Arn>, name: &str) -> Option<String> {
    let arn = arn?;
    let (kind, _) = arn.resource.split_once(':')?;
    let is_cluster = match kind {
        "db" => false,
        "cluster" => true,
        _ => return None,
    };
    console::page(arn.region.as_deref(), "rds", &format!("database:id={};is-cluster={is_cluster}", console::part(name)))
}

#[cfg(test)]
mod tests {
    use crate::input::event::State;
    use crate::input::{at_noon, read as read_body};
    use serde_json::json;
    use shared::finding::Severity;

    #[test]
    fn both_forms_are_one_event() {
        let bridge = json!({"source": "aws.rds", "detail-type": "RDS DB Instance Event", "id": "1", "account": "111122223333", "region": "eu-central-1",
            "time": "2026-11-23T02:55:00Z", "resources": ["arn:aws:rds:eu-central-1:111122223333:db:app-db"], "detail": {"EventCategories": ["failover"],
            "SourceType": "DB_INSTANCE", "SourceArn": "arn:aws:rds:eu-central-1:111122223333:db:app-db", "Date": "2026-11-23T02:55:00.100Z",
            "Message": "Multi-AZ instance failover started.", "SourceIdentifier": "app-db", "EventID": "RDS-EVENT-0013"}});
        let sns = json!({"Event Source": "db-instance", "Event Time": "2026-11-23 02:55:00.100", "Source ID": "app-db",
            "Source ARN": "arn:aws:rds:eu-central-1:111122223333:db:app-db", "Event ID": "http://docs.example/Events.html#RDS-EVENT-0013", "Event Message": "Multi-AZ instance failover started."});
        let [one, other] = [bridge, sns].map(|value| read_body(&value.to_string(), at_noon()));
        assert_eq!((&one.incident, &one.what, &one.duplicate_key), (&other.incident, &other.what, &other.duplicate_key));
        assert_eq!((one.state(), one.severity), (Some(State::Firing), Severity::Critical));
    }
}
