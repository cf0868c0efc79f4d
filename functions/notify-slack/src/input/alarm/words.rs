//! The sentence about an alarm: what was measured, what would be fine, for how long. `CPUUtilization was 97.2 %, at most 80 % is fine, for 3 of 3 periods
//! of 5 min`. Pure.

use super::metric::Metric;
use super::reason::{Operator, Reason};
use crate::input::event::State;
use crate::input::figures::{Unit, short, span};
use crate::input::value::cut;

/// What is known of the measurement, from the alarm's rule and from its reason together.
pub(super) struct Measured {
    subject: String,
    unit: Unit,
    values: Vec<f64>,
    operator: Option<Operator>,
    threshold: Option<f64>,
    band: Option<(f64, f64)>,
    hits: Option<(u32, u32)>,
    period_seconds: Option<u32>,
}

impl Measured {
    /// Rule and reason together: the reason is nearer to what happened.
    pub(super) fn new(metric: &Metric, reason: &Reason) -> Self {
        let unit = match metric.expression {
            Some(_) => reason.unit.as_deref().map_or(Unit::plain(), |unit| Unit::of(Some(unit), "", "", "")),
            None => Unit::of(metric.unit.as_deref().or(reason.unit.as_deref()), &metric.namespace, &metric.name, &metric.statistic),
        };
        let name = cut(&metric.name, 200);
        let statistic = metric.statistic_in_words();
        let subject = if statistic.is_empty() || statistic == "average" { name } else { format!("{} of {name}", begun(&statistic)) };
        Self {
            subject,
            unit,
            values: reason.values.clone(),
            operator: metric.operator.or(reason.operator),
            threshold: reason.threshold.or(metric.threshold),
            band: reason.band,
            hits: reason.hits.or(metric.periods),
            period_seconds: reason.period_seconds.or(metric.period_seconds),
        }
    }

    /// The sentence; `None` if too little is known for one.
    pub(super) fn sentence(&self, state: State, reason: &Reason) -> Option<String> {
        let subject = &self.subject;
        if reason.no_values {
            let while_ = self.missing_while();
            return Some(match (state, reason.missing_counts_as.as_deref()) {
                (State::Firing, Some("Breaching")) => format!("{subject} had no values{while_}, and none counts as bad"),
                (State::Resolved, Some("NonBreaching")) => format!("{subject} had no values{while_}, and none counts as good"),
                (State::Unknown, _) => format!("{subject} had no values{while_}, so nothing is known"),
                _ => format!("{subject} had no values{while_}"),
            });
        }
        let value = self.telling()?;
        let (shown, fine) = self.beside(value);
        let period = if state == State::Firing { self.for_how_long() } else { String::new() };
        Some(match state {
            State::Firing => format!("{subject} was {shown}{fine}{period}"),
            State::Resolved => format!("{subject} is {shown} again{fine}"),
            State::Unknown => format!("{subject} was {shown} when it was last seen{fine}"),
        })
    }

    /// The newest value that is wrong; if none is, the newest.
    fn telling(&self) -> Option<f64> {
        let is_wrong = |value: &&f64| self.operator.is_some_and(|operator| operator.is_wrong(**value, self.threshold, self.band));
        self.values.iter().rev().find(is_wrong).or(self.values.last()).copied()
    }

    /// The value, and what would be fine.
    fn beside(&self, value: f64) -> (String, String) {
        if let Some((low, high)) = self.band {
            let usual = match self.operator {
                Some(Operator::AboveBand) => format!(", up to {} is usual", self.unit.show(high)),
                Some(Operator::BelowBand) => format!(", {} or more is usual", self.unit.show(low)),
                _ => format!(", {} to {} is usual", self.unit.show(low), self.unit.show(high)),
            };
            return (self.unit.show(value), usual);
        }
        let Some(threshold) = self.threshold else { return (self.unit.show(value), String::new()) };
        let (shown, limit) = self.unit.pair(value, threshold);
        let fine = match self.operator {
            Some(Operator::Above) => format!(", at most {limit} is fine"),
            Some(Operator::AtLeast) => format!(", less than {limit} is fine"),
            Some(Operator::Below) => format!(", at least {limit} is fine"),
            Some(Operator::AtMost) => format!(", more than {limit} is fine"),
            _ => format!(", the threshold is {limit}"),
        };
        (shown, fine)
    }

    /// `, for 3 of 3 periods of 5 min`.
    fn for_how_long(&self) -> String {
        match (self.hits, self.period_seconds) {
            (Some((1, 1)), Some(period)) => format!(", for {}", span(period.into())),
            (Some((wrong, of)), Some(period)) => format!(", for {} of {} periods of {}", short(wrong.into()), short(of.into()), span(period.into())),
            (Some((wrong, of)), None) if of > 1 => format!(", {} of {} times", short(wrong.into()), short(of.into())),
            _ => String::new(),
        }
    }

