//! The slots of a worker: lent to one call each, replaced when their template dies.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::{Launched, kill_tree};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::slot::{Key, Slot, policy};
use super::{Error, Options, files};
use crate::backoff::Backoff;

/// How long a template may take to import its libraries, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
/// A template that lived this long was fine: its successor need not wait.
const LIVED: Duration = Duration::from_secs(5);
/// How often idle warm processes are looked at.
const WARM_CHECK: Duration = Duration::from_secs(5);
/// How long a dead template's last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How much of them is kept.
const COMPLAINT_BYTES: usize = 4 * 1024;

/// All slots. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    _closing: DropGuard,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    interpreter: PathBuf,
    runner: PathBuf,
    free: Mutex<Vec<Slot>>,
    /// One permit for each slot in `free`.
    count: Semaphore,
    closing: CancellationToken,
}

impl Pool {
    /// Prepares the Python side and starts all slots; returns when every one is ready.
    pub(super) async fn start(options: Options, slots: usize) -> Result<Self, Error> {
        let setup = options.clone();
        let (probe, runner) = spawn_blocking(move || set_up(&setup))
            .await
            .map_err(|error| Error::Template(error.to_string()))??;
        if !probe.has_requests {
            tracing::warn!(interpreter = %probe.executable.display(), "python handlers can't import requests");
        }
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared {
            options,
            interpreter: probe.executable,
            runner,
            free: Mutex::default(),
            count: Semaphore::new(0),
            closing: closing.clone(),
        });
        let pool = Self { shared: shared.clone(), _closing: closing.drop_guard() };
        let mut first = Vec::new();
        for number in 0..slots {
            let (tell, told) = oneshot::channel();
            tokio::spawn(tend(shared.clone(), number, tell));
            first.push(told);
        }
        for told in first {
            told.await.unwrap_or_else(|_| Err(Error::Template("it was not started".into())))?;
        }
        tokio::spawn(end_stale(shared));
        Ok(pool)
    }

    /// A slot that is fit for a call of `key`; waits for one.
    pub(super) async fn take(&self, key: Option<&Key>) -> Slot {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = self.shared.count.acquire().await {
                permit.forget();
            }
            let Some(mut slot) = self.shared.pick(key) else { continue };
            match slot.prepare(key).await {
                Ok(()) => return slot,
                Err(error) => tracing::warn!(slot = slot.number(), %error, "a slot is replaced"),
            }
        }
    }

    /// Gives a slot back that is ready for a call.
    pub(super) fn put(&self, slot: Slot) {
        self.shared.put(slot);
    }

    /// Gives a slot back that was swept, as soon as it is ready for a call.
    pub(super) fn put_when_ready(&self, slot: Slot) {
        tokio::spawn(renew(self.shared.clone(), slot));
    }
}

impl Shared {
    fn put(&self, slot: Slot) {
        if self.closing.is_cancelled() {
            return;
        }
        self.free().push(slot);
        self.count.add_permits(1);
    }

    /// The warm slot of `key`, else one without a warm process, else the one that was given back first.
    fn pick(&self, key: Option<&Key>) -> Option<Slot> {
        let mut free = self.free();
        let warm = free.iter().position(|slot| slot.is_warm_for(key));
        let best = warm.or_else(|| free.iter().rposition(|slot| !slot.is_warm())).unwrap_or(0);
        (best < free.len()).then(|| free.remove(best))
    }

    /// Takes the free slots out that are to go.
    fn remove(&self, which: impl Fn(&Slot) -> bool) -> Vec<Slot> {
        let mut free = self.free();
        let removed: Vec<_> = free.extract_if(.., |slot| which(slot)).collect();
        // A permit that a waiting call has taken already leads it to an empty place, and it waits again.
        self.count.forget_permits(removed.len());
        removed
    }

