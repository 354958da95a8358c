//! Jobs that were offered to this worker: a message of the queue comes for each of them too, mostly while its attempt runs or
//! soon after it.
//!
//! The first message of such a job needs no claim. If it comes while the attempt is under way it shares its fate: acked where the
//! job is over, given back in all other cases. If it comes later it is acked, but only where the job is over. What comes late may be
//! another message, of a job that was queued again after its lease lapsed or that the store lost: the store decides.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::id::JobId;
use protocol::job::JobSpec;
use protocol::ports::{Delivery, Receipt};
use tokio::time::Instant;

/// The longest that a message counts as the first one, from the offer on.
const FIRST: Duration = Duration::from_secs(1);

/// The offered jobs of a worker.
#[derive(Debug)]
pub(crate) struct Offered(Arc<Mutex<Jobs>>);

#[derive(Debug)]
struct Jobs {
    /// How long after its offer the message of a job counts as the first one.
    first: Duration,
    taken: HashMap<JobId, Taken>,
    /// Jobs that are over and whose message has not come, and when they were offered.
    over: VecDeque<(JobId, Instant)>,
}

/// A job whose attempt is under way.
#[derive(Debug)]
struct Taken {
    since: Instant,
    /// What the queue brought meanwhile.
    message: Option<Delivery>,
    over: bool,
}

impl Offered {
    /// For a worker with this lease: a job is not queued again while one holds.
    pub(crate) fn new(lease: Duration) -> Self {
        let (first, taken, over) = (FIRST.min(lease / 2), HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Jobs { first, taken, over })))
    }

    /// A delivery of this job; `None` if it was offered before and is under way.
    pub(crate) fn take(&self, job: JobSpec) -> Option<Delivery> {
        let mut jobs = lock(&self.0);
        if jobs.taken.contains_key(&job.id) {
            return None;
        }
        jobs.taken.insert(job.id, Taken { since: Instant::now(), message: None, over: false });
        let receipt = Seat { job: job.id, jobs: self.0.clone() };
        Some(Delivery::offered(job, Box::new(receipt)))
    }

    /// What is still to be done about a delivery of the queue.
    pub(crate) fn left(&self, delivery: Delivery) -> Option<Delivery> {
        let mut jobs = lock(&self.0);
        jobs.forget();
        if delivery.redelivered {
            return Some(delivery);
        }
        let first = jobs.first;
        if let Some(taken) = jobs.taken.get_mut(&delivery.job.id) {
            if taken.message.is_some() || taken.since.elapsed() >= first {
                return Some(delivery);
            }
            taken.message = Some(delivery);
            return None;
        }
        let place = jobs.over.iter().position(|(job, _)| *job == delivery.job.id);
        let Some(place) = place else { return Some(delivery) };
        jobs.over.remove(place);
        drop(jobs);
        tracing::debug!(job = %delivery.job.id, "the message of a job that was offered here and is over");
        delivery.ack();
        None
    }

    /// The store has said that the job is over.
    pub(crate) fn over(&self, job: JobId) {
        if let Some(taken) = lock(&self.0).taken.get_mut(&job) {
            taken.over = true;
        }
    }
}

impl Jobs {
    /// Forgets jobs whose first message comes no more.
    fn forget(&mut self) {
        while self.over.front().is_some_and(|(_, since)| since.elapsed() >= self.first) {
            self.over.pop_front();
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
    /// Gives back the message that has come, unless the job is over and it can be acked.
    fn leave(&self) {
        let mut jobs = lock(&self.jobs);
        jobs.forget();
        let Some(Taken { since, message, over }) = jobs.taken.remove(&self.job) else { return };
        if over && message.is_none() {
            jobs.over.push_back((self.job, since));
        }
        drop(jobs);
        if let Some(message) = message.filter(|_| over) {
            message.ack();
        }
    }
}

impl Receipt for Seat {
    fn ack(self: Box<Self>) {
        self.leave();
    }

    fn release(self: Box<Self>) {
        self.leave();
    }

    /// What is wrong may be the offer: the message is asked after by itself.
    fn dead_letter(self: Box<Self>, _reason: &str) {
        self.leave();
    }
}

fn lock(jobs: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(600);

    /// What became of a message.
    #[derive(Debug, Clone, Default)]
    struct Fate(Arc<Mutex<Option<&'static str>>>);

    impl Receipt for Fate {
        fn ack(self: Box<Self>) {
            *self.0.lock().unwrap() = Some("acked");
        }
        fn release(self: Box<Self>) {
            *self.0.lock().unwrap() = Some("given back");
        }
        fn dead_letter(self: Box<Self>, _reason: &str) {
            *self.0.lock().unwrap() = Some("put aside");
        }
    }

    impl Fate {
        fn told(&self) -> Option<&'static str> {
            *self.0.lock().unwrap()
        }
    }

    fn job() -> JobSpec {
        let envelope = include_bytes!("../../protocol/fixtures/envelope-v1.json").trim_ascii();
        JobSpec { id: JobId::generate(), ..protocol::wire::decode(envelope).unwrap() }
    }

    fn message(job: &JobSpec, redelivered: bool) -> (Delivery, Fate) {
        let fate = Fate::default();
        (Delivery::new(job.clone(), redelivered, Box::new(fate.clone())), fate)
    }

    /// Whether the worker has still to deal with a message, and what became of it.
    fn brought(offered: &Offered, job: &JobSpec, redelivered: bool) -> (bool, Option<&'static str>) {
        let (delivery, fate) = message(job, redelivered);
        let left = offered.left(delivery);
        let told = if left.is_some() { None } else { fate.told() };
        (left.is_some(), told)
    }

    #[tokio::test(start_paused = true)]
    async fn the_message_shares_the_fate_of_the_attempt() {
        for (over, fate) in [(true, "acked"), (false, "given back")] {
            for end in [Delivery::ack, Delivery::release, |delivery| Delivery::dead_letter(delivery, "x")] {
                let (offered, job) = (Offered::new(LEASE), job());
                let delivery = offered.take(job.clone()).unwrap();
                assert!(offered.take(job.clone()).is_none(), "it is under way");
                let (first, told) = message(&job, false);
                assert!(offered.left(first).is_none());
                assert_eq!(brought(&offered, &job, false), (true, None), "one more goes its own way");
                assert_eq!(told.told(), None);
                if over {
                    offered.over(job.id);
                }
                end(delivery);
                assert_eq!(told.told(), Some(fate));
                assert_eq!(brought(&offered, &job, false), (true, None), "its message has come");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_message_that_comes_later_is_acked_once_if_the_job_is_over() {
        let (offered, over, queued) = (Offered::new(LEASE), job(), job());
        let delivery = offered.take(over.clone()).unwrap();
        offered.over(over.id);
        delivery.ack();
        offered.take(queued.clone()).unwrap().ack();
        assert_eq!(brought(&offered, &queued, false), (true, None));
        assert_eq!(brought(&offered, &over, true), (true, None), "it may have been another's");
        assert_eq!(brought(&offered, &over, false), (false, Some("acked")));
        assert_eq!(brought(&offered, &over, false), (true, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_when_a_lease_may_have_lapsed_goes_its_own_way() {
        let (offered, running, over) = (Offered::new(LEASE), job(), job());
        let _running = offered.take(running.clone()).unwrap();
        let delivery = offered.take(over.clone()).unwrap();
        offered.over(over.id);
        delivery.ack();
        tokio::time::advance(LEASE / 2).await;
        assert_eq!(brought(&offered, &running, false), (true, None));
        assert_eq!(brought(&offered, &over, false), (true, None));
        assert!(lock(&offered.0).over.is_empty());
    }
}
