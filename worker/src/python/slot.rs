//! One slot: a template process, and the process that it has forked for the next call.
//!
//! The template forks and reaps; we talk to the forked process directly. What the template can't do in time we do
//! ourselves, by killing all of it.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use protocol::id::{ContentHash, TenantId};
use sandbox::{Control, Group, Lone, Packet, Process, Room};
use serde::Deserialize;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call::{Answer, CallProcess, Exit};
use super::code::Learn;
use super::demand::Fitting;
use crate::egress::SlotGate;
use crate::handler::EventSink;

/// How long a fork may take.
const FORK: Duration = Duration::from_secs(5);
/// How long after its channel closed a process may take to end.
const EXIT: Duration = Duration::from_secs(1);
/// Calls after which a warm process is ended.
const WARM_CALLS: u32 = 1_000;
/// Idle time after which a warm process is ended.
const WARM_IDLE: Duration = Duration::from_secs(60);

/// Whose calls may share a warm process, and what was compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) content: ContentHash,
}

/// Why a slot is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum SlotError {
    #[error("the template ended")]
    Ended,
    #[error("the template did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the control socket failed: {0}")]
    Control(#[from] io::Error),
    #[error("the template told what is no message")]
    Malformed,
    #[error("{0}")]
    Broken(String),
}

/// What the template tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told {
    Template,
    Gate,
    Rooms,
    Broken { error: String },
    Spare { leftovers: u32 },
    Exit { code: i32 },
    Clean { leftovers: u32 },
}

/// What a new template tells before its first call.
pub(super) struct Hello {
    /// Itself.
    pub(super) process: Process,
    /// The socket inside its network on which it waits for its gate to be served.
    pub(super) listener: Option<TcpListener>,
    /// The directories that calls write to, where they are file systems of their own.
    pub(super) rooms: Vec<Room>,
    /// The process of the first call.
    pub(super) spare: CallProcess,
}

impl Hello {
    /// Waits until all of it was told; `gate` if a listener belongs to it. The packets come from two processes, in
    /// any order.
    pub(super) async fn hear(control: &Control, gate: bool) -> Result<Self, SlotError> {
        let (mut process, mut listener, mut rooms, mut spare) = (None, None, Vec::new(), None);
        loop {
            let packet = control.receive().await?.ok_or(SlotError::Ended)?;
            match Told::read(&packet)? {
                Told::Template => process = Some(Process::new(only(packet.descriptors)?)),
                Told::Gate => listener = Some(TcpListener::from(only(packet.descriptors)?)),
                Told::Rooms => {
                    rooms = packet.descriptors.into_iter().map(Room::new).collect::<io::Result<_>>()?;
                }
                Told::Spare { .. } => spare = Some(CallProcess::new(packet.descriptors)?),
                Told::Broken { error } => return Err(SlotError::Broken(error)),
                Told::Exit { .. } | Told::Clean { .. } => return Err(SlotError::Malformed),
            }
            (process, spare) = match (process, spare) {
                (Some(process), Some(spare)) if listener.is_some() == gate => {
                    return Ok(Self { process, listener, rooms, spare });
                }
                others => others,
            };
        }
    }
}

impl Told {
    fn read(packet: &Packet) -> Result<Self, SlotError> {
        serde_json::from_slice(&packet.bytes).map_err(|_| SlotError::Malformed)
    }
}

/// What bounds a slot from outside.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The way to the network.
    pub(super) gate: Arc<SlotGate>,
    /// The process number of the template, under which everything of the slot runs.
    pub(super) root: Option<u32>,
    /// Its control group, where the host delegates them.
    pub(super) group: Option<Group>,
}

/// A slot that is ready for a call, or in one. Dropping it kills everything in it.
#[derive(Debug)]
pub(super) struct Slot {
    number: usize,
    /// What its processes have loaded.
    pub(super) fitting: Fitting,
    control: Control,
    process: Option<CallProcess>,
    warm: Option<Warm>,
    /// To see whether `process` has left another; `None` where that can't be seen.
    lone: Option<Lone>,
    rooms: Vec<Room>,
    calls: u32,
    /// Whether a call is likely to wait for the next process already when it is forked.
    awaited: bool,
    bounds: Arc<Bounds>,
    gone: CancellationToken,
    _doom: DropGuard,
}