    fn free(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_up(options: &Options) -> Result<(sandbox::Probe, PathBuf), Error> {
    let probe = sandbox::probe(&options.interpreter)?;
    let failed = |source| Error::Files { path: options.runner_dir.clone(), source };
    std::fs::create_dir_all(options.runner_dir.join("slots")).map_err(failed)?;
    Ok((probe, files::write(&options.runner_dir).map_err(failed)?))
}

async fn renew(shared: Arc<Shared>, mut slot: Slot) {
    match slot.prepare(None).await {
        Ok(()) => shared.put(slot),
        Err(error) => tracing::warn!(slot = slot.number(), %error, "a slot is replaced"),
    }
}

/// Ends warm processes that nobody has used for a while.
async fn end_stale(shared: Arc<Shared>) {
    while shared.closing.run_until_cancelled(tokio::time::sleep(WARM_CHECK)).await.is_some() {
        for slot in shared.remove(Slot::is_stale) {
            renew(shared.clone(), slot).await;
        }
    }
    shared.free().clear();
}

/// Keeps one slot alive: starts its template, waits for its end, starts the next one.
async fn tend(shared: Arc<Shared>, number: usize, tell: oneshot::Sender<Result<(), Error>>) {
    let mut tell = Some(tell);
    let mut pauses = Backoff::default();
    while !shared.closing.is_cancelled() {
        let started = Instant::now();
        match (Template::start(&shared, number).await, tell.take()) {
            (Ok((slot, template)), tell) => {
                shared.put(slot);
                if let Some(tell) = tell {
                    let _ = tell.send(Ok(()));
                }
                let complaint = template.end().await;
                shared.remove(|slot| slot.number() == number);
                if !complaint.is_empty() {
                    tracing::warn!(slot = number, complaint, "a Python template ended");
                }
            }
            // Who asked for the first start decides; later ones are tried for ever.
            (Err(error), Some(tell)) => {
                let _ = tell.send(Err(error));
                return;
            }
            (Err(error), None) => {
                tracing::error!(
                    slot = number,
                    error = &error as &dyn std::error::Error,
                    "a slot can't start"
                );
            }
        }
        if started.elapsed() > LIVED {
            pauses = Backoff::default();
        }
        shared.closing.run_until_cancelled(pauses.wait()).await;
    }
}

/// The template process of a slot, as its keeper sees it.
struct Template {
    child: Child,
    directory: PathBuf,
    complaint: JoinHandle<String>,
    doom: CancellationToken,
    gone: CancellationToken,
}

impl Template {
    async fn start(shared: &Shared, number: usize) -> Result<(Slot, Self), Error> {
        let directory = shared.options.runner_dir.join("slots").join(directory_name(number));
        std::fs::create_dir(&directory).map_err(|source| Error::Files { path: directory.clone(), source })?;
        let helper = &shared.options.helper;
        let policy = policy(&shared.interpreter, &shared.runner, directory.clone());
        let Launched { mut child, control } = sandbox::launch(helper, &policy).map_err(|source| {
            let _ = std::fs::remove_dir(&directory);
            Error::Helper { helper: helper.clone(), source }
        })?;
        let complaint = tokio::spawn(last_words(child.stderr.take()));
        // Not a child of `closing`: a slot that is in a call when the pool closes is ended by that call.
        let (doom, gone) = (CancellationToken::new(), CancellationToken::new());
        let mut slot = Slot::new(number, control, doom.clone().drop_guard(), gone.clone());
        let template = Self { child, directory, complaint, doom, gone };
        match slot.ready(START).await {
            Ok(()) => Ok((slot, template)),
            Err(error) => {
                drop(slot);
                let complaint = template.end().await;
                Err(Error::Template(if complaint.is_empty() { error.to_string() } else { complaint }))
            }
        }
    }

    /// Waits for the end of the template, or of its slot, and cleans up behind it; its last words.
    async fn end(mut self) -> String {
        let alive = tokio::select! {
            _ = self.child.wait() => false,
            () = self.doom.cancelled() => true,
        };
        if let (true, Some(pid)) = (alive, self.child.id()) {
            let _ = spawn_blocking(move || kill_tree(pid)).await;
            let _ = self.child.wait().await;
        }
        self.gone.cancel();
        let directory = self.directory;
        // The template has removed it if it could.
        let _ = spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        // Somebody who got away may hold the pipe open.
        timeout(LAST_WORDS, self.complaint).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// A directory that no slot ever had: what a former one left there can't be met.
fn directory_name(number: usize) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{number}-{}", std::process::id(), since.as_nanos())
}

/// The end of what a template wrote to its standard error.
async fn last_words(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(size @ 1..) = pipe.read(&mut piece).await {
        kept.extend_from_slice(&piece[..size]);
        let excess = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
