//! What a dispatcher is made of: its ports and options, what lives as long as the process and is shared by every part
//! of this crate, and how it is made and stopped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::error::{Code, Problem};
use protocol::id::Lane;
use protocol::ports::{Inbox, Queue, Registry, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Dispatcher;
use crate::access::Admin;
use crate::background::Beat;
use crate::intake::admit::QueueHealth;
use crate::intake::marks::Marks;
use crate::intake::resolve::Known;
use crate::metrics::Metrics;
use crate::options::Options;

/// Lanes whose depth is shown. More than anyone names; a bound on what callers can make us remember.
const LANES: usize = 64;

/// The backends that a dispatcher works on.
#[derive(Clone)]
pub struct Ports {
    /// Where jobs are published.
    pub queue: Arc<dyn Queue>,
    /// Where jobs are recorded.
    pub store: Arc<dyn Store>,
    /// Where actions and keys are kept.
    pub registry: Arc<dyn Registry>,
    /// Where requests arrive as messages, if they do.
    pub inbox: Option<Arc<dyn Inbox>>,
}

/// What all clones of a dispatcher are.
pub(super) struct Parts {
    ports: Ports,
    options: Options,
    metrics: Metrics,
    admin: Admin,
    known: Known,
    queue_health: QueueHealth,
    marks: Marks,
    beat: Beat,
    lanes: Mutex<BTreeSet<Lane>>,
    replies: Notify,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// Making and stopping one.
impl Dispatcher {
    /// A dispatcher on these ports. It needs [`crate::background::run`] beside it.
    pub fn new(ports: Ports, options: Options, metrics: Metrics) -> Self {
        let parts = Parts {
            admin: Admin::of(&options),
            ports,
            options,
            metrics,
            known: Known::default(),
            queue_health: QueueHealth::default(),
            marks: Marks::default(),
            beat: Beat::new(),
            lanes: Mutex::new(BTreeSet::from([Lane::standard()])),
            replies: Notify::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Whether jobs are accepted now: false while the queue is known to be away or this process stops.
    pub fn accepts_jobs(&self) -> bool {
        self.still_open().is_ok() && !self.queue_health().is_away()
    }

    /// Takes no more jobs (`draining`), answers every waiting request with what there is, and ends every
    /// stream of events. [`crate::background::run`] begins its stop with this.
    pub fn drain(&self) {
        self.parts.closing.cancel();
    }
}

/// What the parts of this crate share.
impl Dispatcher {
    pub(crate) fn queue(&self) -> &Arc<dyn Queue> {
        &self.parts.ports.queue
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.parts.ports.store
    }

    pub(crate) fn registry(&self) -> &Arc<dyn Registry> {
        &self.parts.ports.registry
    }

    pub(crate) fn inbox(&self) -> Option<&Arc<dyn Inbox>> {
        self.parts.ports.inbox.as_ref()
    }

    pub(super) fn admin(&self) -> &Admin {
        &self.parts.admin
    }

    pub(crate) fn options(&self) -> &Options {
        &self.parts.options
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    pub(crate) fn known(&self) -> &Known {
        &self.parts.known
    }

    pub(crate) fn queue_health(&self) -> &QueueHealth {
        &self.parts.queue_health
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.parts.marks
    }

    /// When the sweeps of this process step.
    pub(crate) fn beat(&self) -> &Beat {
        &self.parts.beat
    }

    /// Wakes the loop that sends replies.
    pub(crate) fn replies(&self) -> &Notify {
        &self.parts.replies
    }

    /// Cancelled once this process stops.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.parts.closing
    }

    /// Tasks that are waited for when this process stops.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.parts.tasks
    }

    /// Refuses new jobs once this process stops.
    pub(crate) fn still_open(&self) -> Result<(), Problem> {
        if self.parts.closing.is_cancelled() {
            return Err(Problem::new(
                Code::Draining,
                "this dispatcher is stopping; another one, or this one after its restart, takes the job",
            ));
        }
        Ok(())
    }

    /// Remembers a lane, whose depth is then shown. False if too many are in use: each is a set of durable
    /// queues that nobody removes, so callers can't make as many as they like.
    pub(crate) fn see_lane(&self, lane: &Lane) -> bool {
        let mut lanes = self.parts.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.contains(lane) || (lanes.len() < LANES && lanes.insert(lane.clone()))
    }

    /// The lanes that jobs were published to.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.parts.lanes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
