//! When the sweeps of a process step: all at the same instants, so that one waking serves them all and their questions
//! to the store travel together. Those of other processes step at other instants.

use std::time::Duration;

use tokio::time::Instant;

use super::sweep::random;

/// The longest time that processes which were started together are apart.
const SPREAD: Duration = Duration::from_secs(1);

/// A beat that every process has its own of.
pub(crate) struct Beat {
    origin: Instant,
}

impl Beat {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { origin: now.checked_sub(SPREAD.mul_f64(random())).unwrap_or(now) }
    }

    /// The next instant of those that are `every` apart, or the one after it where that is less than half as long from
    /// now: a slow store must get its rest.
    pub(super) fn next(&self, every: Duration) -> Instant {
        let now = Instant::now();
        now + until_next(now - self.origin, every)
    }
}

/// From `passed` to a multiple of `every`, at least half of it.
fn until_next(passed: Duration, every: Duration) -> Duration {
    let beyond = passed.as_nanos().checked_rem(every.as_nanos()).unwrap_or(0);
    let next = every.saturating_sub(Duration::from_nanos(u64::try_from(beyond).unwrap_or(u64::MAX)));
    if next < every / 2 { next + every } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_different_lengths_meet() {
        let next = |passed| [200, 400, 1_000].map(|every| until(passed, every));
        assert_eq!(next(0), [200, 400, 1_000]);
        assert_eq!(next(1), [199, 399, 999]);
        assert_eq!(next(1_890), [110, 510, 1_110]);
        assert_eq!(next(1_950), [250, 450, 1_050]);
        assert_eq!(until(5, 0), 0);
    }

    fn until(passed: u64, every: u64) -> u128 {
        until_next(Duration::from_millis(passed), Duration::from_millis(every)).as_millis()
    }
}
