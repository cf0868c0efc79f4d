//! What an alarm looks at, out of its three encodings: `Trigger` by SNS (names in PascalCase, dimensions as a list), `configuration` by EventBridge and
//! direct (camelCase, dimensions as a map).

use std::collections::BTreeMap;

use serde_json::Value;

use super::reason::Operator;
use crate::input::value::{any_text, at, count, cut, entries, list, number, text};

/// Parts of an expression that are looked at.
const QUERIES_MAX: usize = 100;

/// A metric, or an expression over some.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metric {
    /// What it is called: the metric's name, or the expression's label.
    pub(super) name: String,
    pub(super) namespace: String,
    /// `Average`, `p99`; empty for an expression.
    pub(super) statistic: String,
    pub(super) unit: Option<String>,
    pub(super) dimensions: BTreeMap<String, String>,
    pub(super) expression: Option<String>,
    pub(super) period_seconds: Option<u32>,
    pub(super) operator: Option<Operator>,
    pub(super) threshold: Option<f64>,
    /// So many of so many periods must be wrong.
    pub(super) periods: Option<(u32, u32)>,
}

impl Metric {
    /// Reads `Trigger`, or `configuration`; `None` if it names neither metric nor expression.
    pub(super) fn read(rule: &Value) -> Option<Self> {
        let lists = [list(rule, "metrics"), list(rule, "Metrics")];
        let queries = lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default();
        let mut metric = match any_text(rule, &["MetricName", "metricName"]) {
            Some(name) => Self {
                name,
                namespace: any_text(rule, &["Namespace", "namespace"]).unwrap_or_default(),
                statistic: any_text(rule, &["ExtendedStatistic", "Statistic", "statistic"]).unwrap_or_default(),
                unit: any_text(rule, &["Unit", "unit"]),
                dimensions: entries(first(rule, &["Dimensions", "dimensions"])),
                period_seconds: period(rule),
                ..Self::default()
            },
            None => Self::of_queries(&queries[..queries.len().min(QUERIES_MAX)])?,
        };
        metric.period_seconds = metric.period_seconds.or_else(|| period(rule));
        metric.operator = any_text(rule, &["ComparisonOperator", "comparisonOperator"]).and_then(|name| Operator::named(&name));
        metric.threshold = number(rule, "Threshold").or_else(|| number(rule, "threshold"));
        let of = count(rule, "EvaluationPeriods").or_else(|| count(rule, "evaluationPeriods"));
        let least = count(rule, "DatapointsToAlarm").or_else(|| count(rule, "datapointsToAlarm"));
        metric.periods = of.map(|of| (least.unwrap_or(of).min(of), of));
        Some(metric)
    }

    /// The one of several that is compared; an anomaly band is what it is compared with.
    fn of_queries(queries: &[Value]) -> Option<Self> {
        let is_band = |query: &Value| expression(query).is_some_and(|expression| expression.starts_with("ANOMALY_DETECTION_BAND"));
        let returns = |query: &&Value| first(query, &["returnData", "ReturnData"]).as_bool() != Some(false);
        let chosen = queries.iter().filter(|query| !is_band(query)).find(returns).or_else(|| queries.first())?;
        let mut metric = Self::of_stat(first(chosen, &["metricStat", "MetricStat"]));
        if let Some(expression) = expression(chosen) {
            // Where the numbers come from: the first metric that it is made of.
            let base = queries.iter().map(|query| Self::of_stat(first(query, &["metricStat", "MetricStat"]))).find(|metric| !metric.name.is_empty());
            metric = Self { name: String::new(), statistic: String::new(), unit: None, ..base.unwrap_or_default() };
            metric.period_seconds = period(chosen).or(metric.period_seconds);
            metric.name = any_text(chosen, &["label", "Label"]).unwrap_or_else(|| cut(selected(&expression), 200));
            metric.expression = Some(expression);
        } else if let Some(label) = any_text(chosen, &["label", "Label"]).filter(|_| metric.name.is_empty()) {
            metric.name = label;
        }
        (!metric.name.is_empty()).then_some(metric)
    }

