//! Values of metrics as a person reads them: `97.2 %`, `1.2 GB`, `350 ms`; and never two that look the same when one is beyond the other. Pure.

use shared::human;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Percent,
    Bytes,
    BytesPerSecond,
    Seconds,
    Count,
    PerSecond,
    /// A number, as far as anybody knows.
    Plain,
}

/// A measure, and how many of it one of the metric's units is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    measure: Measure,
    factor: f64,
}

const PLAIN: Unit = Unit { measure: Measure::Plain, factor: 1.0 };

/// The units that CloudWatch knows (API reference, "MetricDatum").
const UNITS: [(&str, Measure, f64); 16] = [
    ("Percent", Measure::Percent, 1.0),
    ("Seconds", Measure::Seconds, 1.0),
    ("Milliseconds", Measure::Seconds, 1e-3),
    ("Microseconds", Measure::Seconds, 1e-6),
    ("Bytes", Measure::Bytes, 1.0),
    ("Kilobytes", Measure::Bytes, 1e3),
    ("Megabytes", Measure::Bytes, 1e6),
    ("Gigabytes", Measure::Bytes, 1e9),
    ("Terabytes", Measure::Bytes, 1e12),
    ("Bytes/Second", Measure::BytesPerSecond, 1.0),
    ("Kilobytes/Second", Measure::BytesPerSecond, 1e3),
    ("Megabytes/Second", Measure::BytesPerSecond, 1e6),
    ("Bits/Second", Measure::BytesPerSecond, 0.125),
    ("Count", Measure::Count, 1.0),
    ("Count/Second", Measure::PerSecond, 1.0),
    ("Hours", Measure::Seconds, 3_600.0),
];

/// What the metrics of AWS count whose alarms do not say it, by namespace and the end of their names (each service's list of metrics).
const KNOWN: [(&str, &str, &str); 30] = [
    ("AWS/RDS", "FreeStorageSpace", "Bytes"),
    ("AWS/RDS", "FreeableMemory", "Bytes"),
    ("AWS/RDS", "FreeLocalStorage", "Bytes"),
    ("AWS/RDS", "SwapUsage", "Bytes"),
    ("AWS/RDS", "TransactionLogsDiskUsage", "Bytes"),
    ("AWS/RDS", "ReplicationSlotDiskUsage", "Bytes"),
    ("AWS/RDS", "OldestReplicationSlotLag", "Bytes"),
    ("AWS/RDS", "Throughput", "Bytes/Second"),
    ("AWS/RDS", "IOPS", "Count/Second"),
    ("AWS/RDS", "Latency", "Seconds"),
    ("AWS/RDS", "ReplicaLag", "Seconds"),
    ("AWS/RDS", "CheckpointLag", "Seconds"),
    ("AWS/RDS", "CPUUtilization", "Percent"),
    ("AWS/RDS", "BurstBalance", "Percent"),
    ("AWS/RDS", "Balance%", "Percent"),
    ("AWS/ApplicationELB", "TargetResponseTime", "Seconds"),
    ("AWS/ApplicationELB", "Count", "Count"),
    ("AWS/ELB", "Latency", "Seconds"),
    ("AWS/Lambda", "Duration", "Milliseconds"),
    ("AWS/Lambda", "IteratorAge", "Milliseconds"),
    ("AWS/Lambda", "AsyncEventAge", "Milliseconds"),
    ("AWS/Lambda", "Errors", "Count"),
    ("AWS/Lambda", "Throttles", "Count"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Seconds"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Count"),
    ("AWS/EC2", "CPUUtilization", "Percent"),
    ("AWS/EC2", "CPUCreditBalance", "Count"),
    ("AWS/ECS", "Utilization", "Percent"),
    ("AWS/ElastiCache", "CPUUtilization", "Percent"),
    ("AWS/States", "ExecutionsFailed", "Count"),
];

