//! The port `Queue`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::{Capabilities, Consumer, Delivery, Depth, Kind, PortError, Queue};
use protocol::time::Timestamp;
use protocol::wire::{self, Sheet};

use crate::Core;
use crate::consume::Subscription;
use crate::delivery::{Incoming, JobReceipt, Letter};
use crate::publish::Work;
use crate::share::{Mean, Posting};

/// For the confirm of a job.
const CONFIRM: Duration = Duration::from_secs(5);
/// Before a refused message is sent once more. A quorum queue that another connection is just declaring refuses
/// what comes before it has started (seen with 3.10).
const REFUSED_PAUSE: Duration = Duration::from_millis(150);
/// For an answer to a question.
const ANSWER: Duration = Duration::from_secs(5);
/// The port promises an answer within two seconds.
const PING: Duration = Duration::from_millis(1_900);
/// How long a message outlives its job's deadline. The store ends the job; this only keeps the server from
/// carrying messages for ever that no worker takes, so it may well be late.
const EXPIRATION_MARGIN: Duration = Duration::from_secs(60);
/// How many messages a consumer looks back on to learn how many jobs they carry.
const SHARE_MESSAGES: u16 = 8;
/// The server refuses expirations of 2^32 milliseconds or more.
const EXPIRATION_CEILING: Duration = Duration::from_secs(45 * 24 * 60 * 60);

pub(crate) struct JobQueue {
    core: Arc<Core>,
}

impl JobQueue {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[async_trait]
impl Queue for JobQueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities { oldest_age: false, shared: true }
    }

    async fn publish(&self, job: &JobSpec) -> Result<(), PortError> {
        self.publish_together(job, 1).await
    }

    async fn publish_together(&self, job: &JobSpec, number: usize) -> Result<(), PortError> {
        const OPERATION: &str = "queue.publish";
        let sheet =
            Sheet::of(job).map_err(|error| PortError::new(Kind::Unexpected, OPERATION).because(error))?;
        let queue = self.core.topology.jobs(&job.lane, job.priority);
        let lifetime = lifetime(job.deadline, Timestamp::now());
        let posting = Posting { queue, id: job.id.to_string().into(), sheet, lifetime, together: number };
        let publish = |posting| self.core.publisher.ask(OPERATION, Work::Post(Box::new(posting)), CONFIRM);
        match publish(posting.clone()).await {
            Err(error) if error.kind == Kind::Full => {
                tokio::time::sleep(REFUSED_PAUSE).await;
                publish(posting).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    async fn consume(&self, lanes: &[Lane], ceiling: u16) -> Result<Box<dyn Consumer>, PortError> {
        let queues = |lane| self.core.topology.lane(lane).into_iter().enumerate();
        let queues = lanes.iter().flat_map(queues).map(|(urgency, queue)| (queue, urgency)).collect();
        let subscription = self.core.subscriptions.begin(queues, ceiling);
        let (opened, mean) = (VecDeque::new(), Mean::over(SHARE_MESSAGES));
        Ok(Box::new(JobConsumer { subscription, core: self.core.clone(), opened, ceiling, mean, step: 1 }))
    }

    async fn depth(&self, lane: &Lane) -> Result<Depth, PortError> {
        let work = Work::Count(self.core.topology.lane(lane));
        let ready = self.core.publisher.ask("queue.depth", work, ANSWER).await?;
        Ok(Depth { ready, oldest: None })
    }

    async fn ping(&self) -> Result<(), PortError> {
        const OPERATION: &str = "queue.ping";
        self.core.subscriptions.check().map_err(|trouble| trouble.port(OPERATION))?;
        let work = Work::Count(vec![self.core.topology.dead()]);
        self.core.publisher.ask(OPERATION, work, PING).await.map(drop)
    }
}

/// How long the message of a job is of use.
fn lifetime(deadline: Timestamp, now: Timestamp) -> Duration {
    (deadline.since(now) + EXPIRATION_MARGIN).min(EXPIRATION_CEILING)
}

struct JobConsumer {
    subscription: Subscription,
    // Keeps the backend working for as long as someone consumes.
    core: Arc<Core>,
    /// The jobs of the last message that are not handed out yet.
    opened: VecDeque<Delivery>,
    /// How many jobs may be out.
    ceiling: u16,
    /// How many jobs a message has, and what it is taken for.
    mean: Mean,
    step: u16,
}

#[async_trait]
impl Consumer for JobConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.opened.pop_front() {
                return delivery;
            }
            let message = self.subscription.next().await;
            self.open(message);
        }
    }

    fn set_ceiling(&mut self, ceiling: u16) {
        self.ceiling = ceiling;
        self.subscription.set_prefetch(ceiling / self.step);
    }
}

impl JobConsumer {
    fn open(&mut self, message: Incoming) {
        let redelivered = message.redelivered;
        let jobs = wire::decode_all(&message.body);
        let letter = Letter::from(message);
        let dead_letters = self.core.dead_letters.clone();
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(malformed) => return dead_letters.bury(letter, &malformed.to_string()),
        };
        self.count(jobs.len());
        let letters = letter.shared(jobs.len());
        self.opened.extend(jobs.into_iter().zip(letters).map(|(job, letter)| {
            let dead_letters = dead_letters.clone();
            Delivery::new(job, redelivered, Box::new(JobReceipt { letter, dead_letters }))
        }));
    }

    /// A message had so many jobs: the server may have fewer of them out.
    fn count(&mut self, jobs: usize) {
        self.mean.add(jobs);
        let step = self.mean.step(self.step);
        if step != self.step {
            self.step = step;
            self.set_ceiling(self.ceiling);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_outlives_its_job_but_not_by_much() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(lifetime(now.plus(Duration::from_secs(5)), now), Duration::from_secs(65));
        assert_eq!(lifetime(Timestamp::from_millis(0), now), Duration::from_secs(60));
        let far = now.plus(Duration::from_secs(400 * 24 * 60 * 60));
        assert!(lifetime(far, now).as_millis() < u128::from(u32::MAX));
    }
}