#[derive(Debug)]
struct Warm {
    key: Key,
    since: Instant,
}

impl Slot {
    /// A slot over the control socket of a new template. `doom` is cancelled when the slot is dropped; `gone` tells
    /// that its processes are dead.
    pub(super) fn new(
        number: usize,
        control: Control,
        (spare, rooms): (CallProcess, Vec<Room>),
        (bounds, fitting): (Bounds, Fitting),
        doom: DropGuard,
        gone: CancellationToken,
    ) -> Self {
        let process = Some(spare);
        let lone = bounds.root.and_then(|root| Lone::new(root).ok());
        Self {
            number,
            fitting,
            control,
            process,
            warm: None,
            lone,
            rooms,
            calls: 0,
            awaited: false,
            bounds: Arc::new(bounds),
            gone,
            _doom: doom,
        }
    }

    /// What bounds the slot from outside.
    pub(super) fn bounds(&self) -> Arc<Bounds> {
        self.bounds.clone()
    }

    pub(super) const fn number(&self) -> usize {
        self.number
    }

    /// The number of the call that comes next, counted in its process: 1, 2, ...
    pub(super) const fn next_call(&self) -> u32 {
        self.calls + 1
    }

    /// True if the process has the source of the version loaded.
    pub(super) const fn is_warm(&self) -> bool {
        self.warm.is_some()
    }

    /// True if the process is warm for calls of `key`.
    pub(super) fn is_warm_for(&self, key: Option<&Key>) -> bool {
        self.warm.as_ref().is_some_and(|warm| Some(&warm.key) == key)
    }

