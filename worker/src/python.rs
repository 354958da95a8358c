//! Runs `python` versions: each call in a process of its own, forked ahead of time from a template that has
//! imported the common libraries.
//!
//! `pool` keeps the slots, `slot` is one of them (a template and the process of its next call), `call` is the
//! conversation with that process over `frame`s, `logs` puts printed text together, `files` holds the Python side
//! (worker/runner). Processes are started and killed by the crate `sandbox`.

mod call;
mod files;
mod frame;
mod logs;
mod pool;
mod slot;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use protocol::action::{Handler as Kind, Reuse};
use protocol::error::{Code, JobError};
use protocol::outcome::Ending;
use tokio_util::sync::CancellationToken;

use self::call::Answer;
use self::pool::Pool;
use self::slot::{Key, Slot};
use crate::handler::{Call, EventSink, Handler};

pub use sandbox::{Probe, ProbeError, probe};

/// How long a call waits for a slot. There are as many slots as calls; only a slot that is just being replaced, or
/// made ready again, makes one wait.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a slot may take to kill what a call left, when the call was stopped: [`Handler::run`] has 150 ms.
const SWEEP_STOPPED: Duration = Duration::from_millis(100);
/// The same where nobody is in a hurry.
const SWEEP: Duration = Duration::from_millis(500);

/// Where the Python side is and runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Python interpreter, 3.12 or newer.
    pub interpreter: PathBuf,
    /// Our own binary, run as `sortie sandbox-exec`.
    pub helper: PathBuf,
    /// Where the runner's files and the slots' private directories are made. Absolute.
    pub runner_dir: PathBuf,
}

/// Why Python handlers can't be run on this host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The interpreter is missing, broken or too old; says which, and how to mend it.
    #[error(transparent)]
    Interpreter(#[from] ProbeError),
    /// The runner's files can't be written.
    #[error("the runner's files can't be written to {}", .path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The helper (our own binary) can't be started.
    #[error("the helper {} can't be started", .helper.display())]
    Helper {
        /// What was to be started.
        helper: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A template was started and did not become ready.
    #[error("a Python process did not become ready: {0}")]
    Template(String),
}

/// Runs Python handlers in a fixed number of slots. Dropping it ends all its processes.
#[derive(Debug)]
pub struct Python {
    pool: Pool,
}

impl Python {
    /// Checks the interpreter, writes the runner's files and starts `slots` templates; returns when each of them is
    /// ready for a call.
    pub async fn start(options: Options, slots: usize) -> Result<Self, Error> {
        Ok(Self { pool: Pool::start(options, slots).await? })
    }
}

#[async_trait]
impl Handler for Python {
    async fn run(&self, call: Call, events: EventSink, stop: CancellationToken) -> Ending {
        let Kind::Python { source } = &call.content.handler else {
            return failed(JobError::new(Code::Internal, "the version is not of the kind python"));
        };
        let key = (call.content.reuse == Reuse::Warm)
            .then(|| Key { tenant: call.spec.tenant.clone(), content: call.spec.content_hash.clone() });
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return Ending::Interrupted,
            slot = tokio::time::timeout(SLOT_PATIENCE, self.pool.take(key.as_ref())) => slot,
        };
        let Ok(mut slot) = slot else {
            return failed(JobError::new(Code::Internal, "no Python process became ready for the call"));
        };
        // From here on, dropping this future drops the slot, which kills everything in it.
        let source = (!slot.is_warm()).then_some(source.as_str());
        let frame = frame::encode_call(&call, slot.next_call(), source, key.is_some());
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            answer = slot.converse(&frame, &events) => Some(answer),
        };
        let keep = key.filter(|_| matches!(answer, Some(Answer::Returned { reusable: true, .. })));
        self.tidy(slot, keep, answer.is_none()).await;
        answer.map_or(Ending::Interrupted, Answer::into_ending)
    }
}

impl Python {
    /// Kills everything that the call left before the slot is used again; a slot that can't is killed as a whole.
    async fn tidy(&self, mut slot: Slot, keep: Option<Key>, stopped: bool) {
        if stopped {
            slot.kill_call();
        }
        let keep = keep.filter(|_| slot.may_be_kept());
        let swept = slot.sweep(keep.is_some(), if stopped { SWEEP_STOPPED } else { SWEEP }).await;
        match (swept, keep) {
            (Ok(0), Some(key)) if slot.is_used() => {
                slot.keep(key);
                self.pool.put(slot);
            }
            (Ok(_), _) => self.pool.put_when_ready(slot),
            (Err(error), _) => {
                tracing::warn!(slot = slot.number(), %error, "a slot is replaced");
                slot.destroy().await;
            }
        }
    }
}

const fn failed(error: JobError) -> Ending {
    Ending::Failed { error, retryable: true, retry_after: None }
}