    fn of_stat(stat: &Value) -> Self {
        let metric = first(stat, &["metric", "Metric"]);
        Self {
            name: any_text(metric, &["name", "MetricName", "metricName"]).unwrap_or_default(),
            namespace: any_text(metric, &["namespace", "Namespace"]).unwrap_or_default(),
            statistic: any_text(stat, &["stat", "Stat"]).unwrap_or_default(),
            unit: any_text(stat, &["unit", "Unit"]),
            dimensions: entries(first(metric, &["dimensions", "Dimensions"])),
            period_seconds: period(stat),
            ..Self::default()
        }
    }

    /// `average`, `p99`; CloudWatch writes `AVERAGE`, `Average`.
    pub(super) fn statistic_in_words(&self) -> String {
        match self.statistic.to_uppercase().as_str() {
            "AVERAGE" => "average".to_owned(),
            "SUM" => "sum".to_owned(),
            "MAXIMUM" => "maximum".to_owned(),
            "MINIMUM" => "minimum".to_owned(),
            "SAMPLECOUNT" => "number of values".to_owned(),
            _ => cut(&self.statistic, 20),
        }
    }
}

fn expression(query: &Value) -> Option<String> {
    text(query, "expression").or_else(|| text(query, "Expression"))
}

/// What a query of Metrics Insights selects; any other expression as it is.
fn selected(expression: &str) -> &str {
    let query = expression.strip_prefix("SELECT ").and_then(|rest| rest.split_once(" FROM "));
    query.map_or(expression, |(what, _)| what.trim())
}

fn period(value: &Value) -> Option<u32> {
    count(value, "period").or_else(|| count(value, "Period")).filter(|seconds| *seconds > 0)
}

/// The first of these names that is there.
fn first<'a>(value: &'a Value, names: &[&str]) -> &'a Value {
    names.iter().map(|name| at(value, name)).find(|found| !found.is_null()).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_encodings_of_a_metric_are_one() {
        let sns = json!({"MetricName": "CPUUtilization", "Namespace": "AWS/RDS", "Statistic": "AVERAGE", "Unit": null, "Period": 300,
            "Dimensions": [{"name": "DBInstanceIdentifier", "value": "app-db"}], "EvaluationPeriods": 3, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 80.0});
        let bridge = json!({"metrics": [{"id": "m", "returnData": true, "metricStat": {"period": 300, "stat": "Average",
            "metric": {"namespace": "AWS/RDS", "name": "CPUUtilization", "dimensions": {"DBInstanceIdentifier": "app-db"}}}}]});
        let [one, other] = [sns, bridge].map(|rule| Metric::read(&rule).expect("a metric"));
        assert_eq!((&one.name, &one.namespace, &one.dimensions, one.period_seconds), (&other.name, &other.namespace, &other.dimensions, Some(300)));
        assert_eq!((one.statistic_in_words(), other.statistic_in_words()), ("average".to_owned(), "average".to_owned()));
        assert_eq!((one.threshold, one.operator, one.periods), (Some(80.0), Some(Operator::Above), Some((3, 3))));
    }

    #[test]
    fn an_expression_has_its_label_and_a_band_is_not_what_is_looked_at() {
        let math = json!({"Metrics": [{"Id": "e1", "Expression": "m1/m2*100", "Label": "5xx rate", "ReturnData": true},
            {"Id": "m1", "ReturnData": false, "MetricStat": {"Metric": {"MetricName": "HTTPCode_Target_5XX_Count", "Namespace": "AWS/ApplicationELB"}, "Period": 60, "Stat": "Sum"}}]});
        let metric = Metric::read(&math).expect("a metric");
        assert_eq!((metric.name.as_str(), metric.namespace.as_str(), metric.period_seconds), ("5xx rate", "AWS/ApplicationELB", Some(60)));
        let band = json!({"metrics": [{"id": "ad1", "expression": "ANOMALY_DETECTION_BAND(m1, 2)", "returnData": true},
            {"id": "m1", "returnData": true, "metricStat": {"metric": {"name": "Orders", "namespace": "Shop"}, "stat": "Sum", "period": 300}}]});
        assert_eq!(Metric::read(&band).map(|metric| metric.name).as_deref(), Some("Orders"));
    }

    #[test]
    fn what_is_no_metric_is_none() {
        for odd in [
            json!(null),
            json!({}),
            json!({"metrics": []}),
            json!({"metrics": [1, {"id": "x"}]}),
            json!({"MetricName": ""}),
            json!({"alarmRule": "ALARM(x)"}),
        ] {
            assert_eq!(Metric::read(&odd), None, "{odd}");
        }
    }
}
