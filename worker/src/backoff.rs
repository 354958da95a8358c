//! How long to wait before a port is tried again: longer each time, up to a ceiling, and never in step with
//! the other workers.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(25);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The pauses of one series of tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Waits for the next pause.
    pub(crate) async fn wait(&mut self) {
        let pause = self.next.mul_f64(0.5 + 0.5 * random());
        self.next = (self.next * 2).min(LONGEST);
        tokio::time::sleep(pause).await;
    }
}

/// A number from 0 to 1 that differs between processes.
pub(crate) fn random() -> f64 {
    // Spreading is a courtesy: without a source of randomness all wait the same time.
    f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)
}
