//! A worker: takes deliveries, keeps them in slots, and stops in good order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::id::{Lane, WorkerId};
use protocol::job::{JobSpec, Priority};
use protocol::ports::{Consumer, Delivery, Offers};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::ahead::Ahead;
use crate::choose::{self, Passed};
use crate::contents::Contents;
use crate::egress::Gate;
use crate::handler::http::Http;
use crate::lease::Leases;
use crate::offered::Offered;
use crate::python::Python;
use crate::secrets::Vault;
use crate::{Error, Handlers, Metrics, Options, Ports, Status, attempt};

/// How long an interrupted attempt may take to tell the store so, once the drain is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A worker that is ready to run.
pub struct Worker {
    consumer: Box<dyn Consumer>,
    lanes: Vec<Lane>,
    bench: Arc<Bench>,
    drain: Duration,
    status: Status,
}

/// What all attempts of a worker share.
pub(crate) struct Bench {
    pub(crate) ports: Ports,
    pub(crate) id: WorkerId,
    pub(crate) handlers: Handlers,
    pub(crate) contents: Contents,
    pub(crate) vault: Vault,
    pub(crate) leases: Arc<Leases>,
    pub(crate) offered: Offered,
    pub(crate) metrics: Metrics,
    /// One permit for each call that may run.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) ahead: Ahead,
    /// Fires when the worker is told to stop: what is not yet claimed is given back.
    pub(crate) draining: CancellationToken,
    /// Fires when the drain is over: running handlers are stopped.
    pub(crate) interrupt: CancellationToken,
}

impl Worker {
    /// Prepares everything; when this returns, the slots are ready and the queue may deliver.
    pub async fn start(ports: Ports, options: Options, metrics: Metrics) -> Result<Self, Error> {
        options.check()?;
        let egress = Gate::new(&options.egress_allow, &options.egress_own);
        let python = Python::start(options.python.clone(), options.slots, &egress, &metrics).await?;
        let http = Http::new(egress, metrics.clone())?;
        let handlers = Handlers { python: Arc::new(python), http: Arc::new(http) };
        Self::with_handlers(ports, options, metrics, handlers).await
    }

    /// The same with handlers of the caller's choice.
    pub async fn with_handlers(
        ports: Ports,
        options: Options,
        metrics: Metrics,
        handlers: Handlers,
    ) -> Result<Self, Error> {
        let ceiling = options.check()?;
        let consumer = ports.queue.consume(&options.lanes, ceiling).await?;
        let slots = Arc::new(Semaphore::new(options.slots));
        let status = Status::new(ports.clone(), options.slots, handlers.python.isolation(), slots.clone());
        metrics.free_slots.set(i64::from(ceiling));
        let bench = Arc::new(Bench {
            contents: Contents::new(ports.registry.clone()),
            vault: Vault::new(ports.registry.clone(), options.master_keys),
            leases: Arc::new(Leases::new(ports.store.clone(), options.lease)),
            offered: Offered::new(options.lease),
            ports,
            id: options.id,
            handlers,
            metrics,
            slots,
            ahead: Ahead::new(options.slots),
            draining: CancellationToken::new(),
            interrupt: CancellationToken::new(),
        });
        Ok(Self { consumer, lanes: options.lanes, bench, drain: options.drain, status })
    }

    /// A shared view of this worker.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Works until `stop` fires, then drains; nothing of the worker runs any more when this returns.
    pub async fn run(mut self, stop: CancellationToken) {
        // Held by this function alone, so that the leases are kept to its very end.
        let mut keeper = JoinSet::new();
        let leases = self.bench.leases.clone();
        keeper.spawn(async move { leases.keep().await });

        let mut running = JoinSet::new();
        self.status.set_consuming(true);
        self.take(&mut running, &stop).await;
        self.shut_down(running).await;
    }

