//! Slack's rate: about one message a second for a channel or webhook, with a short burst (docs.slack.dev, "Rate limits").

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A bucket of tokens for each channel.
#[derive(Debug)]
pub(super) struct Rate {
    burst: f64,
    per_second: f64,
    buckets: HashMap<String, (f64, Instant)>,
}

impl Rate {
    pub(super) fn new(burst: u32, per_second: f64) -> Self {
        Self { burst: f64::from(burst), per_second, buckets: HashMap::new() }
    }

    /// Takes a message at this time, or says how long to wait: `Retry-After`, in whole seconds.
    pub(super) fn take(&mut self, channel: &str, now: Instant) -> Result<(), u64> {
        let (tokens, since) = self.buckets.entry(channel.to_owned()).or_insert((self.burst, now));
        *tokens = (*tokens + now.saturating_duration_since(*since).as_secs_f64() * self.per_second).min(self.burst);
        *since = now;
        if *tokens >= 1.0 {
            *tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - *tokens) / self.per_second);
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_one_a_second() {
        let (mut rate, begin) = (Rate::new(3, 1.0), Instant::now());
        let taken = (0..5).filter(|_| rate.take("ops", begin).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(rate.take("ops", begin), Err(1));
        assert_eq!(rate.take("other", begin), Ok(()), "each channel has its own");
        assert_eq!(rate.take("ops", begin + Duration::from_secs(1)), Ok(()));
        assert_eq!(rate.take("ops", begin + Duration::from_millis(1_500)), Err(1));
    }
}
