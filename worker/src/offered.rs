//! Jobs that were offered to this worker: a message of the queue comes for each of them too, while its attempt runs or after it.
//!
//! The message that comes meanwhile shares the attempt's fate: it is acked where the attempt ends the job, and goes back to the
//! queue in all other cases. The one that comes later is acked without a question, but only if the job is over: what is over
//! stays so, while one that goes on (a retry, a lapsed lease) may be told of by the next message.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::id::JobId;
use protocol::job::JobSpec;
use protocol::ports::{Delivery, Receipt};

/// Jobs that are over and whose message has not come. For more of them, the store is asked.
const OVER: usize = 1_024;

/// The offered jobs of a worker.
#[derive(Debug, Default)]
pub(crate) struct Offered(Arc<Mutex<Jobs>>);

#[derive(Debug, Default)]
struct Jobs {
    taken: HashMap<JobId, Taken>,
    over: VecDeque<JobId>,
}

/// A job whose attempt is under way.
#[derive(Debug, Default)]
struct Taken {
    /// What the queue brought meanwhile.
    message: Option<Delivery>,
    over: bool,
}

impl Offered {
    /// A delivery of this job; `None` if it was offered before and is under way.
    pub(crate) fn take(&self, job: JobSpec) -> Option<Delivery> {
        let mut jobs = lock(&self.0);
        if jobs.taken.contains_key(&job.id) {
            return None;
        }
        jobs.taken.insert(job.id, Taken::default());
        let receipt = Seat { job: job.id, jobs: self.0.clone() };
        Some(Delivery::offered(job, Box::new(receipt)))
    }

    /// What is still to be done about a delivery of the queue.
    pub(crate) fn left(&self, delivery: Delivery) -> Option<Delivery> {
        let mut jobs = lock(&self.0);
        if let Some(taken) = jobs.taken.get_mut(&delivery.job.id) {
            // One more than one goes its own way.
            return match taken.message {
                None => {
                    taken.message = Some(delivery);
                    None
                }
                Some(_) => Some(delivery),
            };
        }
        let Some(place) = jobs.over.iter().position(|job| *job == delivery.job.id) else {
            return Some(delivery);
        };
        jobs.over.remove(place);
        drop(jobs);
        delivery.ack();
        None
    }

    /// The store knows that the job is over.
    pub(crate) fn over(&self, job: JobId) {
        if let Some(taken) = lock(&self.0).taken.get_mut(&job) {
            taken.over = true;
        }
    }
}

/// The receipt of a delivery that is an offer.
#[derive(Debug)]
struct Seat {
    job: JobId,
    jobs: Arc<Mutex<Jobs>>,
}

impl Seat {
    fn leave(&self) -> Taken {
        lock(&self.jobs).taken.remove(&self.job).unwrap_or_default()
    }
}

impl Receipt for Seat {
    fn ack(self: Box<Self>) {
        let Taken { message, over } = self.leave();
        match message {
            // Otherwise it goes back: it may be of a later time, when the job waits for its next attempt.
            Some(message) if over => message.ack(),
            None if over => {
                let mut jobs = lock(&self.jobs);
                jobs.over.truncate(OVER - 1);
                jobs.over.push_front(self.job);
            }
            _ => {}
        }
    }

    fn release(self: Box<Self>) {
        self.leave();
    }

    fn dead_letter(self: Box<Self>, reason: &str) {
        if let Some(message) = self.leave().message {
            message.dead_letter(reason);
        }
    }
}

fn lock(jobs: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}
