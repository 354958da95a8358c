//! What a worker tells about itself: for readiness and for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use protocol::isolation::Isolation;
use protocol::ports::PortError;
use protocol::time::Timestamp;
use tokio::sync::Semaphore;

use crate::Ports;

/// A shared view of a worker. Cheap to clone; it outlives the worker.
#[derive(Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Ports,
    slots: usize,
    isolation: Isolation,
    free: Arc<Semaphore>,
    consuming: AtomicBool,
    last_taken: AtomicI64,
}

/// Which of its systems a worker can reach now.
#[derive(Debug)]
pub struct Reach {
    /// The queue.
    pub queue: Result<(), PortError>,
    /// The store.
    pub store: Result<(), PortError>,
    /// The registry.
    pub registry: Result<(), PortError>,
}

impl Status {
    pub(crate) fn new(ports: Ports, slots: usize, isolation: Isolation, free: Arc<Semaphore>) -> Self {
        let (consuming, last_taken) = (AtomicBool::new(false), AtomicI64::new(0));
        Self { shared: Arc::new(Shared { ports, slots, isolation, free, consuming, last_taken }) }
    }

    /// True while it takes jobs: not before it runs, not while it drains.
    pub fn consuming(&self) -> bool {
        self.shared.consuming.load(Ordering::Relaxed)
    }

    /// Attempts that it can run at the same time.
    pub fn slots(&self) -> usize {
        self.shared.slots
    }

    /// What keeps its Python handlers apart from the host.
    pub fn isolation(&self) -> Isolation {
        self.shared.isolation
    }

    /// Slots that could take a job now.
    pub fn free(&self) -> usize {
        self.shared.free.available_permits()
    }

    /// When it last took a job into a slot.
    pub fn last_taken(&self) -> Option<Timestamp> {
        let millis = self.shared.last_taken.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(millis))
    }

    /// Asks each system for a sign of life: an answer within two seconds.
    pub async fn reach(&self) -> Reach {
        let ports = &self.shared.ports;
        let (queue, store, registry) =
            tokio::join!(ports.queue.ping(), ports.store.ping(), ports.registry.ping());
        Reach { queue, store, registry }
    }

    pub(crate) fn set_consuming(&self, consuming: bool) {
        self.shared.consuming.store(consuming, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) {
        self.shared.last_taken.store(Timestamp::now().millis(), Ordering::Relaxed);
    }
}
