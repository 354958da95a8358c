//! Deadlines: the instant after which a job's result is worthless. Every job has one.

use std::time::Duration;

use crate::time::Timestamp;

/// How late a terminal state may come after the deadline: the worker that runs the job reports first,
/// then the sweeper ends what is left.
pub const GRACE: Duration = Duration::from_millis(500);

/// Why a wished deadline can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineRefused {
    /// Nothing would be left of it.
    Past,
    /// Further away than the ceiling.
    TooFar,
}

/// The deadline of a job: `wished` after `starts` (its `run_at`, or now), at most `ceiling` after it.
pub fn settle(starts: Timestamp, wished: Duration, ceiling: Duration) -> Result<Timestamp, DeadlineRefused> {
    if wished.is_zero() {
        Err(DeadlineRefused::Past)
    } else if wished > ceiling {
        Err(DeadlineRefused::TooFar)
    } else {
        Ok(starts.plus(wished))
    }
}

/// What ends an attempt that doesn't end by itself, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The attempt used up its timeout.
    Timeout(Duration),
    /// The job's deadline comes before the timeout does.
    Deadline(Duration),
}

impl Limit {
    /// The earlier of the attempt's timeout and the job's deadline, seen from `now`.
    pub fn of(now: Timestamp, timeout: Duration, deadline: Timestamp) -> Self {
        let left = deadline.since(now);
        if left < timeout { Self::Deadline(left) } else { Self::Timeout(timeout) }
    }

    /// How long the attempt may run.
    pub fn duration(self) -> Duration {
        match self {
            Self::Timeout(time) | Self::Deadline(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_lies_between_now_and_the_ceiling() {
        assert_eq!(settle(NOW, SECOND, SECOND), Ok(NOW.plus(SECOND)));
        assert_eq!(settle(NOW, Duration::ZERO, SECOND), Err(DeadlineRefused::Past));
        assert_eq!(settle(NOW, 2 * SECOND, SECOND), Err(DeadlineRefused::TooFar));
    }

    #[test]
    fn an_attempt_ends_at_the_earlier_of_timeout_and_deadline() {
        assert_eq!(Limit::of(NOW, SECOND, NOW.plus(2 * SECOND)), Limit::Timeout(SECOND));
        assert_eq!(Limit::of(NOW, 5 * SECOND, NOW.plus(SECOND)), Limit::Deadline(SECOND));
        assert_eq!(Limit::of(NOW, SECOND, Timestamp::from_millis(0)), Limit::Deadline(Duration::ZERO));
    }
}
