//! When a failed attempt is tried again: a pure rule of the version's policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How often and how soon a failed attempt is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included: 1 (never again) to 20.
    pub max_attempts: u32,
    /// The pause before the second attempt, in milliseconds.
    pub backoff_ms: u64,
    /// What each further pause is multiplied by: 1 to 10.
    pub factor: f64,
    /// The longest pause, in milliseconds.
    pub max_backoff_ms: u64,
}

impl Default for RetryPolicy {
    /// One attempt: running a handler twice is something that its author decides.
    fn default() -> Self {
        Self { max_attempts: 1, backoff_ms: 500, factor: 2.0, max_backoff_ms: 30_000 }
    }
}

impl RetryPolicy {
    /// The pause after the failure number `failures` (1, 2, ...), without jitter.
    pub fn pause(&self, failures: u32) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let millis =
            (Duration::from_millis(self.backoff_ms).as_secs_f64() * self.factor.powi(steps)).max(0.0);
        let longest = Duration::from_millis(self.max_backoff_ms);
        Duration::try_from_secs_f64(millis).map_or(longest, |pause| pause.min(longest))
    }

    /// When to try again after failure number `failures`, or `None` if that was the last attempt or the
    /// next one would start at or after the `deadline`. `at_least` is a pause that the target asked for
    /// (`Retry-After`); `jitter` in 0..=1 spreads retries over up to a fifth of the pause.
    pub fn next(
        &self,
        failures: u32,
        now: Timestamp,
        deadline: Timestamp,
        at_least: Option<Duration>,
        jitter: f64,
    ) -> Option<Timestamp> {
        if failures >= self.max_attempts {
            return None;
        }
        let pause = self.pause(failures).max(at_least.unwrap_or_default());
        // Before the sum: a target may ask for a pause of any length.
        if pause >= deadline.since(now) {
            return None;
        }
        let pause = pause + pause.mul_f64(0.2 * jitter.clamp(0.0, 1.0));
        let at = now.plus(pause);
        (at < deadline).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn policy() -> RetryPolicy {
        RetryPolicy { max_attempts: 4, backoff_ms: 100, factor: 3.0, max_backoff_ms: 500 }
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let pauses: Vec<_> = (1..=4).map(|n| policy().pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 300, 500, 500]);
        assert_eq!(policy().pause(u32::MAX).as_millis(), 500);
    }

    #[test]
    fn the_last_attempt_and_the_deadline_end_retrying() {
        let far = Timestamp::from_millis(10_000);
        assert_eq!(policy().next(1, NOW, far, None, 0.0), Some(Timestamp::from_millis(100)));
        assert_eq!(policy().next(4, NOW, far, None, 0.0), None);
        assert_eq!(policy().next(1, NOW, Timestamp::from_millis(100), None, 0.0), None);
        assert_eq!(RetryPolicy::default().next(1, NOW, far, None, 0.0), None);
    }

    #[test]
    fn a_pause_asked_for_is_kept_and_jitter_only_adds() {
        let far = Timestamp::from_millis(10_000);
        assert_eq!(
            policy().next(1, NOW, far, Some(Duration::from_secs(2)), 0.0),
            Some(Timestamp::from_millis(2_000))
        );
        assert_eq!(policy().next(1, NOW, far, None, 1.0), Some(Timestamp::from_millis(120)));
        assert_eq!(policy().next(1, NOW, far, Some(Duration::MAX), 1.0), None);
    }
}
