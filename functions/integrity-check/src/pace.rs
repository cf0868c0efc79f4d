//! How fast pages are read: never faster than configured, whoever reads them, so that production does not notice the night.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A pace that all readers of an invocation share.
#[derive(Debug)]
pub struct Pace {
    pages_per_second: u64,
    next: Instant,
}

impl Pace {
    /// A pace that begins now.
    pub fn new(pages_per_second: u64) -> Self {
        Self { pages_per_second: pages_per_second.max(1), next: Instant::now() }
    }

    /// Pages that a statement should read: what may be read in a second, so that the pace is kept at every scale above it.
    pub fn window_pages(&self) -> u64 {
        self.pages_per_second
    }

    /// Waits until so many pages may be read. Time that was not used is not saved up.
    pub async fn take(&mut self, pages: u64) {
        let now = Instant::now();
        let begin = self.next.max(now);
        #[expect(clippy::cast_precision_loss, reason = "pages of a window")]
        let seconds = pages as f64 / self.pages_per_second as f64;
        self.next = begin + Duration::from_secs_f64(seconds);
        sleep_until(begin).await;
    }
}
