//! The queue: carries jobs from dispatchers to workers, and nothing else.
//!
//! It wakes workers and spreads load. It is *not* the authority on what runs: the store is. So a message
//! may come twice, or to a worker that then finds the job taken or over (`Store::claim` says so).

use std::time::Duration;

use async_trait::async_trait;

use super::PortError;
use crate::id::Lane;
use crate::job::JobSpec;

/// Where jobs wait. Implementations reconnect by themselves for ever; while the server is away, `publish`
/// and `depth` fail with a retryable error within a few seconds, and consumers just wait.
#[async_trait]
pub trait Queue: Send + Sync {
    /// What this backend can tell.
    fn capabilities(&self) -> Capabilities;

    /// Puts the job at the end of its lane and priority. Returns once the job would survive a crash of the
    /// queue. Many may run at once; they are never confirmed one by one. After an error the job may or may
    /// not be there. A job that is published again is delivered again, whatever becomes of deliveries of it
    /// that are out: an ack settles its own delivery only.
    async fn publish(&self, job: &JobSpec) -> Result<(), PortError>;

    /// The same for a job that may share its message with others, at most so many together: jobs that take so little time
    /// that it does them no harm to go to one consumer. They are delivered and settled one by one, but all of them may be
    /// delivered again if one is released or lost before the others are acked. A ceiling may let out a few more of
    /// them. A backend that gains nothing by it publishes the job alone.
    async fn publish_together(&self, job: &JobSpec, number: usize) -> Result<(), PortError> {
        let _ = number;
        self.publish(job).await
    }

    /// Starts to take jobs from `lanes`. At most `ceiling` deliveries of each lane and priority are out at
    /// the same time. Messages that are no jobs are put aside (dead letters) and never delivered.
    /// Fails only where trying again is pointless.
    async fn consume(&self, lanes: &[Lane], ceiling: u16) -> Result<Box<dyn Consumer>, PortError>;

    /// What waits in a lane; nothing in one that was never used.
    async fn depth(&self, lane: &Lane) -> Result<Depth, PortError>;

    /// Whether publishing and consuming would work now: an answer within two seconds.
    async fn ping(&self) -> Result<(), PortError>;
}

/// One worker's share of the queue. Dropping it gives back everything that it has not handed out;
/// deliveries that are out can still be acked.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; waits for ever while there is none or while the server is away. Safe to cancel.
    async fn next(&mut self) -> Delivery;

    /// Changes the ceiling for what is delivered from now on. What is out stays out; where the ceiling was lowered, what
    /// was not yet handed out may still be.
    fn set_ceiling(&mut self, ceiling: u16);
}

/// A job handed to one worker for now. Dropping it without a word equals [`Delivery::release`].
#[derive(Debug)]
pub struct Delivery {
    /// The job.
    pub job: JobSpec,
    /// True if the queue has handed it out before.
    pub redelivered: bool,
    /// True if it was offered ([`super::Store::offers`]) and doesn't come from the queue.
    pub offered: bool,
    receipt: Option<Box<dyn Receipt>>,
}

impl Delivery {
    /// Made by backends.
    pub fn new(job: JobSpec, redelivered: bool, receipt: Box<dyn Receipt>) -> Self {
        Self { job, redelivered, offered: false, receipt: Some(receipt) }
    }

    /// Made of an offer.
    pub fn offered(job: JobSpec, receipt: Box<dyn Receipt>) -> Self {
        Self { job, redelivered: false, offered: true, receipt: Some(receipt) }
    }

    /// "Done with it": the queue forgets the job. Where the session that delivered it is gone, this does
    /// nothing, and the queue delivers the job again.
    pub fn ack(mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.ack();
        }
    }

    /// "Someone else, please": the queue delivers the job again at once, however often this happens.
    pub fn release(self) {}

    /// "Nobody can do this": the queue puts the job aside with the reason.
    pub fn dead_letter(mut self, reason: &str) {
        if let Some(receipt) = self.receipt.take() {
            receipt.dead_letter(reason);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.release();
        }
    }
}

/// A backend's half of a delivery. None of these wait: the backend sends them in the background, in order.
pub trait Receipt: Send + Sync + std::fmt::Debug {
    /// See [`Delivery::ack`].
    fn ack(self: Box<Self>);
    /// See [`Delivery::release`].
    fn release(self: Box<Self>);
    /// See [`Delivery::dead_letter`].
    fn dead_letter(self: Box<Self>, reason: &str);
}

/// What waits in a lane, all priorities together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Jobs that no worker holds. An estimate where jobs share messages.
    pub ready: u64,
    /// How long the oldest of them has waited, where the backend can tell.
    pub oldest: Option<Duration>,
}

/// What a queue backend can tell, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `Depth::oldest` is known.
    pub oldest_age: bool,
    /// Jobs survive the end of this process because another process carries them.
    pub shared: bool,
}
