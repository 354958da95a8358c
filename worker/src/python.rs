//! Runs `python` versions: each call in a process of its own, forked ahead of time in a sandbox that has imported the
//! common libraries.
//!
//! `master` is the process that all slots are forked from, `pool` keeps the slots, `slot` is one of them (a template
//! and the process of its next call), `call` is the conversation with that process over `frame`s, `memory` watches
//! what it takes, `logs` puts printed text together, `files` holds the Python side (worker/runner). Processes are
//! started, isolated and killed by the crate `sandbox`.

mod call;
mod code;
mod demand;
mod files;
mod frame;
mod loaded;
mod logs;
mod master;
mod memory;
mod pool;
mod slot;
mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::action::{Handler as Kind, Reuse};
use protocol::error::{Code, JobError};
use protocol::isolation;
use protocol::outcome::Ending;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::call::Answer;
use self::code::{Codes, Learn};
use self::frame::Source;
use self::memory::Watch;
use self::pool::Pool;
use self::slot::Key;
use crate::Metrics;
use crate::egress::{CallPolicy, Gate, Limits, SlotGate};
use crate::handler::{Call, EventSink, Handler};

pub use sandbox::{Isolation, Probe, ProbeError, probe};

/// How long a call waits for a slot. There are as many slots as calls; only a slot that is just being replaced, or
/// made ready again, makes one wait.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a slot may take to kill what a call left, before all of it is killed.
const SWEEP: Duration = Duration::from_millis(500);
/// The same from when the call was stopped: [`Handler::run`] has 150 ms.
const SWEEP_STOPPED: Duration = Duration::from_millis(100);

/// Where the Python side is and runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Python interpreter, 3.12 or newer.
    pub interpreter: PathBuf,
    /// Our own binary, run as `sortie sandbox-exec`.
    pub helper: PathBuf,
    /// Where the runner's files and the slots' private directories are made. Absolute, and open to the user that
    /// handlers run as, where the worker is root.
    pub runner_dir: PathBuf,
    /// How much isolation the slots must have.
    pub isolation: Isolation,
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
    /// The host could not be asked what it allows.
    #[error(transparent)]
    Host(#[from] sandbox::HostError),
    /// The host lacks what the isolation needs; says what, and how to mend it.
    #[error(transparent)]
    Isolation(#[from] sandbox::Missing),
    /// There is no filter of system calls for this machine.
    #[error(transparent)]
    Filter(#[from] sandbox::SeccompError),
    /// The host has delegated control groups, but they can't be used.
    #[error("a slot's control group can't be set up")]
    Group(#[from] sandbox::GroupError),
    /// A template was started and did not become ready.
    #[error("a Python process did not become ready: {0}")]
    Template(String),
}

/// Runs Python handlers in a fixed number of slots. Dropping it ends all its processes.
#[derive(Debug)]
pub struct Python {
    pool: Pool,
    codes: Codes,
}

impl Python {
    /// Checks the host and the interpreter, writes the runner's files and starts `slots` templates; returns when each
    /// of them is ready for a call. `egress` says what handlers can reach.
    pub async fn start(
        options: Options,
        slots: usize,
        egress: &Gate,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let gates = (0..slots).map(|_| Arc::new(SlotGate::new(egress.clone(), metrics.clone())));
        Ok(Self { pool: Pool::start(options, gates.collect()).await?, codes: Codes::default() })
    }
}

#[async_trait]
impl Handler for Python {
    async fn run(&self, call: Call, events: EventSink, stop: CancellationToken) -> Ending {
        let Kind::Python { source } = &call.content.handler else {
            return failed(JobError::new(Code::Internal, "the version is not of the kind python"));
        };
        let began = Instant::now();
        let version = Key { tenant: call.spec.tenant.clone(), content: call.spec.content_hash.clone() };
        let key = (call.content.reuse == Reuse::Warm).then(|| version.clone());
        let known = self.codes.get(&version);
        let wanted = known.as_ref().map_or_else(|| self.pool.wanted_by(source), |known| known.wanted);
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return Ending::Interrupted,
            slot = tokio::time::timeout(SLOT_PATIENCE, self.pool.take(key.as_ref(), wanted)) => slot,
        };
        let Ok(mut slot) = slot else {
            return failed(JobError::new(Code::Internal, "no Python process became ready for the call"));
        };
        // From here on, dropping this future drops the slot, which kills everything in it.
        // Another call may have told it while this one waited.
        let known = known.or_else(|| self.codes.get(&version));
        let code = known.as_ref().map(|known| &known.code);
        let source = (!slot.is_warm()).then_some(Source { text: source, code });
        let learn = source.filter(|source| source.code.is_none());
        let learn = learn.map(|_| Learn { codes: &self.codes, version: &version, wanted });
        let left = call.limit.duration().saturating_sub(began.elapsed());
        let frame = frame::encode_call(&call, left, slot.next_call(), source, key.is_some());
        let open = slot.bounds().gate.open(CallPolicy {
            egress: call.content.egress.clone(),
            ends: Instant::now() + left,
            limits: Limits::default(),
        });
        let memory_mb = call.content.memory_mb;
        let memory = Watch::begin(slot.bounds(), memory_mb);
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            answer = slot.converse(&frame, &events, learn) => Some(answer),
            () = memory.outgrown() => Some(Answer::OutOfMemory(memory_mb)),
        };
        drop(open);
        let answer = match answer {
            Some(Answer::Ended(_)) if memory.has_killed() => Some(Answer::OutOfMemory(memory_mb)),
            answer => answer,
        };
        if matches!(answer, None | Some(Answer::OutOfMemory(_))) {
            slot.kill_call();
        }
        let reusable = matches!(answer, Some(Answer::Returned { reusable: true, .. }));
        match key.filter(|_| reusable && slot.may_be_kept()) {
            Some(key) if slot.has_left_nothing() => {
                slot.keep(key);
                self.pool.put(slot);
            }
            // Its own process ends without us.
            None if slot.has_left_nothing() => self.pool.renew(slot),
            keep => {
                let hurry = async {
                    stop.cancelled().await;
                    tokio::time::sleep(SWEEP_STOPPED).await;
                };
                tokio::select! {
                    () = self.pool.tidy(slot, keep, SWEEP) => {}
                    () = hurry => {}
                }
            }
        }
        answer.map_or(Ending::Interrupted, Answer::into_ending)
    }

    fn isolation(&self) -> isolation::Isolation {
        let plan = self.pool.plan();
        match (plan.namespaces, plan.filter) {
            (true, true) if plan.missing.is_empty() => isolation::Isolation::Sandbox,
            (false, false) => isolation::Isolation::None,
            _ => isolation::Isolation::Partial,
        }
    }
}

const fn failed(error: JobError) -> Ending {
    Ending::Failed { error, retryable: true, retry_after: None }
}
