//! How an attempt ended, and what that makes of its job. A handler's failure is data, never an `Err`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::JobError;
use crate::json::Json;
use crate::time::Timestamp;

/// How an attempt ended: a closed set. This is what the job's record shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The handler returned a result.
    Succeeded,
    /// The handler ran and failed: it raised, returned no JSON, got a bad status.
    Failed,
    /// The attempt used up its timeout, or the job its deadline, and was killed.
    TimedOut,
    /// The handler's process, or the worker itself, ended without an answer.
    Crashed,
    /// Someone cancelled the job, and the attempt was killed.
    Cancelled,
    /// The worker stopped (drain) and gave the job back: not the handler's fault.
    Interrupted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Failed, Self::TimedOut, Self::Crashed, Self::Cancelled, Self::Interrupted];

    /// The name in the API, in stores and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What a handler left behind when its attempt ended: the input of the decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It returned this.
    Returned(Json),
    /// It failed. `retry_after` is a pause that the target asked for; `retryable` is false where another
    /// attempt can't end differently (source that doesn't compile).
    Failed {
        /// What went wrong.
        error: JobError,
        /// False where trying again is pointless.
        retryable: bool,
        /// The pause that the target of an HTTP handler asked for.
        retry_after: Option<Duration>,
    },
    /// Its process ended without an answer.
    Crashed(JobError),
    /// Killed at its timeout.
    TimedOut(JobError),
    /// Killed at the job's deadline.
    DeadlinePassed,
    /// Killed because the job was cancelled.
    Cancelled,
    /// Killed because the worker stops.
    Interrupted,
}

/// What becomes of the job when an attempt has ended: the decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Ends as `succeeded` with this result.
    Succeed(Json),
    /// Ends as `failed` with this error.
    Fail(JobError),
    /// Ends as `expired`.
    Expire,
    /// Ends as `cancelled`.
    Cancel,
    /// Tried again, not before `at`; `error` stays with the attempt.
    Retry {
        /// The earliest next start.
        at: Timestamp,
        /// Why this attempt failed.
        error: JobError,
    },
    /// Queued again at once, as if this attempt had not been made: it counts neither as failure nor as crash.
    Requeue,
}
