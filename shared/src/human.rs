//! Figures for a person. Pure.

use chrono::TimeDelta;

/// `45 s`, `12 min`, `5 h`, `3 d 4 h`.
pub fn duration(duration: TimeDelta) -> String {
    let (days, hours, minutes) = (duration.num_days(), duration.num_hours(), duration.num_minutes());
    if minutes < 1 {
        format!("{} s", duration.num_seconds())
    } else if hours < 1 {
        format!("{minutes} min")
    } else if hours < 48 {
        format!("{hours} h")
    } else if hours % 24 == 0 {
        format!("{days} d")
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

/// Seconds that were measured: `0.3 s`, `8.5 s`, then as [`duration`].
pub fn seconds(seconds: f64) -> String {
    match TimeDelta::try_milliseconds(cast_saturating(seconds * 1e3)) {
        Some(whole) if seconds >= 10.0 => duration(whole),
        _ => format!("{:.1} s", seconds.clamp(0.0, 1e9)),
    }
}

/// A measured number as a whole one.
#[expect(clippy::cast_possible_truncation, reason = "it saturates, and NaN becomes 0: what a figure for a person should do")]
fn cast_saturating(value: f64) -> i64 {
    value.round() as i64
}

/// A number that a report carries, as a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and NaN becomes 0: what a figure for a person should do")]
pub fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// `7 bytes`, `1.5 kB`, `2.0 GB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} bytes");
    }
    let (mut value, mut unit) = (bytes as f64 / 1e3, "kB");
    for larger in ["MB", "GB", "TB"] {
        if value < 999.95 {
            break;
        }
        (value, unit) = (value / 1e3, larger);
    }
    format!("{value:.1} {unit}")
}

/// `1,234,567`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let seconds = |seconds| duration(TimeDelta::seconds(seconds));
        assert_eq!([seconds(0), seconds(59), seconds(60), seconds(3_600 * 30), seconds(86_400 * 3)], ["0 s", "59 s", "1 min", "30 h", "3 d"]);
        assert_eq!(seconds(86_400 * 3 + 3_600 * 4), "3 d 4 h");
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_500), bytes(999_999), bytes(2_000_000_000)],
            ["0 bytes", "999 bytes", "1.5 kB", "1.0 MB", "2.0 GB"]
        );
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
    }
}
