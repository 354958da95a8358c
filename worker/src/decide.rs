//! What the ending of an attempt makes of its job. Pure: one total match.
//!
//! Failures of the handler are counted by the version's retry policy. A crash of its process is counted apart,
//! together with crashes of workers, by the crash limit: it may be the host's fault, so it is tried again even
//! where the policy allows one attempt, but not for ever.

use protocol::limits;
use protocol::outcome::{Ending, Outcome, Verdict};
use protocol::retry::RetryPolicy;
use protocol::time::Timestamp;

/// What the decision depends on besides the ending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Attempts that failed or timed out before this one.
    pub(crate) failures: u32,
    /// Attempts that crashed before this one.
    pub(crate) crashes: u32,
    /// The version's policy.
    pub(crate) retry: &'a RetryPolicy,
    /// When the attempt ended.
    pub(crate) now: Timestamp,
    /// The job's deadline.
    pub(crate) deadline: Timestamp,
    /// 0 to 1: spreads retries.
    pub(crate) jitter: fn() -> f64,
}

/// The outcome of the attempt, and what becomes of the job.
pub(crate) fn decide(ending: Ending, facts: Facts<'_>) -> (Outcome, Verdict) {
    let failures = facts.failures.saturating_add(1);
    let crashes = facts.crashes.saturating_add(1);
    match ending {
        Ending::Returned(result) => (Outcome::Succeeded, Verdict::Succeed(result)),
        Ending::Failed { error, retryable: false, .. } => (Outcome::Failed, Verdict::Fail(error)),
        Ending::Failed { error, retryable: true, retry_after } => {
            let at = facts.retry.next(failures, facts.now, facts.deadline, retry_after, (facts.jitter)());
            (Outcome::Failed, retry_or_fail(at, error))
        }
        Ending::TimedOut(error) => {
            let at = facts.retry.next(failures, facts.now, facts.deadline, None, (facts.jitter)());
            (Outcome::TimedOut, retry_or_fail(at, error))
        }
        Ending::Crashed(error) => {
            // The crash limit stands in for the policy's number of attempts; the pauses are the policy's.
            let policy = RetryPolicy { max_attempts: limits::CRASHES, ..facts.retry.clone() };
            let at = policy.next(crashes, facts.now, facts.deadline, None, (facts.jitter)());
            (Outcome::Crashed, retry_or_fail(at, error))
        }
        Ending::DeadlinePassed => (Outcome::TimedOut, Verdict::Expire),
        Ending::Cancelled => (Outcome::Cancelled, Verdict::Cancel),
        Ending::Interrupted => (Outcome::Interrupted, Verdict::Requeue),
    }
}

fn retry_or_fail(at: Option<Timestamp>, error: protocol::error::JobError) -> Verdict {
    match at {
        Some(at) => Verdict::Retry { at, error },
        None => Verdict::Fail(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::error::{Code, JobError};
    use protocol::json::Json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn error() -> JobError {
        JobError::new(Code::HandlerRaised, "no")
    }

    fn failed(retryable: bool, retry_after: Option<u64>) -> Ending {
        Ending::Failed { error: error(), retryable, retry_after: retry_after.map(Duration::from_millis) }
    }

    /// Decides under a policy of 3 attempts with a pause of 100 ms, 10 s before the deadline.
    fn check(ending: Ending, failures: u32, crashes: u32, outcome: Outcome, verdict: Verdict) {
        let retry = RetryPolicy { max_attempts: 3, backoff_ms: 100, factor: 2.0, max_backoff_ms: 1_000 };
        let deadline = NOW.plus(Duration::from_secs(10));
        let facts = Facts { failures, crashes, retry: &retry, now: NOW, deadline, jitter: || 0.0 };
        assert_eq!(decide(ending, facts), (outcome, verdict));
    }

    fn retry_in(millis: u64) -> Verdict {
        Verdict::Retry { at: NOW.plus(Duration::from_millis(millis)), error: error() }
    }

    #[test]
    fn a_result_succeeds() {
        check(Ending::Returned(Json::null()), 0, 0, Outcome::Succeeded, Verdict::Succeed(Json::null()));
    }

    #[test]
    fn a_failure_is_retried_while_the_policy_allows() {
        check(failed(true, None), 0, 0, Outcome::Failed, retry_in(100));
        check(failed(true, None), 1, 0, Outcome::Failed, retry_in(200));
        check(failed(true, None), 2, 0, Outcome::Failed, Verdict::Fail(error()));
        check(failed(false, None), 0, 0, Outcome::Failed, Verdict::Fail(error()));
    }

    #[test]
    fn a_pause_that_the_target_asked_for_is_kept_if_the_deadline_allows() {
        check(failed(true, Some(3_000)), 0, 0, Outcome::Failed, retry_in(3_000));
        check(failed(true, Some(10_000)), 0, 0, Outcome::Failed, Verdict::Fail(error()));
    }

    #[test]
    fn a_timeout_counts_as_a_failure() {
        check(Ending::TimedOut(error()), 0, 0, Outcome::TimedOut, retry_in(100));
        check(Ending::TimedOut(error()), 2, 0, Outcome::TimedOut, Verdict::Fail(error()));
    }

    #[test]
    fn a_crash_is_tried_again_under_the_crash_limit_whatever_the_failures() {
        check(Ending::Crashed(error()), 5, 0, Outcome::Crashed, retry_in(100));
        check(Ending::Crashed(error()), 0, limits::CRASHES - 1, Outcome::Crashed, Verdict::Fail(error()));
    }

    #[test]
    fn what_killed_the_attempt_decides() {
        check(Ending::DeadlinePassed, 0, 0, Outcome::TimedOut, Verdict::Expire);
        check(Ending::Cancelled, 0, 0, Outcome::Cancelled, Verdict::Cancel);
        check(Ending::Interrupted, 9, 9, Outcome::Interrupted, Verdict::Requeue);
    }

    #[test]
    fn numbers_at_their_end_do_not_overflow() {
        check(failed(true, None), u32::MAX, 0, Outcome::Failed, Verdict::Fail(error()));
        check(Ending::Crashed(error()), 0, u32::MAX, Outcome::Crashed, Verdict::Fail(error()));
    }
}