    /// Takes deliveries and starts attempts.
    async fn take(&mut self, running: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut waiting = Waiting::default();
        let mut check = tokio::time::interval(PATIENCE / 2);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let bench = self.bench.clone();
        let mut ceiling = bench.ahead.ceiling();
        let mut offered = next_of(bench.ports.store.offers(&bench.id, &self.lanes));
        loop {
            bench.metrics.waiting_jobs.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
            let wanted = bench.ahead.ceiling();
            if wanted != ceiling {
                tracing::debug!(from = ceiling, to = wanted, "the ceiling of deliveries changes");
                self.consumer.set_ceiling(wanted);
                if wanted < ceiling {
                    // Other workers may have the time.
                    waiting.keep(usize::from(wanted));
                }
                ceiling = wanted;
            }
            tokio::select! {
                // First everything that is there, so that the choice is made among all of it.
                biased;
                () = stop.cancelled() => {
                    // Before what waits goes back.
                    self.status.set_consuming(false);
                    return;
                }
                delivery = self.consumer.next() => {
                    if let Some(delivery) = bench.offered.left(delivery) {
                        waiting.put(delivery);
                    }
                }
                Some(ended) = running.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "an attempt broke off; its lease will lapse");
                },
                () = bench.ahead.room(), if waiting.any() => {
                    let Some(delivery) = waiting.next() else { continue };
                    self.begin(delivery, running);
                }
                // While there is nothing to do: what waits has waited for longer.
                (offers, job) = &mut offered, if !waiting.any() && bench.ahead.has_spare_slot() => {
                    offered = next_of(offers);
                    if let Some(delivery) = bench.offered.take(job) {
                        self.begin(delivery, running);
                    }
                }
                _ = check.tick(), if waiting.any() => waiting.give_back(),
            }
        }
    }

    fn begin(&self, delivery: Delivery, running: &mut JoinSet<()>) {
        let entry = Entry::of(self.bench.clone());
        self.status.taken();
        running.spawn(async move { attempt::run(&entry.bench.clone(), delivery, entry).await });
    }

    /// The order of stopping, and why:
    ///
    /// 1. Nothing new: the consumer goes, and the queue gives its jobs to others. What waited here for a slot
    ///    went back when [`Worker::take`] returned; what waits for the store before its claim goes now.
    /// 2. Running attempts get the drain time to end by themselves: stopping them wastes their work.
    /// 3. The others are stopped, and their jobs are queued again as if nothing had happened.
    /// 4. Who can't tell the store even then (it is away) is dropped: the queue delivers the job again, and the
    ///    lapsed lease counts as a crash.
    /// 5. The leases are kept until here: a job must not be taken over while it is still being ended.
    async fn shut_down(self, mut running: JoinSet<()>) {
        drop(self.consumer);
        self.bench.draining.cancel();
        self.bench.metrics.free_slots.set(0);
        self.bench.metrics.waiting_jobs.set(0);
        tracing::info!(attempts = running.len(), "the worker takes no more jobs and drains");
        if timeout(self.drain, all(&mut running)).await.is_err() {
            tracing::warn!(attempts = running.len(), "the drain is over; attempts are interrupted");
            self.bench.interrupt.cancel();
            if timeout(LAST_WORDS, all(&mut running)).await.is_err() {
                tracing::error!(attempts = running.len(), "attempts end without the store knowing");
            }
        }
        running.shutdown().await;
    }
}

/// The next job that is offered. It stays while others are taken: nothing that it has begun is lost.
fn next_of(mut offers: Box<dyn Offers>) -> BoxFuture<'static, (Box<dyn Offers>, JobSpec)> {
    async move {
        let job = offers.next().await;
        (offers, job)
    }
    .boxed()
}

async fn all(running: &mut JoinSet<()>) {
    while running.join_next().await.is_some() {}
}

/// How long a job that was claimed waits for a slot before it is queued again.
const SLOT_PATIENCE: Duration = Duration::from_millis(100);
/// How long a delivery waits here for a slot before it goes back: another worker may have a free one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Deliveries that wait for a slot, by priority in the order of [`Priority::ALL`]. The queue's ceiling bounds
/// them; dropping them gives them back.
#[derive(Default)]
struct Waiting {
    deliveries: [VecDeque<(Instant, Delivery)>; 3],
    passed: Passed,
}

impl Waiting {
    fn put(&mut self, delivery: Delivery) {
        self.deliveries[place(delivery.job.priority)].push_back((Instant::now(), delivery));
    }

    /// Gives back what has waited for too long.
    fn give_back(&mut self) {
        for queue in &mut self.deliveries {
            while queue.front().is_some_and(|(since, _)| since.elapsed() >= PATIENCE) {
                queue.pop_front();
            }
        }
    }

    /// Gives back all but `number` of each priority, the youngest first.
    fn keep(&mut self, number: usize) {
        for queue in &mut self.deliveries {
            queue.truncate(number);
        }
    }

    fn len(&self) -> usize {
        self.deliveries.iter().map(VecDeque::len).sum()
    }

    fn any(&self) -> bool {
        self.len() > 0
    }

    fn next(&mut self) -> Option<Delivery> {
        let waiting = std::array::from_fn(|place| !self.deliveries[place].is_empty());
        let (priority, passed) = choose::choose(waiting, self.passed)?;
        self.passed = passed;
        self.deliveries[place(priority)].pop_front().map(|(_, delivery)| delivery)
    }
}

fn place(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// A job that is on its way to a slot or in one; dropping it makes room for another, however the attempt went.
pub(crate) struct Entry {
    bench: Arc<Bench>,
}

impl Entry {
    fn of(bench: Arc<Bench>) -> Self {
        bench.ahead.enter();
        Self { bench }
    }

    /// A slot for it, or `None` if none gets free in time.
    pub(crate) async fn slot(self) -> Option<Slot> {
        let bench = &self.bench;
        let permit = tokio::select! {
            biased;
            permit = bench.slots.clone().acquire_owned() => permit.ok()?,
            () = bench.interrupt.cancelled() => return None,
            () = tokio::time::sleep(SLOT_PATIENCE) => {
                bench.ahead.misjudged();
                return None;
            }
        };
        bench.metrics.free_slots.dec();
        Some(Slot { since: Instant::now(), _permit: permit, entry: self })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.bench.ahead.leave();
    }
}

/// A slot that is taken; dropping it frees it.
pub(crate) struct Slot {
    since: Instant,
    _permit: OwnedSemaphorePermit,
    entry: Entry,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.entry.bench.ahead.kept(self.since.elapsed());
        // A slot of a draining worker takes no more jobs.
        if !self.entry.bench.draining.is_cancelled() {
            self.entry.bench.metrics.free_slots.inc();
        }
    }
}