/// Ends of names by which people say what they count.
const NAMED: [(&str, &str); 7] = [
    ("Percent", "Percent"),
    ("Bytes", "Bytes"),
    ("BytesMax", "Bytes"),
    ("Seconds", "Seconds"),
    ("SecondsMax", "Seconds"),
    ("Hours", "Hours"),
    ("Milliseconds", "Milliseconds"),
];

impl Unit {
    /// The unit of a metric: the one that is given, else the known one, else what its name says. How often something was counted is a count.
    pub(super) fn of(given: Option<&str>, namespace: &str, name: &str, statistic: &str) -> Self {
        if statistic.eq_ignore_ascii_case("SampleCount") {
            return Self { measure: Measure::Count, factor: 1.0 };
        }
        let known = || KNOWN.iter().find(|(space, end, _)| *space == namespace && name.ends_with(end)).map(|(_, _, unit)| *unit);
        let named = || NAMED.iter().find(|(end, _)| name.ends_with(end)).map(|(_, unit)| *unit);
        let unit = given.filter(|unit| !unit.eq_ignore_ascii_case("None")).or_else(known).or_else(named);
        unit.and_then(|wanted| UNITS.iter().find(|(unit, ..)| *unit == wanted))
            .map_or(PLAIN, |(_, measure, factor)| Self { measure: *measure, factor: *factor })
    }

    /// A unit that nothing is known of.
    pub(super) fn plain() -> Self {
        PLAIN
    }

    /// A value for a person.
    pub(super) fn show(self, value: f64) -> String {
        let value = value * self.factor;
        match self.measure {
            Measure::Percent => format!("{} %", short(value)),
            Measure::Bytes => bytes(value),
            Measure::BytesPerSecond => format!("{}/s", bytes(value)),
            Measure::Seconds => seconds(value),
            Measure::PerSecond => format!("{} per second", short(value)),
            Measure::Count | Measure::Plain => short(value),
        }
    }

    /// A value beside its threshold: if they differ, so do their texts.
    pub(super) fn pair(self, value: f64, threshold: f64) -> (String, String) {
        let (shown, limit) = (self.show(value), self.show(threshold));
        #[expect(clippy::float_cmp, reason = "whether they are the very same is what is asked")]
        let is_same = value == threshold;
        if shown != limit || is_same {
            return (shown, limit);
        }
        let exact = |number: f64| {
            let number = number * self.factor;
            match self.measure {
                Measure::Percent => format!("{number} %"),
                Measure::Bytes => format!("{number} bytes"),
                Measure::BytesPerSecond => format!("{number} bytes/s"),
                Measure::Seconds => format!("{number} s"),
                Measure::PerSecond => format!("{number} per second"),
                Measure::Count | Measure::Plain => number.to_string(),
            }
        };
        (exact(value), exact(threshold))
    }
}

fn bytes(value: f64) -> String {
    let text = human::bytes(human::whole(value.abs()));
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A duration: `350 ms`, `61.5 s`, `1 h 50 min`.
pub(super) fn seconds(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "?".to_owned(),
        size if size > 0.0 && size < 1e-3 => format!("{} µs", short(value * 1e6)),
        size if size > 0.0 && size < 1.0 => format!("{} ms", short(value * 1e3)),
        size if size < 120.0 => format!("{} s", short(value)),
        _ if value < 0.0 => format!("{} s", short(value)),
        // Two units, because 1 h 50 min is not 1 h.
        _ => span(human::whole(value)),
    }
}

