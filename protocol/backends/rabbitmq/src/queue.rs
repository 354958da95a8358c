//! The port `Queue`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::BasicProperties;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::{Capabilities, Consumer, Delivery, Depth, Kind, PortError, Queue};
use protocol::time::Timestamp;
use protocol::wire;

use crate::Core;
use crate::consume::Subscription;
use crate::delivery::{JobReceipt, Letter};
use crate::publish::{Message, Work};

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
        const OPERATION: &str = "queue.publish";
        let body =
            wire::encode(job).map_err(|error| PortError::new(Kind::Unexpected, OPERATION).because(error))?;
        let properties = BasicProperties::default()
            // Persistent.
            .with_delivery_mode(2)
            .with_content_type(wire::MEDIA_TYPE.into())
            .with_expiration(expiration(job.deadline, Timestamp::now()).into());
        let queue = self.core.topology.jobs(&job.lane, job.priority);
        let id = job.id.to_string().into();
        let message = Message { queue, ours: true, id, body, properties };
        let publish = |message| self.core.publisher.ask(OPERATION, Work::Publish(Box::new(message)), CONFIRM);
        match publish(message.clone()).await {
            Err(error) if error.kind == Kind::Full => {
                tokio::time::sleep(REFUSED_PAUSE).await;
                publish(message).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    async fn consume(&self, lanes: &[Lane], ceiling: u16) -> Result<Box<dyn Consumer>, PortError> {
        let queues = |lane| self.core.topology.lane(lane).into_iter().enumerate();
        let queues = lanes.iter().flat_map(queues).map(|(urgency, queue)| (queue, urgency)).collect();
        let subscription = self.core.subscriptions.begin(queues, ceiling);
        Ok(Box::new(JobConsumer { subscription, core: self.core.clone() }))
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

/// A message's lifetime in milliseconds, as text.
fn expiration(deadline: Timestamp, now: Timestamp) -> String {
    (deadline.since(now) + EXPIRATION_MARGIN).min(EXPIRATION_CEILING).as_millis().to_string()
}

struct JobConsumer {
    subscription: Subscription,
    // Keeps the backend working for as long as someone consumes.
    core: Arc<Core>,
}

#[async_trait]
impl Consumer for JobConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            let message = self.subscription.next().await;
            let redelivered = message.redelivered;
            let job = wire::decode(&message.body);
            let letter = Letter::from(message);
            let dead_letters = self.core.dead_letters.clone();
            match job {
                Ok(job) => {
                    return Delivery::new(job, redelivered, Box::new(JobReceipt { letter, dead_letters }));
                }
                Err(malformed) => dead_letters.bury(letter, &malformed.to_string()),
            }
        }
    }

    fn set_ceiling(&mut self, ceiling: u16) {
        self.subscription.set_prefetch(ceiling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_outlives_its_job_but_not_by_much() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(expiration(now.plus(Duration::from_secs(5)), now), "65000");
        assert_eq!(expiration(Timestamp::from_millis(0), now), "60000");
        let far = now.plus(Duration::from_secs(400 * 24 * 60 * 60));
        assert!(expiration(far, now).parse::<u64>().unwrap() < u64::from(u32::MAX));
    }
}
