//! How fast a handler may tell events: a bucket that holds a second's worth and fills steadily. A handler that is
//! faster waits; nothing is lost.

use std::time::Duration;

use protocol::limits;
use tokio::time::Instant;

/// The bucket of one attempt.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the bucket would be full if nothing more were taken out.
    full_at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes room for one event; how long to wait before it may be told.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let each = Duration::from_secs(1) / limits::EVENTS_PER_SECOND;
        self.full_at = self.full_at.max(now) + each;
        // A second's worth is free; what is taken beyond that has to fill up first.
        (self.full_at - now).saturating_sub(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_is_free_and_the_rest_comes_at_the_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..limits::EVENTS_PER_SECOND {
            assert_eq!(pace.take(now), Duration::ZERO);
        }
        let each = Duration::from_secs(1) / limits::EVENTS_PER_SECOND;
        assert_eq!(pace.take(now), each);
        assert_eq!(pace.take(now + each), each);
        assert_eq!(pace.take(now + Duration::from_secs(10)), Duration::ZERO);
    }
}