/// `2 min`, `1 h 50 min`, `3 d 4 h`: exact enough to be believed.
pub(crate) fn span(seconds: u64) -> String {
    let (units, mut text, mut rest) = ([(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")], Vec::new(), seconds);
    for (size, unit) in units {
        if rest >= size && text.len() < 2 {
            text.push(format!("{} {unit}", human::count(rest / size)));
            rest %= size;
        } else if !text.is_empty() {
            break;
        }
    }
    if text.is_empty() { "0 s".to_owned() } else { text.join(" ") }
}

/// A number with as many places as matter.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size == 0.0 => 0,
        _ if size >= 1e15 => return format!("{value:e}"),
        _ if size >= 100.0 => 0,
        _ if size >= 1.0 => 1,
        _ if size >= 0.01 => 3,
        _ if size >= 1e-6 => 6,
        _ => return format!("{value:e}"),
    };
    let text = format!("{size:.places$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), human::count);
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unit: &str, value: f64) -> String {
        Unit::of(Some(unit), "", "", "Average").show(value)
    }

    #[test]
    fn values_are_read_at_a_glance() {
        assert_eq!([shown("Percent", 97.234), shown("Percent", 80.0), shown("Percent", 0.0)], ["97.2 %", "80 %", "0 %"]);
        assert_eq!([shown("Bytes", 1_234_567_890.0), shown("Gigabytes", 1.5), shown("Bytes/Second", 5_000.0)], ["1.2 GB", "1.5 GB", "5.0 kB/s"]);
        assert_eq!([shown("Seconds", 0.35), shown("Milliseconds", 2_300.0), shown("Seconds", 7_200.0)], ["350 ms", "2.3 s", "2 h"]);
        assert_eq!([shown("Seconds", 6_600.0), shown("Seconds", 93_600.0), shown("Microseconds", 40.0)], ["1 h 50 min", "1 d 2 h", "40 µs"]);
        assert_eq!(
            [shown("Count", 1_234.0), shown("Count", 0.5), shown("None", 12.5), shown("Count/Second", 3.0)],
            ["1,234", "0.5", "12.5", "3 per second"]
        );
        assert_eq!([short(-5.25), short(1e300), short(1e-9), short(0.001_234)], ["-5.2", "1e300", "1e-9", "0.001234"]);
        for absurd in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::INFINITY, f64::NAN] {
            for (unit, ..) in UNITS {
                assert!(shown(unit, absurd).len() < 400, "{unit} {absurd}");
            }
        }
    }

    #[test]
    fn a_value_beyond_its_threshold_never_looks_like_it() {
        let pair = |unit: &str, value, threshold| Unit::of(Some(unit), "", "", "").pair(value, threshold);
        assert_eq!(pair("Percent", 80.04, 80.0), ("80.04 %".into(), "80 %".into()));
        assert_eq!(pair("Percent", 80.0, 80.0), ("80 %".into(), "80 %".into()));
        assert_eq!(pair("Seconds", 93_601.0, 93_600.0), ("93601 s".into(), "93600 s".into()));
        assert_eq!(pair("Bytes", 1_000_000_001.0, 1e9), ("1000000001 bytes".into(), "1000000000 bytes".into()));
    }

    #[test]
    fn a_unit_that_is_not_given_is_known_or_named() {
        let of = |namespace: &str, name: &str| Unit::of(None, namespace, name, "Average").measure;
        assert_eq!([of("AWS/RDS", "CPUUtilization"), of("AWS/RDS", "ReadLatency")], [Measure::Percent, Measure::Seconds]);
        assert_eq!([of("Lifeboat", "backupAgeSecondsMax"), of("Shop", "Orders")], [Measure::Seconds, Measure::Plain]);
        assert_eq!(Unit::of(Some("Bytes"), "", "", "SampleCount").measure, Measure::Count);
        let known: Vec<&str> = KNOWN.iter().map(|(.., unit)| *unit).chain(NAMED.iter().map(|(_, unit)| *unit)).collect();
        assert!(known.iter().all(|unit| UNITS.iter().any(|(name, ..)| name == unit)), "{known:?}");
    }

    #[test]
    fn spans_are_exact_enough() {
        assert_eq!([span(0), span(59), span(300), span(5_400), span(86_400), span(90_061)], ["0 s", "59 s", "5 min", "1 h 30 min", "1 d", "1 d 1 h"]);
        assert_eq!(span(3_601), "1 h");
    }
}
