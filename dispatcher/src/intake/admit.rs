//! Whether a job is taken now: is this process stopping, is the queue there, do its times make sense.
//!
//! While the queue is known to be away nothing new is recorded: the caller hears 503 and can go elsewhere,
//! instead of a 202 whose job may well expire unseen. A job that was recorded before this became known is
//! published from the outbox. Known means: the last publish or the last look of
//! [`crate::background`] failed; the first success ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::deadline::{self, DeadlineRefused};
use protocol::error::{Code, Problem};
use protocol::limits;
use protocol::time::Timestamp;

/// Whether the queue took what it was last given.
#[derive(Debug, Default)]
pub(crate) struct QueueHealth {
    away: AtomicBool,
}

impl QueueHealth {
    /// The queue answered as it should.
    pub(crate) fn works(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("the queue is back; jobs are accepted again");
        }
    }

    /// The queue did not answer as it should.
    pub(crate) fn failed(&self, cause: &str) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause, "the queue is away; no jobs are accepted until it is back");
        }
    }

    /// True while the queue is known to be away.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Refuses new jobs while the queue is known to be away.
    pub(crate) fn admit(&self) -> Result<(), Problem> {
        if self.is_away() {
            let detail = "the queue can't be reached now, so no job is accepted; accepted ones wait";
            return Err(Problem::new(Code::QueueUnavailable, detail));
        }
        Ok(())
    }
}

/// When a job starts and when its result is worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) deadline: Timestamp,
}

/// The times of a job that is accepted `now`. A `run_at` that isn't in the future means at once, so a
/// caller whose clock is late is served and not refused. `usual_ms` is the version's own deadline.
pub(crate) fn times(
    now: Timestamp,
    run_at: Option<Timestamp>,
    wished_ms: Option<i64>,
    usual_ms: u64,
    ceiling: Duration,
) -> Result<Times, Problem> {
    let run_at = run_at.filter(|at| *at > now);
    if run_at.is_some_and(|at| at > now.plus(limits::RUN_AT_CEILING)) {
        let days = limits::RUN_AT_CEILING.as_secs() / 86_400;
        return Err(Problem::at(Code::FieldInvalid, "/run_at", format!("lies more than {days} days ahead")));
    }
    let wished = match wished_ms {
        Some(millis) => Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
        // The ceiling may have come down since the version was published.
        None => Duration::from_millis(usual_ms).min(ceiling),
    };
    let deadline =
        deadline::settle(run_at.unwrap_or(now), wished, ceiling).map_err(|refused| match refused {
            DeadlineRefused::Past => {
                let message = "is not in the future; it counts in milliseconds from run_at, or from now";
                Problem::at(Code::DeadlinePast, "/deadline_ms", message)
            }
            DeadlineRefused::TooFar => {
                let message = format!("lies beyond the ceiling of {} ms", ceiling.as_millis());
                Problem::at(Code::DeadlineTooFar, "/deadline_ms", message)
            }
        })?;
    Ok(Times { run_at, deadline })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const CEILING: Duration = Duration::from_secs(60);

    fn check(run_at: Option<Timestamp>, wished_ms: Option<i64>) -> Result<Times, Code> {
        times(NOW, run_at, wished_ms, 5_000, CEILING).map_err(|problem| problem.code)
    }

    #[test]
    fn the_deadline_counts_from_the_start_time() {
        let later = NOW.plus(Duration::from_secs(10));
        let after = |start: Timestamp, millis| start.plus(Duration::from_millis(millis));
        assert_eq!(check(None, None), Ok(Times { run_at: None, deadline: after(NOW, 5_000) }));
        assert_eq!(check(Some(later), Some(7)), Ok(Times { run_at: Some(later), deadline: after(later, 7) }));
        assert_eq!(
            check(Some(Timestamp::from_millis(5)), Some(7)),
            Ok(Times { run_at: None, deadline: after(NOW, 7) })
        );
    }

    #[test]
    fn deadlines_in_the_past_and_beyond_the_ceiling_are_refused() {
        assert_eq!(check(None, Some(0)), Err(Code::DeadlinePast));
        assert_eq!(check(None, Some(-5)), Err(Code::DeadlinePast));
        assert_eq!(check(None, Some(i64::MAX)), Err(Code::DeadlineTooFar));
        assert!(check(None, Some(60_000)).is_ok());
        assert_eq!(
            check(Some(NOW.plus(limits::RUN_AT_CEILING + Duration::from_millis(1))), None),
            Err(Code::FieldInvalid)
        );
    }

    #[test]
    fn a_ceiling_below_the_versions_own_deadline_shortens_it() {
        let times = times(NOW, None, None, 120_000, CEILING).unwrap();
        assert_eq!(times.deadline, NOW.plus(CEILING));
    }

    #[test]
    fn a_queue_that_failed_is_away_until_it_works() {
        let health = QueueHealth::default();
        assert!(health.admit().is_ok());
        health.failed("refused");
        assert_eq!(health.admit().unwrap_err().code, Code::QueueUnavailable);
        health.works();
        assert!(health.admit().is_ok());
    }
}
