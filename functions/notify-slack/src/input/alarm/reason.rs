//! Why an alarm is in its state: CloudWatch's `reasonData` where there is some, else what can be read out of its English sentence.
//!
//! The sentence is no interface: whatever cannot be read is left to be shown as it came.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::input::value::{count, figure, list, number, parse_time, time, unwrapped};

/// Values that are kept of one reason.
const VALUES_MAX: usize = 60;

/// When a value is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
    /// Outside of a band.
    Outside,
    AboveBand,
    BelowBand,
}

impl Operator {
    /// CloudWatch's names (API reference, "PutMetricAlarm").
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "GreaterThanThreshold" => Self::Above,
            "GreaterThanOrEqualToThreshold" => Self::AtLeast,
            "LessThanThreshold" => Self::Below,
            "LessThanOrEqualToThreshold" => Self::AtMost,
            "LessThanLowerOrGreaterThanUpperThreshold" => Self::Outside,
            "GreaterThanUpperThreshold" => Self::AboveBand,
            "LessThanLowerThreshold" => Self::BelowBand,
            _ => return None,
        })
    }

    /// Whether a value is wrong.
    pub(super) fn is_wrong(self, value: f64, threshold: Option<f64>, band: Option<(f64, f64)>) -> bool {
        match (self, threshold, band) {
            (Self::Above, Some(limit), _) => value > limit,
            (Self::AtLeast, Some(limit), _) => value >= limit,
            (Self::Below, Some(limit), _) => value < limit,
            (Self::AtMost, Some(limit), _) => value <= limit,
            (Self::Outside, _, Some((low, high))) => value < low || value > high,
            (Self::AboveBand, _, Some((_, high))) => value > high,
            (Self::BelowBand, _, Some((low, _))) => value < low,
            _ => false,
        }
    }
}

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reason {
    /// The sentence.
    pub(super) text: String,
    /// The values that were looked at, oldest first.
    pub(super) values: Vec<f64>,
    pub(super) threshold: Option<f64>,
    pub(super) operator: Option<Operator>,
    /// What was usual, at the newest value.
    pub(super) band: Option<(f64, f64)>,
    /// So many of so many values were wrong.
    pub(super) hits: Option<(u32, u32)>,
    pub(super) period_seconds: Option<u32>,
    pub(super) unit: Option<String>,
    /// There were no values, and that counts as this: `Breaching`, `NonBreaching`.
    pub(super) missing_counts_as: Option<String>,
    /// There were no values.
    pub(super) no_values: bool,
}

impl Reason {
    /// Reads sentence and data.
    pub(super) fn read(text: &str, data: &Value) -> Self {
        let data = unwrapped(data);
        let mut reason = Self::of_text(text);
        let values = newest_values(&data);
        if !values.is_empty() {
            reason.values = values;
        }
        reason.threshold = number(&data, "threshold").or(reason.threshold);
        reason.band = band(&data).or(reason.band);
        reason.period_seconds = count(&data, "period").filter(|seconds| *seconds > 0);
        reason.unit = data["unit"].as_str().filter(|unit| unit.len() < 40).map(str::to_owned);
        reason
    }

    /// What its English says, e.g. `Threshold Crossed: 3 out of the last 3 datapoints [97.2 (23/11/26 02:50:00), …] were greater than the threshold
    /// (80.0) (minimum 3 datapoints for OK -> ALARM transition).`
    fn of_text(text: &str) -> Self {
        let no_values = text.contains("no datapoints were received") || text.starts_with("Insufficient Data");
        let missing = text.split_once("treated as [").and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word.to_owned());
        let missing = missing.filter(|word| ["Breaching", "NonBreaching", "Ignore", "Missing"].contains(&word.as_str()));
        let mut reason = Self { text: text.to_owned(), no_values, missing_counts_as: missing, hits: hits(text), ..Self::default() };
        if !text.starts_with("Threshold") {
            return reason;
        }
        if let Some((before, after)) = text.split_once(" datapoint") {
            let list = after.split_once('[').filter(|(between, _)| between.len() < 3).and_then(|(_, rest)| rest.split_once(']'));
            let newest = after.split_once("most recent datapoints").or_else(|| after.split_once("most recent datapoint which crossed"));
            let newest = newest.and_then(|(_, rest)| rest.split_once('[')).and_then(|(_, rest)| rest.split_once(']'));
            reason.values = list.or(newest).map(|(items, _)| dated_values(items)).unwrap_or_default();
            reason.no_values |= before.ends_with("no");
        }
        reason.no_values |= reason.values.is_empty() && reason.missing_counts_as.is_some();
        reason.threshold = text.split_once("the threshold (").and_then(|(_, rest)| rest.split_once(')')).and_then(|(limit, _)| limit.parse().ok());
        reason.threshold = reason.threshold.filter(|limit| limit.is_finite());
        let sides = [("lower thresholds [", "less"), ("upper thresholds [", "greater")].map(|(mark, _)| newest_of(text, mark));
        reason.band = match sides {
            [Some(low), Some(high)] => Some((low, high)),
            _ => None,
        };
        reason.operator = if text.contains("thresholds [") {
            match sides {
                [Some(_), None] => Some(Operator::BelowBand),
                [None, Some(_)] => Some(Operator::AboveBand),
                _ => Some(Operator::Outside),
            }
        } else {
            let said = [
                ("greater than or equal to the threshold", Operator::AtLeast),
                ("less than or equal to the threshold", Operator::AtMost),
                ("greater than the threshold", Operator::Above),
                ("less than the threshold", Operator::Below),
            ];
            said.iter().find(|(words, _)| text.contains(words)).map(|(_, operator)| *operator)
        };
        reason
    }
}

