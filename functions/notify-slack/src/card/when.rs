//! Moments as Slack shows them: in the reader's own time, with UTC for readers that cannot. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use shared::human;

use crate::input::figures::span;

/// `<!date^…|2026-11-23 02:55 UTC>`: "today at 3:55" to somebody in Berlin (api.slack.com, "Date formatting").
pub(super) fn moment(time: DateTime<Utc>) -> String {
    format!("<!date^{}^{{date_short_pretty}} at {{time}}|{}>", time.timestamp(), utc(time))
}

/// The same for places without markup.
pub(super) fn utc(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// How long from one moment to another: `25 min`; nothing if it went backwards.
pub(super) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Option<String> {
    let seconds = u64::try_from((to - from).num_seconds()).ok()?;
    // Beyond a minute, seconds say nothing.
    Some(if seconds >= 60 { span(seconds / 60 * 60) } else { human::duration(TimeDelta::seconds(seconds.try_into().unwrap_or(0))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_fallback() {
        let time = DateTime::from_timestamp(1_795_402_500, 0).expect("a time");
        assert_eq!(moment(time), "<!date^1795402500^{date_short_pretty} at {time}|2026-11-23 02:55 UTC>");
        assert_eq!(between(time, time + TimeDelta::seconds(1_530)).as_deref(), Some("25 min"));
        assert_eq!(between(time, time + TimeDelta::hours(26)).as_deref(), Some("1 d 2 h"));
        assert_eq!(between(time, time - TimeDelta::hours(1)), None);
    }
}
