//! The slots of a worker: lent to one call each, replaced when their template dies, or has less loaded than a call wants.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::{Groups, Isolation, Plan};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::demand::Demand;
use super::loaded::Loaded;
use super::master::{self, Blueprint, FILTERS, Masters};
use super::slot::{Key, Slot};
use super::template::Template;
use super::{Error, Options, files};
use crate::backoff::Backoff;
use crate::egress::SlotGate;

/// A template that lived this long was fine: its successor need not wait.
const LIVED: Duration = Duration::from_secs(5);
/// How long a call waits for one slot to be made anew, before it takes any.
const FIT: Duration = Duration::from_secs(5);
/// How often it is looked at what free slots have and nobody uses.
const IDLE_CHECK: Duration = Duration::from_secs(5);

/// All slots. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    _closing: DropGuard,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) masters: Masters,
    pub(super) plan: Plan,
    pub(super) groups: Option<Groups>,
    /// Where slots without namespaces have their private directories.
    pub(super) slots: PathBuf,
    free: Mutex<Vec<Slot>>,
    /// One permit for each slot in `free`.
    count: Semaphore,
    /// By their numbers, the slots that are to have something else loaded.
    refits: Mutex<HashMap<usize, Refit>>,
    /// Who has the libraries, and who wants them.
    pub(super) demand: Demand,
    closing: CancellationToken,
}

/// What a slot is to have loaded next, and the call that waits for it.
#[derive(Debug)]
struct Refit {
    loaded: Loaded,
    waiting: Option<oneshot::Sender<Slot>>,
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
        let (ready, all_ready) = oneshot::channel::<()>();
        let masters = Masters::start(blueprint, closing.clone(), async { drop(all_ready.await) });
        let shared = Arc::new(Shared {
            masters: masters.await?,
            plan,
            groups,
            slots,
            free: Mutex::default(),
            count: Semaphore::new(0),
            refits: Mutex::default(),
            demand: Demand::default(),
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
        let _ = ready.send(());
        tokio::spawn(end_stale(shared));
        Ok(pool)
    }

    /// What isolates the slots.
    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// What a handler with this source wants to be loaded.
    pub(super) fn wanted_by(&self, source: &str) -> Loaded {
        self.shared.masters.wanted_by(source)
    }

    /// A slot that is fit for a call of `key`, whose handler wants this to be loaded; waits for one.
    pub(super) async fn take(&self, key: Option<&Key>, wanted: Loaded) -> Slot {
        loop {
            // Calls that wait for slots come one after the other: the next one of this slot is likely to wait too.
            let waits = self.shared.count.available_permits() == 0;
            // The semaphore is never closed.
            if let Ok(permit) = self.shared.count.acquire().await {
                permit.forget();
            }
            let Some(slot) = self.shared.pick(key, wanted) else { continue };
            let Some(mut slot) = self.shared.fit(slot, key, wanted).await else { continue };
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
    /// Gives a slot to the call that waits for this one, or to all.
    fn give(&self, slot: Slot, waiting: Option<oneshot::Sender<Slot>>) {
        let left = match waiting {
            Some(waiting) => waiting.send(slot).err(),
            None => Some(slot),
        };
        if let Some(slot) = left {
            self.put(slot);
        }
    }

    fn put(&self, mut slot: Slot) {
        if self.closing.is_cancelled() {
            return;
        }
        slot.fitting.give_back();
        if !slot.is_warm() && self.demand.take_surplus(&slot.fitting) {
            self.refits().insert(slot.number(), Refit { loaded: Loaded::Core, waiting: None });
            // Its keeper sees it.
            return drop(slot);
        }
        self.free().push(slot);
        self.count.add_permits(1);
    }

    /// The warm slot of `key`; else one without a warm process, rather with what is wanted; else the one that was given
    /// back first.
    fn pick(&self, key: Option<&Key>, wanted: Loaded) -> Option<Slot> {
        let mut free = self.free();
        let warm = free.iter().position(|slot| slot.is_warm_for(key));
        let best = warm
            .or_else(|| free.iter().rposition(|slot| !slot.is_warm() && slot.fitting.loaded() == wanted))
            .or_else(|| free.iter().rposition(|slot| !slot.is_warm()))
            .unwrap_or(0);
        (best < free.len()).then(|| free.remove(best))
    }

    /// The slot with what is wanted: itself, or the next of its number; `None` if that went to somebody else. Who can't have
    /// the libraries at once imports them in the call, and a warm process has what it wants.
    async fn fit(&self, mut slot: Slot, key: Option<&Key>, wanted: Loaded) -> Option<Slot> {
        if wanted == Loaded::Core {
            return Some(slot);
        }
        let can_wait = !slot.is_warm_for(key) && self.masters.with(wanted).is_ready();
        if slot.fitting.loaded() != wanted && can_wait {
            let (number, (give, given)) = (slot.number(), oneshot::channel());
            self.refits().insert(number, Refit { loaded: wanted, waiting: Some(give) });
            slot.destroy().await;
            let Ok(Ok(made)) = timeout(FIT, given).await else {
                self.refits().remove(&number);
                return None;
            };
            slot = made;
        }
        self.demand.lend(&mut slot.fitting);
        Some(slot)
    }

    /// Has slots with libraries that nobody wants any more made anew without them: free ones now, others when they are.
    fn take_back(&self) {
        if self.demand.look() > 0 {
            let idle = |slot: &Slot| slot.fitting.loaded() == Loaded::Libraries && !slot.is_warm();
            self.remove(idle).into_iter().for_each(|slot| self.put(slot));
        }
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

    /// True if the slot of this number is to be another one.
    fn is_refitted(&self, number: usize) -> bool {
        self.refits().contains_key(&number)
    }

    fn refits(&self) -> MutexGuard<'_, HashMap<usize, Refit>> {
        self.refits.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Ends warm processes that nobody has used for a while, and takes libraries back.
async fn end_stale(shared: Arc<Shared>) {
    while shared.closing.run_until_cancelled(tokio::time::sleep(IDLE_CHECK)).await.is_some() {
        for mut slot in shared.remove(Slot::is_stale) {
            slot.expect(false);
            renew(shared.clone(), slot).await;
        }
        shared.take_back();
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
    let mut loaded = Loaded::Core;
    let mut waiting = None;
    let mut pauses = Backoff::default();
    while !shared.closing.is_cancelled() {
        let started = Instant::now();
        if let Some(refit) = shared.refits().remove(&number) {
            Refit { loaded, waiting } = refit;
        }
        match (Template::start(&shared, number, loaded, &gate).await, tell.take()) {
            (Ok((slot, template)), tell) => {
                if shared.is_refitted(number) {
                    // Who took the one before has asked for another meanwhile.
                    drop(slot);
                } else {
                    shared.give(slot, waiting.take());
                }
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
                loaded = Loaded::Core;
            }
        }
        if shared.is_refitted(number) {
            continue;
        }
        if started.elapsed() > LIVED {
            pauses = Backoff::default();
        }
        shared.closing.run_until_cancelled(pauses.wait()).await;
    }
}