/// `3 out of the last 5 datapoints`, `2 datapoints`.
fn hits(text: &str) -> Option<(u32, u32)> {
    let (before, _) = text.split_once(" datapoint")?;
    let words: Vec<&str> = before.split_whitespace().rev().take(6).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok()).filter(|number| *number < 100_000);
    match words.get(1..5) {
        Some(["last", "the", "of", "out"]) => Some((number(5)?, number(0)?)),
        _ => number(0).map(|all| (all, all)),
    }
}

/// `97.2 (23/11/26 02:50:00), 95.1 (23/11/26 02:45:00)`: newest first as CloudWatch writes them, given back oldest first.
fn dated_values(items: &str) -> Vec<f64> {
    let mut dated: Vec<(Option<DateTime<Utc>>, f64)> = items
        .split(", ")
        .take(VALUES_MAX)
        .filter_map(|item| {
            let (value, when) = item.split_once(" (").unwrap_or((item, ""));
            let value: f64 = value.trim().parse().ok()?;
            value.is_finite().then(|| (parse_time(when.trim_end_matches(')')), value))
        })
        .collect();
    dated.reverse();
    dated.sort_by_key(|(when, _)| *when);
    dated.into_iter().map(|(_, value)| value).collect()
}

/// The first of a list in the sentence, which is the newest.
fn newest_of(text: &str, mark: &str) -> Option<f64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split([',', ']']).next()?.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// The values of the data, oldest first: by their times where they have some.
fn newest_values(data: &Value) -> Vec<f64> {
    let mut dated: Vec<(DateTime<Utc>, f64)> = list(data, "evaluatedDatapoints")
        .iter()
        .take(VALUES_MAX)
        .filter_map(|point| Some((time(point, "timestamp")?, number(point, "value")?)))
        .collect();
    dated.sort_by_key(|(when, _)| *when);
    let recent: Vec<f64> = list(data, "recentDatapoints").iter().take(VALUES_MAX).filter_map(figure).collect();
    if dated.len() >= recent.len() { dated.into_iter().map(|(_, value)| value).collect() } else { recent }
}

fn band(data: &Value) -> Option<(f64, f64)> {
    let newest = |name: &str| list(data, name).iter().filter_map(figure).next_back();
    Some((newest("recentLowerThresholds")?, newest("recentUpperThresholds")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_sentence_is_read() {
        let text = "Threshold Crossed: 2 out of the last 3 datapoints [97.2 (23/11/26 02:50:00), 95.0 (23/11/26 02:45:00)] were greater than or equal to the threshold (80.0) (minimum 2 datapoints for OK -> ALARM transition).";
        let reason = Reason::read(text, &Value::Null);
        assert_eq!((reason.values, reason.threshold, reason.hits), (vec![95.0, 97.2], Some(80.0), Some((2, 3))));
        assert_eq!((reason.operator, reason.no_values), (Some(Operator::AtLeast), false));
        let ok = Reason::read("Threshold Crossed: 1 datapoint [4.0 (25/01/26 11:00:00)] was not greater than the threshold (5.0).", &Value::Null);
        assert_eq!((ok.values, ok.threshold, ok.hits, ok.operator), (vec![4.0], Some(5.0), Some((1, 1)), Some(Operator::Above)));
    }

    #[test]
    fn missing_values_and_bands_are_read() {
        let missing = Reason::read(
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [Breaching].",
            &Value::Null,
        );
        assert!(missing.no_values && missing.values.is_empty());
        assert_eq!(missing.missing_counts_as.as_deref(), Some("Breaching"));
        assert!(Reason::read("Insufficient Data: 1 datapoint was unknown.", &Value::Null).no_values);
        let text = "Thresholds Crossed: 1 out of the last 1 datapoints [12.0 (23/11/26 02:50:00)] was less than the lower thresholds [210.5] or greater than the upper thresholds [480.0] (minimum 1 datapoint for OK -> ALARM transition).";
        let band = Reason::read(text, &Value::Null);
        assert_eq!((band.band, band.operator, band.values), (Some((210.5, 480.0)), Some(Operator::Outside), vec![12.0]));
        let newest = Reason::read(
            "Threshold Crossed: 1 datapoint was less than the threshold (1.0). The most recent datapoint which crossed the threshold: [0.5 (01/12/25 13:34:00)].",
            &Value::Null,
        );
        assert_eq!((newest.values, newest.threshold, newest.operator), (vec![0.5], Some(1.0), Some(Operator::Below)));
    }

    #[test]
    fn the_data_wins_and_is_sorted_by_time() {
        let data = json!({"period": 300, "unit": "Percent", "threshold": 80, "recentDatapoints": [1.0], "evaluatedDatapoints": [
            {"timestamp": "2026-11-23T02:50:00.000+0000", "value": 3}, {"timestamp": "2026-11-23T02:45:00.000+0000", "value": 2}, {"timestamp": "?"}]});
        let reason = Reason::read("Threshold Crossed", &Value::String(data.to_string()));
        assert_eq!((reason.values, reason.period_seconds, reason.unit.as_deref()), (vec![2.0, 3.0], Some(300), Some("Percent")));
    }

    #[test]
    fn other_sentences_are_left_alone() {
        for text in [
            "",
            "Unchecked: Initial alarm creation",
            "datapoint",
            "Threshold Crossed: ][ (",
            "I set it [1] datapoint (x)",
            "Threshold datapoints [",
            " datapoint",
        ] {
            let reason = Reason::read(text, &json!("{not json"));
            assert_eq!((reason.text.as_str(), reason.threshold, reason.values.len()), (text, None, 0), "{text}");
        }
    }
}