    /// True if the process has been idle for too long to be kept.
    pub(super) fn is_stale(&self) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.since.elapsed() > WARM_IDLE)
    }

    /// Says whether a call is likely to wait for the next process: then that doesn't do a rehearsal, which would save time
    /// while there is nothing else to do.
    pub(super) const fn expect(&mut self, awaited: bool) {
        self.awaited = awaited;
    }

    /// Makes the slot fit for a call of `key`: a process that had calls of somebody else, or died, gives way to a new
    /// one.
    pub(super) async fn prepare(&mut self, key: Option<&Key>) -> Result<(), SlotError> {
        let fits = self.calls == 0 || (self.is_warm_for(key) && !self.is_stale());
        // It may have been killed while it was idle.
        let ended = self.process.as_ref().is_none_or(|process| process.process.has_ended());
        if fits && !ended { Ok(()) } else { self.next().await }
    }

    /// Runs one call to its answer. Dropping the future leaves the process to [`Slot::kill_call`].
    pub(super) async fn converse(
        &mut self,
        call: &[u8],
        events: &EventSink,
        learn: Option<Learn<'_>>,
    ) -> Answer {
        self.calls += 1;
        let Some(process) = &mut self.process else { return Answer::Ended(Exit::SlotLost) };
        match process.converse(self.calls, call, events, learn).await {
            Some(answer) => answer,
            None => Answer::Ended(self.await_exit().await),
        }
    }

    /// Kills the process of the call, at once.
    pub(super) fn kill_call(&self) {
        if let Some(process) = &self.process
            && let Err(error) = process.process.kill()
        {
            tracing::warn!(slot = self.number, %error, "a handler's process can't be killed");
        }
    }

    /// True if the call has left nothing but its process. Where that can't be told, it may have.
    pub(super) fn has_left_nothing(&mut self) -> bool {
        let alone = self.process.is_some() && self.lone.as_mut().is_some_and(Lone::is_alone);
        alone && !self.rooms.is_empty() && self.rooms.iter().all(Room::is_empty)
    }

    /// Has everything killed that the call left, except the process itself where it is kept; how many processes
    /// that were. Where it isn't kept, or had ended, there is another one then.
    pub(super) async fn sweep(&mut self, keep: bool, patience: Duration) -> Result<u32, SlotError> {
        self.forget(keep);
        let rehearse = u8::from(!self.awaited);
        let message = format!(r#"{{"kind":"sweep","keep":{keep},"rehearse":{rehearse}}}"#);
        timeout(patience, self.ask(&message)).await?
    }

    /// The same where hardly anything is to be swept, and the process isn't kept: sooner done.
    async fn next(&mut self) -> Result<(), SlotError> {
        self.forget(false);
        let rehearse = u8::from(!self.awaited);
        // No other message is as long as this one (sortie_runner/quick.py).
        timeout(FORK, self.ask(&format!(r#"{{"kind":"next","rehearse":{rehearse}}}"#))).await??;
        // It is for us to see what a call left there. Whoever did is dead now.
        if !self.rooms.iter().all(Room::is_empty) {
            self.sweep(false, FORK).await?;
        }
        Ok(())
    }

    /// The call is over, and unless it is kept its process is of no more use.
    fn forget(&mut self, keep: bool) {
        self.warm = None;
        if let Some(lone) = &mut self.lone {
            lone.renew();
        }
        if !keep {
            self.process = None;
            self.calls = 0;
        }
    }

    /// Has the template sweep; how many processes were left.
    async fn ask(&mut self, message: &str) -> Result<u32, SlotError> {
        self.control.send(message.as_bytes()).await?;
        loop {
            match self.listen().await? {
                (Told::Clean { leftovers }, _) if self.process.is_some() => return Ok(leftovers),
                (Told::Spare { leftovers }, descriptors) => {
                    self.process = Some(CallProcess::new(descriptors)?);
                    self.calls = 0;
                    return Ok(leftovers);
                }
                // Who asked for it has stopped waiting.
                (Told::Exit { .. }, _) => {}
                _ => return Err(SlotError::Malformed),
            }
        }
    }

    /// True if there is a process that had a call.
    pub(super) const fn is_used(&self) -> bool {
        self.calls > 0
    }

    /// True if the process has calls left.
    pub(super) const fn may_be_kept(&self) -> bool {
        self.calls < WARM_CALLS
    }

    /// Keeps the process for calls of `key`.
    pub(super) fn keep(&mut self, key: Key) {
        self.warm = Some(Warm { key, since: Instant::now() });
    }

    /// Kills everything in the slot; returns when it is dead.
    pub(super) async fn destroy(self) {
        let gone = self.gone.clone();
        drop(self);
        gone.cancelled().await;
    }

    /// How the process ended, whose channel is closed.
    async fn await_exit(&mut self) -> Exit {
        let Some(process) = &self.process else { return Exit::SlotLost };
        match timeout(EXIT, process.process.ended()).await {
            Ok(Err(_)) => return Exit::SlotLost,
            // We may be late, not the process.
            Err(_) if !process.process.has_ended() => return Exit::StillRunning,
            _ => {}
        }
        match timeout(FORK, self.reap()).await {
            Ok(Ok(code)) => {
                // Its number may be another's now.
                self.process = None;
                Exit::Code(code)
            }
            _ => Exit::SlotLost,
        }
    }

    /// The exit code of the process, which has ended.
    async fn reap(&self) -> Result<i32, SlotError> {
        self.control.send(br#"{"kind":"reap"}"#).await?;
        match self.listen().await? {
            (Told::Exit { code }, _) => Ok(code),
            _ => Err(SlotError::Malformed),
        }
    }

    /// The next message of the template, and what came with it. Cancelling loses nothing.
    async fn listen(&self) -> Result<(Told, Vec<OwnedFd>), SlotError> {
        let packet = self.control.receive().await?.ok_or(SlotError::Ended)?;
        match Told::read(&packet)? {
            Told::Broken { error } => Err(SlotError::Broken(error)),
            told => Ok((told, packet.descriptors)),
        }
    }
}

impl CallProcess {
    /// The process that came with these descriptors: the pipes of its calls, answers and raw output, its pidfd. Those ends of
    /// the pipes that are its own are closed.
    fn new(descriptors: Vec<OwnedFd>) -> Result<Self, SlotError> {
        let [_, calls, answers, _, output, _, pidfd] =
            <[OwnedFd; 7]>::try_from(descriptors).map_err(|_| SlotError::Malformed)?;
        Ok(Self {
            process: Process::new(pidfd),
            calls: pipe::Sender::from_owned_fd(calls)?,
            answers: pipe::Receiver::from_owned_fd(answers)?,
            output: pipe::Receiver::from_owned_fd(output)?,
            buffer: BytesMut::with_capacity(16 * 1024),
        })
    }
}

/// The one descriptor of a packet.
fn only(descriptors: Vec<OwnedFd>) -> Result<OwnedFd, SlotError> {
    let [only] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| SlotError::Malformed)?;
    Ok(only)
}
