//! An alarm over alarms: which of them are in which state, and what holds its actions back.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::state_of;
use crate::input::event::State;
use crate::input::value::{Arn, any_text, list, text, time, unwrapped};

/// CloudWatch's own limit of alarms in one rule.
const CHILDREN_MAX: usize = 100;

/// One of the alarms that it watches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) since: Option<DateTime<Utc>>,
}

/// The alarms that made it change, as EventBridge (`reasonData.triggeringAlarms`) or SNS (`TriggeringChildren`) names them.
pub(super) fn children(reason_data: &Value, message: &Value) -> Vec<Child> {
    let data = unwrapped(reason_data);
    let lists = [list(&data, "triggeringAlarms"), list(message, "TriggeringChildren")];
    let children = lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default();
    children
        .iter()
        .take(CHILDREN_MAX)
        .filter_map(|child| {
            let arn = any_text(child, &["arn", "Arn"])?;
            Some(Child {
                name: Arn::read(&arn).map_or(arn.clone(), |arn| arn.name().to_owned()),
                state: state_of(any_text(child, &["state.value", "State.Value"]).as_deref()),
                since: time(child, "state.timestamp").or_else(|| time(child, "State.Timestamp")),
            })
        })
        .collect()
}

/// `2 of the alarms that it watches fire: a, b`.
pub(super) fn sentence(children: &[Child], state: State, reason: &str) -> Option<String> {
    let firing: Vec<&str> = children.iter().filter(|child| child.state == State::Firing).map(|child| child.name.as_str()).collect();
    match (state, firing.as_slice()) {
        (State::Firing, []) if children.is_empty() => transition(reason),
        (State::Firing, [one]) => Some(format!("{one} fires, which this alarm watches")),
        (State::Firing, [_, _, ..]) => {
            let named = firing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let more = if firing.len() > 5 { format!(" and {} more", firing.len() - 5) } else { String::new() };
            Some(format!("{} of the alarms that it watches fire: {named}{more}", firing.len()))
        }
        (State::Resolved, []) => Some("None of the alarms that it watches makes it fire any more".to_owned()),
        (State::Unknown, _) => Some("What it watches has no values, so nothing is known".to_owned()),
        _ => transition(reason),
    }
}

/// `arn:…:alarm:NAME transitioned to ALARM at Monday 23 November, 2026 02:55:00 UTC`.
fn transition(reason: &str) -> Option<String> {
    let (arn, state) = reason.split_once(" transitioned to ")?;
    let state = state.split_whitespace().next()?;
    Arn::read(arn).map(|arn| format!("{} went into {}", arn.name(), state.chars().take(20).collect::<String>()))
}

/// The rule, if it is such an alarm.
pub(super) fn rule(configuration: &Value, message: &Value) -> Option<String> {
    text(configuration, "alarmRule").or_else(|| text(message, "AlarmRule"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_read_from_both_encodings() {
        let arn = "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:orders-5xx";
        let bridge = json!({"triggeringAlarms": [{"arn": arn, "state": {"value": "ALARM", "timestamp": "2026-11-23T02:55:00.000+0000"}}]});
        let sns = json!({"TriggeringChildren": [{"Arn": arn, "State": {"Value": "ALARM", "Timestamp": "2026-11-23T02:55:00.000+0000"}}]});
        let one = children(&Value::String(bridge.to_string()), &Value::Null);
        assert_eq!(one, children(&Value::Null, &sns));
        assert_eq!((one[0].name.as_str(), one[0].state), ("orders-5xx", State::Firing));
        assert_eq!(sentence(&one, State::Firing, "").as_deref(), Some("orders-5xx fires, which this alarm watches"));
        let reason = format!("{arn} transitioned to ALARM at Monday 23 November, 2026 02:55:00 UTC");
        assert_eq!(sentence(&[], State::Firing, &reason).as_deref(), Some("orders-5xx went into ALARM"));
        assert_eq!(sentence(&[], State::Firing, "set by hand"), None);
    }
}
