//! Jobs: what was asked for ([`JobSpec`], never changes, travels on the queue) and what became of it ([`Job`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::JobError;
use crate::id::{ActionName, ContentHash, JobId, KeyId, Lane, TenantId, WorkerId};
use crate::isolation::Isolation;
use crate::json::Json;
use crate::outcome::Outcome;
use crate::retry::RetryPolicy;
use crate::state::JobState;
use crate::time::Timestamp;

/// Which of two waiting jobs of a lane goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After everything else.
    Low,
    /// The usual one.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name in the API, in queue names and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Where the answer to a job that came over the inbox goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The address that the sender named.
    pub address: String,
    /// The sender's own mark, sent back as it is.
    pub correlation_id: Option<String>,
}

/// What was asked for: everything a worker needs to run the job except the version's content, which it
/// reads from the registry by hash (a message never carries code). Never changes after it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job.
    pub id: JobId,
    /// Its owner.
    pub tenant: TenantId,
    /// The action to run.
    pub action: ActionName,
    /// The version to run; `None` for the test of an unsaved draft.
    pub version: Option<u32>,
    /// The content of that version.
    pub content_hash: ContentHash,
    /// The input, already checked against the version's schema.
    pub input: Json,
    /// The lane it waits in.
    pub lane: Lane,
    /// Its urgency within the lane.
    pub priority: Priority,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Not to be started before this.
    pub run_at: Option<Timestamp>,
    /// Worthless after this.
    pub deadline: Timestamp,
    /// How long one attempt may run, in milliseconds.
    pub timeout_ms: u64,
    /// When a failed attempt is tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// The caller's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Who gets the answer without asking for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyTo>,
    /// The key that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

impl JobSpec {
    /// How long one attempt may run.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// One try of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1, 2, ...: also the fencing number; only the newest attempt may write.
    pub number: u32,
    /// Who runs it.
    pub worker: WorkerId,
    /// What kept its handler apart from everything else.
    #[serde(default)]
    pub isolation: Isolation,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// Why a job that isn't running isn't: a closed set, told with the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Queued: no worker has taken it yet.
    AwaitingWorker,
    /// Scheduled: its `run_at` has not come.
    NotDue,
    /// Scheduled: the last attempt failed and the pause before the next one runs.
    RetryBackoff,
    /// Queued again: the worker that ran it disappeared.
    WorkerLost,
    /// Queued again: the worker that ran it was stopped.
    WorkerStopped,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::AwaitingWorker, Self::NotDue, Self::RetryBackoff, Self::WorkerLost, Self::WorkerStopped];

    /// The name in the API and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingWorker => "awaiting_worker",
            Self::NotDue => "not_due",
            Self::RetryBackoff => "retry_backoff",
            Self::WorkerLost => "worker_lost",
            Self::WorkerStopped => "worker_stopped",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A job as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it is.
    pub state: JobState,
    /// Why it isn't running, in states that wait for something.
    pub reason: Option<Reason>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// True once someone asked to cancel it, even while it still runs.
    pub cancel_requested: bool,
    /// The next start of a scheduled job.
    pub next_run_at: Option<Timestamp>,
    /// What it returned.
    pub result: Option<Json>,
    /// Why it has no result.
    pub error: Option<JobError>,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
    /// True if we gave the job up (a dead letter) rather than its handler failing for good.
    pub dead_letter: bool,
    /// Number of its newest event.
    pub last_seq: u64,
}

impl Job {
    /// Attempts that ended without an answer.
    pub fn crashes(&self) -> u32 {
        self.count(|outcome| outcome == Outcome::Crashed)
    }

    /// Attempts whose handler failed or timed out: what the retry policy counts.
    pub fn failures(&self) -> u32 {
        self.count(|outcome| matches!(outcome, Outcome::Failed | Outcome::TimedOut))
    }

    fn count(&self, which: fn(Outcome) -> bool) -> u32 {
        let count = self.attempts.iter().filter_map(|a| a.outcome).filter(|o| which(*o)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
