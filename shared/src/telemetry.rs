//! Logs and metrics. Metrics are made from the report and from nothing else; each costs the user money, so the dimensions are those that tell one stack
//! from another, and no more.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::report::{Outcome, Report, Unit};

/// Namespace of the metrics in CloudWatch.
pub const NAMESPACE: &str = "Lifeboat";

/// Sends log lines to standard output as JSON, at the level that Lambda's logging configuration names.
pub fn init() {
    let level = crate::env::process("AWS_LAMBDA_LOG_LEVEL").or_else(|| crate::env::process("RUST_LOG")).unwrap_or_else(|| "info".to_owned());
    // A second call, in a test that runs several functions in one process, keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::builder().parse_lossy(level))
        .try_init();
}

/// The one wide line of an invocation: the report, and beside it its metrics in CloudWatch's embedded metric format.
pub fn line(report: &Report, request_id: &str, cold_start: bool, now: DateTime<Utc>) -> Value {
    let mut metrics = vec![json!({"Name": "durationSeconds", "Unit": "Seconds"}), json!({"Name": "failedRuns", "Unit": "Count"})];
    let mut values = Map::new();
    values.insert("durationSeconds".into(), report.duration_seconds.into());
    values.insert("failedRuns".into(), u8::from(report.outcome == Outcome::Failed).into());
    for fact in &report.facts {
        let unit = match fact.unit {
            Unit::Seconds => "Seconds",
            Unit::Bytes => "Bytes",
            Unit::Count => "Count",
            // CloudWatch has no hours.
            Unit::Hours => "None",
        };
        metrics.push(json!({"Name": fact.name, "Unit": unit}));
        values.insert(fact.name.clone(), fact.value.into());
    }
    // CloudWatch takes at most 100 metrics in a line (embedded metric format specification).
    metrics.truncate(100);
    let mut line = json!({
        "timestamp": now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "level": if report.outcome == Outcome::Failed { "ERROR" } else { "INFO" },
        "message": format!("{} {}: {}", report.job, report.outcome.name(), report.summary),
        "requestId": request_id,
        "coldStart": cold_start,
        "function": report.job,
        "stage": report.stage,
        "instance": report.subject.instance,
        "report": report.fit(200_000),
        "_aws": {
            "Timestamp": now.timestamp_millis(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["function", "stage", "instance"]], "Metrics": metrics}],
        },
    });
    if let Some(object) = line.as_object_mut() {
        object.extend(values);
    }
    line
}

/// Writes the line of an invocation.
pub fn print(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Nothing can be done, and nobody told, when standard output is gone.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