    /// ` for a period of 5 min`.
    fn missing_while(&self) -> String {
        match self.period_seconds {
            Some(period) => format!(" for a period of {}", span(period.into())),
            None => String::new(),
        }
    }

    /// The last values, oldest first, if there is more than one.
    pub(super) fn last_values(&self) -> Option<String> {
        let skipped = self.values.len().saturating_sub(6);
        let values: Vec<String> = self.values.iter().skip(skipped).map(|value| self.unit.show(*value)).collect();
        (values.len() > 1).then(|| values.join(" → "))
    }

    /// `average of 5 min`, `p99 of 1 min`.
    pub(super) fn how(&self, metric: &Metric) -> Option<String> {
        let statistic = metric.statistic_in_words();
        match (statistic.is_empty(), self.period_seconds) {
            (false, Some(period)) => Some(format!("{statistic} of {}", span(period.into()))),
            (true, Some(period)) => Some(format!("each {}", span(period.into()))),
            (false, None) => Some(statistic),
            (true, None) => None,
        }
    }
}

/// With a large letter, if it is a word of ours: `p99` stays.
fn begun(statistic: &str) -> String {
    match statistic.split_at_checked(1) {
        Some((first, rest)) if rest.chars().all(|char| char.is_ascii_lowercase() || char == ' ') => format!("{}{rest}", first.to_uppercase()),
        _ => statistic.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(rule: &Value, text: &str, data: &Value, state: State) -> Option<String> {
        let (metric, reason) = (Metric::read(rule).expect("a metric"), Reason::read(text, data));
        Measured::new(&metric, &reason).sentence(state, &reason)
    }

    fn rule(name: &str, namespace: &str, statistic: &str, operator: &str) -> Value {
        json!({"MetricName": name, "Namespace": namespace, "Statistic": statistic, "ComparisonOperator": operator, "Period": 300, "EvaluationPeriods": 3})
    }

    #[test]
    fn thresholds_are_said_in_words() {
        let crossed = "Threshold Crossed: 3 out of the last 3 datapoints [97.2 (23/11/26 02:50:00), 88.4 (23/11/26 02:45:00), 85.0 (23/11/26 02:40:00)] were greater than the threshold (80.0) (minimum 3 datapoints for OK -> ALARM transition).";
        let cpu = rule("CPUUtilization", "AWS/RDS", "AVERAGE", "GreaterThanThreshold");
        let sentence = said(&cpu, crossed, &Value::Null, State::Firing);
        assert_eq!(sentence.as_deref(), Some("CPUUtilization was 97.2 %, at most 80 % is fine, for 3 of 3 periods of 5 min"));
        let back = "Threshold Crossed: 1 out of the last 3 datapoints [41.3 (23/11/26 03:15:00)] was not greater than the threshold (80.0) (minimum 1 datapoint for ALARM -> OK transition).";
        assert_eq!(said(&cpu, back, &Value::Null, State::Resolved).as_deref(), Some("CPUUtilization is 41.3 % again, at most 80 % is fine"));
        for (operator, words) in [
            ("LessThanThreshold", "at least 10.0 GB is fine"),
            ("LessThanOrEqualToThreshold", "more than 10.0 GB is fine"),
            ("GreaterThanOrEqualToThreshold", "less than 10.0 GB is fine"),
            ("Something", "the threshold is 10.0 GB"),
        ] {
            let sentence = said(
                &rule("FreeStorageSpace", "AWS/RDS", "Minimum", operator),
                "Threshold",
                &json!({"threshold": 1e10, "recentDatapoints": [5e9], "period": 86_400}),
                State::Firing,
            );
            let sentence = sentence.expect("a sentence");
            assert!(
                sentence.starts_with("Minimum of FreeStorageSpace was 5.0 GB, ") && sentence.contains(words) && sentence.ends_with("of 1 d"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn silence_is_said_in_words() {
        let text = "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching].";
        let sentence = said(&rule("Heartbeats", "Shop", "SUM", "LessThanThreshold"), text, &Value::Null, State::Firing);
        assert_eq!(sentence.as_deref(), Some("Sum of Heartbeats had no values for a period of 5 min, and none counts as bad"));
        let unknown = said(&rule("Heartbeats", "Shop", "SUM", ""), "Insufficient Data: 1 datapoint was unknown.", &Value::Null, State::Unknown);
        assert_eq!(unknown.as_deref(), Some("Sum of Heartbeats had no values for a period of 5 min, so nothing is known"));
        assert_eq!(said(&rule("Heartbeats", "Shop", "SUM", ""), "I wanted to see it", &Value::Null, State::Firing), None);
    }
}
