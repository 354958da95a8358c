//! The slots of a worker: lent to one call each, replaced when their template dies.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::{Groups, Isolation, Plan, Process, kill_tree};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::master::{self, Blueprint, FILTERS, Master, PROCESSES};
use super::slot::{Bounds, Hello, Key, Slot};
use super::{Error, Options, files};
use crate::backoff::Backoff;
use crate::egress::SlotGate;

/// How long a slot may take to be forked and to lock itself in, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
/// A template that lived this long was fine: its successor need not wait.
const LIVED: Duration = Duration::from_secs(5);
/// How often idle warm processes are looked at.
const WARM_CHECK: Duration = Duration::from_secs(5);
/// The private directory of a slot in namespaces of its own, as it sees it.
const INSIDE: &str = "/tmp";

/// All slots. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    _closing: DropGuard,
}

#[derive(Debug)]
struct Shared {
    master: Master,
    plan: Plan,
    groups: Option<Groups>,
    /// Where slots without namespaces have their private directories.
    slots: PathBuf,
    free: Mutex<Vec<Slot>>,
    /// One permit for each slot in `free`.
    count: Semaphore,
    closing: CancellationToken,
}

impl Pool {
    /// Prepares the Python side and starts all slots, one behind each gate; returns when every one is ready.
    pub(super) async fn start(options: Options, gates: Vec<Arc<SlotGate>>) -> Result<Self, Error> {
        let SetUp { blueprint, slots, groups } = spawn_blocking(move || set_up(&options))
            .await
            .map_err(|error| Error::Template(error.to_string()))??;
        if !blueprint.interpreter.has_requests {
            let interpreter = blueprint.interpreter.executable.display();
            tracing::warn!(%interpreter, "python handlers can't import requests");
        }
        let closing = CancellationToken::new();
        let guard = closing.clone().drop_guard();
        let plan = blueprint.plan.clone();
        let shared = Arc::new(Shared {
            master: Master::start(blueprint, closing.clone()).await?,
            plan,
            groups,
            slots,
            free: Mutex::default(),
            count: Semaphore::new(0),
            closing,
        });
        let pool = Self { shared: shared.clone(), _closing: guard };
        let mut first = Vec::new();
        for (number, gate) in gates.into_iter().enumerate() {
            let (tell, told) = oneshot::channel();
            tokio::spawn(tend(shared.clone(), number, gate, tell));
            first.push(told);
        }
        for told in first {
            told.await.unwrap_or_else(|_| Err(Error::Template("it was not started".into())))?;
        }
        tokio::spawn(end_stale(shared));
        Ok(pool)
    }

    /// What isolates the slots.
    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// A slot that is fit for a call of `key`; waits for one.
    pub(super) async fn take(&self, key: Option<&Key>) -> Slot {
        loop {
            // Calls that wait for slots come one after the other: the next one of this slot is likely to wait too.
            let waits = self.shared.count.available_permits() == 0;
            // The semaphore is never closed.
            if let Ok(permit) = self.shared.count.acquire().await {
                permit.forget();
            }
            let Some(mut slot) = self.shared.pick(key) else { continue };
            slot.expect(true);
            match slot.prepare(key).await {
                Ok(()) => {
                    slot.expect(waits);
                    return slot;
                }
                Err(error) => tracing::warn!(slot = slot.number(), %error, "a slot is replaced"),
            }
        }
    }

    /// Gives a slot back that is ready for a call.
    pub(super) fn put(&self, slot: Slot) {
        self.shared.put(slot);
    }

    /// Gives a slot back as soon as everything that its call left is killed and it is ready for the next; with its
    /// process, if that is kept for calls of `keep`. A slot that can't in time is killed as a whole.
    /// Returns when all of it is dead; being dropped kills it too.
    pub(super) async fn tidy(&self, mut slot: Slot, keep: Option<Key>, patience: Duration) {
        match (slot.sweep(keep.is_some(), patience).await, keep) {
            (Ok(0), Some(key)) if slot.is_used() => {
                slot.keep(key);
                self.put(slot);
            }
            (Ok(_), _) => self.renew(slot),
            (Err(error), _) => {
                tracing::warn!(slot = slot.number(), %error, "a slot is replaced");
                slot.destroy().await;
            }
        }
    }

