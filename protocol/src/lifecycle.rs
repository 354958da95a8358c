//! What the store writes when a job changes: the end that a verdict means, and the data of `state` and
//! `result` events. Backends share these, so that the same change reads the same everywhere.

use serde::Serialize;

use crate::error::{Code, JobError};
use crate::job::{JobSpec, Reason};
use crate::json::Json;
use crate::outcome::Verdict;
use crate::state::JobState;
use crate::time::Timestamp;

/// What a verdict makes of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The job ends.
    End(End),
    /// The job goes on: `scheduled` until the instant, or `queued` if there is none.
    Continue {
        /// `Scheduled` or `Queued`.
        state: JobState,
        /// Why it isn't running.
        reason: Reason,
        /// The next start of a scheduled job.
        at: Option<Timestamp>,
    },
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// A terminal state.
    pub state: JobState,
    /// The result of a job that succeeded.
    pub result: Option<Json>,
    /// The error of any other.
    pub error: Option<JobError>,
    /// True if we gave it up.
    pub dead_letter: bool,
}

impl End {
    fn error(state: JobState, error: JobError) -> Self {
        Self { state, result: None, error: Some(error), dead_letter: false }
    }

    /// The end of a job that succeeded.
    pub fn succeeded(result: Json) -> Self {
        Self { state: JobState::Succeeded, result: Some(result), error: None, dead_letter: false }
    }

    /// The end of a job whose handler failed for good.
    pub fn failed(error: JobError) -> Self {
        Self::error(JobState::Failed, error)
    }

    /// The end of a job whose deadline passed.
    pub fn expired(spec: &JobSpec) -> Self {
        let message = format!("the deadline {} passed before the job finished", spec.deadline);
        Self::error(JobState::Expired, JobError::new(Code::DeadlineExceeded, message))
    }

    /// The end of a job that someone cancelled.
    pub fn cancelled() -> Self {
        Self::error(
            JobState::Cancelled,
            JobError::new(Code::JobCancelled, "the job was cancelled on request"),
        )
    }

    /// The end of a job that was given up after its attempts crashed this often.
    pub fn given_up(crashes: u32) -> Self {
        let message = format!(
            "{crashes} attempts ended without an answer: the worker or the handler's process was killed"
        );
        Self { dead_letter: true, ..Self::failed(JobError::new(Code::WorkerCrashed, message)) }
    }

    /// The data of the `result` event.
    pub fn event_data(&self) -> Json {
        #[derive(Serialize)]
        struct Data<'a> {
            state: JobState,
            #[serde(skip_serializing_if = "Option::is_none")]
            result: Option<&'a Json>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a JobError>,
        }
        let data = Data { state: self.state, result: self.result.as_ref(), error: self.error.as_ref() };
        Json::of(&data).unwrap_or_else(|_| Json::null())
    }
}

impl Step {
    /// What `verdict` makes of the job.
    pub fn of(verdict: &Verdict, spec: &JobSpec) -> Self {
        match verdict {
            Verdict::Succeed(result) => Self::End(End::succeeded(result.clone())),
            Verdict::Fail(error) => Self::End(End::failed(error.clone())),
            Verdict::Expire => Self::End(End::expired(spec)),
            Verdict::Cancel => Self::End(End::cancelled()),
            Verdict::Retry { at, .. } => {
                Self::Continue { state: JobState::Scheduled, reason: Reason::RetryBackoff, at: Some(*at) }
            }
            Verdict::Requeue => {
                Self::Continue { state: JobState::Queued, reason: Reason::WorkerStopped, at: None }
            }
        }
    }

    /// The state that the job moves to.
    pub fn state(&self) -> JobState {
        match self {
            Self::End(end) => end.state,
            Self::Continue { state, .. } => *state,
        }
    }
}

/// Who runs an attempt of which a store that lost its newest writes knows nothing but the number.
pub const UNKNOWN_WORKER: &str = "unknown";

/// The error of an attempt whose lease lapsed.
pub fn worker_lost() -> JobError {
    JobError::new(Code::WorkerCrashed, "the attempt ended without an answer: its worker disappeared")
}

/// The data of a `state` event.
pub fn state_event_data(state: JobState, reason: Option<Reason>) -> Json {
    #[derive(Serialize)]
    struct Data {
        state: JobState,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    }
    Json::of(&Data { state, reason }).unwrap_or_else(|_| Json::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_state_and_reason_or_result_or_error() {
        assert_eq!(state_event_data(JobState::Running, None).text(), r#"{"state":"running"}"#);
        assert_eq!(
            state_event_data(JobState::Queued, Some(Reason::WorkerLost)).text(),
            r#"{"state":"queued","reason":"worker_lost"}"#
        );
        let end = End::succeeded(Json::parse("[1]".into()).unwrap());
        assert_eq!(end.event_data().text(), r#"{"state":"succeeded","result":[1]}"#);
        assert!(End::cancelled().event_data().text().contains(r#""code":"job_cancelled""#));
        assert!(End::given_up(2).dead_letter);
    }
}
