//! Offers: a worker with nothing to do gets a job as soon as it is recorded, while the disk and the queue are still busy with it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::Offers;
use tokio::sync::oneshot;

use crate::crew::lock;

/// The workers with nothing to do.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Vec<Waiter>>>);

struct Waiter {
    lanes: Vec<Lane>,
    tell: oneshot::Sender<JobSpec>,
}

impl Idle {
    /// The way to one that serves the lane, which counts no longer; `None` if there is none.
    pub(super) fn one_of(&self, lane: &Lane) -> Option<oneshot::Sender<JobSpec>> {
        let mut waiters = lock(&self.0);
        waiters.retain(|waiter| !waiter.tell.is_closed());
        let place = waiters.iter().position(|waiter| waiter.lanes.contains(lane))?;
        Some(waiters.swap_remove(place).tell)
    }

    /// What is offered to a worker of these lanes.
    pub(super) fn offers(&self, lanes: &[Lane]) -> EmbeddedOffers {
        EmbeddedOffers { idle: self.clone(), lanes: lanes.to_vec() }
    }
}

/// What is offered to a worker.
pub(super) struct EmbeddedOffers {
    idle: Idle,
    lanes: Vec<Lane>,
}

#[async_trait]
impl Offers for EmbeddedOffers {
    async fn next(&mut self) -> JobSpec {
        loop {
            let (tell, told) = oneshot::channel();
            lock(&self.idle.0).push(Waiter { lanes: self.lanes.clone(), tell });
            if let Ok(job) = told.await {
                return job;
            }
            // The job could not be recorded.
        }
    }
}