    /// Gives a slot back as soon as it is ready for another call.
    pub(super) fn renew(&self, slot: Slot) {
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

struct SetUp {
    blueprint: Blueprint,
    slots: PathBuf,
    groups: Option<Groups>,
}

fn set_up(options: &Options) -> Result<SetUp, Error> {
    let findings = match options.isolation {
        Isolation::None => Vec::new(),
        Isolation::Required | Isolation::BestEffort => sandbox::probe_host(&options.helper)?,
    };
    let plan = sandbox::decide(options.isolation, findings)?;
    warn(&plan);
    let interpreter = sandbox::probe(&options.interpreter)?;
    let failed = |source| Error::Files { path: options.runner_dir.clone(), source };
    let (slots, root) = master::directories(options).map_err(failed)?;
    let filters = if plan.filter { sandbox::filters()? } else { Vec::new() };
    let runner = files::write(&options.runner_dir, &[(FILTERS, &filters)]).map_err(failed)?;
    let blueprint = Blueprint { helper: options.helper.clone(), interpreter, runner, root, plan };
    let groups = if blueprint.plan.namespaces { control_groups() } else { None };
    Ok(SetUp { blueprint, slots, groups })
}

/// Says what handlers go without.
fn warn(plan: &Plan) {
    for missing in &plan.missing {
        let problem = missing.problem.as_deref();
        let mend = (!missing.follows()).then(|| missing.piece.mend());
        tracing::warn!(piece = missing.piece.name(), problem, mend, "isolation is partial");
    }
    if !plan.namespaces {
        tracing::warn!(
            "handlers are not isolated: they can read and reach what this process can; run only code that you trust"
        );
    }
}

/// The control groups that are ours to use; says what bounds the slots.
fn control_groups() -> Option<Groups> {
    match Groups::open() {
        Ok(groups) => {
            tracing::info!(by = groups.bounds(), "control groups bound each slot");
            Some(groups)
        }
        Err(error) => {
            let reason = error.to_string();
            tracing::info!(reason, "no control groups: rlimits and a watch on memory bound each slot");
            None
        }
    }
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
        for mut slot in shared.remove(Slot::is_stale) {
            slot.expect(false);
            renew(shared.clone(), slot).await;
        }
    }
    shared.free().clear();
}

/// Keeps one slot alive: starts its template, waits for its end, starts the next one.
async fn tend(
    shared: Arc<Shared>,
    number: usize,
    gate: Arc<SlotGate>,
    tell: oneshot::Sender<Result<(), Error>>,
) {
    let mut tell = Some(tell);
    let mut pauses = Backoff::default();
    while !shared.closing.is_cancelled() {
        let started = Instant::now();
        match (Template::start(&shared, number, &gate).await, tell.take()) {
            (Ok((slot, template)), tell) => {
                shared.put(slot);
                if let Some(tell) = tell {
                    let _ = tell.send(Ok(()));
                }
                template.end().await;
                shared.remove(|slot| slot.number() == number);
            }
            // Who asked for the first start decides; later ones are tried for ever.
            (Err(error), Some(tell)) => {
                let _ = tell.send(Err(error));
                return;
            }
            (Err(_), None) if shared.closing.is_cancelled() => return,
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
    process: Process,
    /// True if it is the first process of its own namespace: its end is the end of all others in it.
    alone: bool,
    /// Its private directory, where that is on our disk.
    directory: Option<PathBuf>,
    doom: CancellationToken,
    gone: CancellationToken,
}

impl Template {
    async fn start(shared: &Shared, number: usize, gate: &Arc<SlotGate>) -> Result<(Slot, Self), Error> {
        let alone = shared.plan.namespaces;
        let directory = (!alone).then(|| shared.slots.join(directory_name(number)));
        if let Some(path) = &directory {
            std::fs::create_dir(path).map_err(|source| Error::Files { path: path.clone(), source })?;
        }
        let control = shared.master.fork(directory.as_deref().unwrap_or(Path::new(INSIDE))).await?;
        let Hello { process, listener, rooms, spare } =
            tokio::time::timeout(START, Hello::hear(&control, alone))
                .await
                .map_err(|_| Error::Template("it was not ready in time".into()))?
                .map_err(|error| Error::Template(error.to_string()))?;
        if let Some(listener) = listener {
            gate.serve(listener).map_err(|error| Error::Template(error.to_string()))?;
        }
        let (doom, gone) = (CancellationToken::new(), CancellationToken::new());
        let root = process.number();
        let group = shared.groups.as_ref().map(|groups| groups.slot(number, PROCESSES)).transpose()?;
        if let Some(group) = &group {
            // The spare process was forked before the template was in the group.
            for process in [root, spare.process.number()].into_iter().flatten() {
                group.add(process)?;
            }
        }
        let bounds = Bounds { gate: gate.clone(), root, group };
        // `doom` is no child of `closing`: a slot that is in a call when the pool closes is ended by that call.
        let slot =
            Slot::new(number, control, (spare, rooms), bounds, doom.clone().drop_guard(), gone.clone());
        Ok((slot, Self { process, alone, directory, doom, gone }))
    }

    /// Waits for the end of the template, or of its slot, and cleans up behind it.
    async fn end(self) {
        tokio::select! {
            // Where nothing can wait for it, it had better go.
            ended = self.process.ended() => if ended.is_err() { self.kill().await },
            () = self.doom.cancelled() => self.kill().await,
        }
        self.gone.cancel();
        if let Some(directory) = self.directory {
            // The template has removed it if it could.
            let _ = spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        }
    }

    async fn kill(&self) {
        // With the first process of a namespace the kernel kills all others; without one, we hunt them.
        match self.process.number().filter(|_| !self.alone) {
            Some(root) => {
                let _ = spawn_blocking(move || kill_tree(root)).await;
            }
            None => {
                if let Err(error) = self.process.kill() {
                    tracing::error!(%error, "a template can't be killed");
                }
            }
        }
        let _ = self.process.ended().await;
    }
}

/// A directory that no slot ever had: what a former one left there can't be met.
fn directory_name(number: usize) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{number}-{}", std::process::id(), since.as_nanos())
}
