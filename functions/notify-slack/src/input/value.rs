//! Looking into JSON that others wrote: every field may be missing, of another type, or absurd. Never fails, and never keeps more than is asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use serde_json::Value;

/// A text that is kept of an event is cut here.
const TEXT_MAX: usize = 2_000;
/// Tags and attributes that are kept of one event.
const ENTRIES_MAX: usize = 50;

/// What lies at a path of names with dots between; `Null` if nothing does.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// A text that says something; a number or a yes or no is one too.
pub(super) fn text(value: &Value, path: &str) -> Option<String> {
    scalar(at(value, path))
}

/// The first of these paths where there is a text.
pub(super) fn any_text(value: &Value, paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| text(value, path))
}

/// A value that is not a list or an object, as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => cut(text, TEXT_MAX),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The text without blanks around, and no more of it than this.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number, also one that is written as text.
pub(super) fn number(value: &Value, path: &str) -> Option<f64> {
    figure(at(value, path))
}

/// A value as a number.
pub(super) fn figure(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// A number of things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is tested")]
pub(super) fn count(value: &Value, path: &str) -> Option<u32> {
    number(value, path).filter(|number| (0.0..1e9).contains(number)).map(|number| number as u32)
}

/// The items of a list; none if it is not one.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// A time.
pub(super) fn time(value: &Value, path: &str) -> Option<DateTime<Utc>> {
    match at(value, path) {
        Value::String(text) => parse_time(text),
        other => figure(other).and_then(epoch),
    }
}

/// AWS writes times in many ways: RFC 3339, an offset without a colon (CloudWatch), no offset at all (RDS by SNS), the form of e-mails (Health), seconds.
pub(super) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .or_else(|_| DateTime::parse_from_rfc2822(text))
        .map(|time| time.to_utc());
    let time = zoned.ok().or_else(|| {
        let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%d/%m/%y %H:%M:%S"];
        naive.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|time| time.and_utc())
    });
    time.filter(is_plausible).or_else(|| text.parse::<f64>().ok().and_then(epoch))
}

/// Seconds since 1970, or milliseconds: those are a thousand times as many.
#[expect(clippy::cast_possible_truncation, reason = "it saturates, and what is not plausible is dropped")]
fn epoch(number: f64) -> Option<DateTime<Utc>> {
    let milliseconds = if number.abs() > 1e11 { number } else { number * 1e3 };
    DateTime::from_timestamp_millis(milliseconds as i64).filter(is_plausible)
}

/// A time that something may have happened at: others would be shown as nonsense.
pub(super) fn is_plausible(time: &DateTime<Utc>) -> bool {
    (2000..2100).contains(&time.year())
}

/// JSON that may have been put into a text.
pub(super) fn unwrapped(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

/// Names and values, whichever way they are written: `{"a": "b"}`, `[{"Key": "a", "Value": "b"}]`, `[{"name": "a", "value": "b"}]`.
pub(super) fn entries(value: &Value) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut add = |name: &str, value: &Value| {
        if let Some(value) = scalar(value).filter(|_| !name.trim().is_empty() && entries.len() < ENTRIES_MAX) {
            entries.insert(cut(name, 128), cut(&value, 256));
        }
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| add(name, value)),
        Value::Array(pairs) => {
            for pair in pairs {
                let part = |names: [&str; 3]| names.iter().map(|name| &pair[*name]).find(|value| !value.is_null());
                if let (Some(name), Some(value)) = (part(["Key", "key", "name"]), part(["Value", "value", "values"])) {
                    add(name.as_str().unwrap_or_default(), value);
                }
            }
        }
        _ => {}
    }
    entries
}

/// The parts of an ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arn {
    pub(super) partition: String,
    pub(super) service: String,
    pub(super) region: Option<String>,
    pub(super) account: Option<String>,
    /// All that follows the account.
    pub(super) resource: String,
}

impl Arn {
    /// Reads an ARN.
    pub(super) fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [prefix, partition, service, region, account, resource] = parts.as_slice() else { return None };
        let filled = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        (*prefix == "arn" && !resource.is_empty() && text.len() < 2_048).then(|| Self {
            partition: (*partition).to_owned(),
            service: (*service).to_owned(),
            region: filled(region).filter(|region| is_region(region)),
            account: filled(account).filter(|account| is_account(account)),
            resource: (*resource).to_owned(),
        })
    }

    /// What the resource is called: the part behind its type.
    pub(super) fn name(&self) -> &str {
        self.resource.split_once([':', '/']).map_or(self.resource.as_str(), |(_, name)| name)
    }
}

/// `eu-central-1`, and not `Europe (Frankfurt)`, which is what CloudWatch writes by SNS.
pub(super) fn is_region(text: &str) -> bool {
    (6..=25).contains(&text.len())
        && text.matches('-').count() >= 2
        && text.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-')
}

/// Twelve digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|char| char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_as_aws_writes_them() {
        let expected = parse_time("2026-11-23T02:55:00Z").expect("RFC 3339");
        for text in [
            "2026-11-23T02:55:00.000+0000",
            "2026-11-23T03:55:00+01:00",
            "2026-11-23 02:55:00.000",
            "2026-11-23T02:55:00",
            "Mon, 23 Nov 2026 02:55:00 GMT",
            "23/11/26 02:55:00",
            "1795402500",
            "1795402500000",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(time(&json!({"a": {"b": 1_795_402_500}}), "a.b"), Some(expected));
        for text in ["", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "1e300", "-5", &"1".repeat(400)] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        let value = json!({"a": [1, "x"], "b": "", "c": " y ", "d": null, "e": "NaN", "f": "1.5"});
        assert_eq!((text(&value, "a"), text(&value, "b"), text(&value, "c.d.e")), (None, None, None));
        assert_eq!((text(&value, "c"), number(&value, "e"), number(&value, "f")), (Some("y".to_owned()), None, Some(1.5)));
        assert_eq!((list(&value, "a").len(), list(&value, "c").len()), (2, 0));
        assert_eq!(cut("äöü", 2), "äö…");
    }

    #[test]
    fn tags_are_read_from_maps_and_lists() {
        let expected = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        for value in [json!({"team": "shop", "": 1}), json!([{"Key": "team", "Value": "shop"}, 7]), json!([{"name": "team", "value": "shop"}])] {
            assert_eq!(entries(&value), expected, "{value}");
        }
        assert_eq!(entries(&json!("x")), BTreeMap::new());
    }

    #[test]
    fn an_arn_has_parts() {
        let arn = Arn::read("arn:aws:rds:eu-central-1:111122223333:db:app-db").expect("an ARN");
        assert_eq!((arn.region.as_deref(), arn.account.as_deref(), arn.name()), (Some("eu-central-1"), Some("111122223333"), "app-db"));
        let global = Arn::read("arn:aws:s3:::bucket").expect("an ARN");
        assert_eq!((global.region, global.account, global.resource.as_str()), (None, None, "bucket"));
        for bad in ["", "arn", "arn:aws:rds:x:y:", "urn:a:b:c:d:e"] {
            assert_eq!(Arn::read(bad), None, "{bad}");
        }
    }
}
