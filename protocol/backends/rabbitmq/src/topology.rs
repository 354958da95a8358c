//! What is declared on the server: names, arguments, and why each is as it is.
//!
//! A queue's arguments can never change once it exists, and a declaration with others is refused. So there
//! are few, every one works on 3.10 and 4.x, and the version in the names of job queues is there for the
//! day when one must change. Limits of length or size belong in a policy, which can change at any time.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use protocol::id::Lane;
use protocol::job::Priority;

use crate::options::Queues;

/// How many dead letters are kept; the oldest make room.
const DEAD_MESSAGES: i64 = 10_000;
/// How long dead letters are kept.
const DEAD_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// How often a message may come back to the queue. Crashes are counted by the store, by job; this must never
/// come before it. 4.x has 20 by default, and counts every release and every lost connection.
const DELIVERIES: i64 = 1_000_000_000;

/// The names of everything that this installation has on the server.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    prefix: Arc<str>,
    queues: Queues,
}

impl Topology {
    /// The prefix has been checked: with a lane and a priority it still makes a valid name.
    pub(crate) fn new(prefix: &str, queues: Queues) -> Self {
        Self { prefix: prefix.into(), queues }
    }

    /// The queue of one lane and priority.
    pub(crate) fn jobs(&self, lane: &Lane, priority: Priority) -> ShortString {
        format!("{}.v1.jobs.{lane}.{}", self.prefix, priority.as_str()).into()
    }

    /// The queues of a lane, the most urgent first.
    pub(crate) fn lane(&self, lane: &Lane) -> Vec<ShortString> {
        Priority::ALL.into_iter().map(|priority| self.jobs(lane, priority)).collect()
    }

    /// The exchange of requests, and the queue behind it.
    pub(crate) fn requests(&self) -> ShortString {
        format!("{}.requests", self.prefix).into()
    }

    /// The exchange of dead letters, and the queue behind it.
    pub(crate) fn dead(&self) -> ShortString {
        format!("{}.dead", self.prefix).into()
    }

    /// True for the names of our own queues: nobody gets answers sent there.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        name.strip_prefix(&*self.prefix)
            .is_some_and(|rest| rest.starts_with(".v1.jobs.") || matches!(rest, ".requests" | ".dead"))
    }

    /// Declares one of our queues with all that it needs, and says how many messages wait in it.
    pub(crate) async fn declare(&self, channel: &Channel, queue: &ShortString) -> lapin::Result<u64> {
        if *queue == self.dead() {
            return self.declare_behind_exchange(channel, self.dead(), self.dead_arguments()).await;
        }
        let arguments = self.arguments();
        if *queue == self.requests() {
            return self.declare_behind_exchange(channel, self.requests(), arguments).await;
        }
        declare(channel, queue, arguments).await
    }

    /// An exchange and a queue of the same name, bound. Fanout: whatever the routing key is, it gets there.
    async fn declare_behind_exchange(
        &self,
        channel: &Channel,
        name: ShortString,
        arguments: FieldTable,
    ) -> lapin::Result<u64> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.clone(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
        let waiting = declare(channel, &name, arguments).await?;
        channel
            .queue_bind(name.clone(), name, "".into(), QueueBindOptions::default(), FieldTable::default())
            .await?;
        Ok(waiting)
    }

    /// The arguments of queues whose messages we answer for.
    fn arguments(&self) -> FieldTable {
        let mut arguments = self.kind();
        if self.queues == Queues::Quorum {
            // The other kind has no such limit, and refuses the word.
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERIES));
        }
        // Messages that the server gives up (past their expiration) can still be looked at for a while.
        arguments.insert("x-dead-letter-exchange".into(), text(self.dead().as_str()));
        arguments
    }

    fn dead_arguments(&self) -> FieldTable {
        let mut arguments = self.kind();
        // Nobody has to consume dead letters, so they must bound themselves. At the limit the oldest go.
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(DEAD_MESSAGES));
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(DEAD_MILLIS));
        arguments
    }

    /// The kind of queue, which the server's own default must not decide.
    fn kind(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let kind = match self.queues {
            // A confirm means that a majority has it on disk. The only replicated kind in 4.x.
            Queues::Quorum => "quorum",
            Queues::Classic => "classic",
        };
        arguments.insert("x-queue-type".into(), text(kind));
        arguments
    }
}

async fn declare(channel: &Channel, queue: &ShortString, arguments: FieldTable) -> lapin::Result<u64> {
    let declared = channel.queue_declare(queue.clone(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(u64::from(declared.message_count()))
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_prefix_version_lane_and_priority() {
        let topology = Topology::new("sortie", Queues::Quorum);
        assert_eq!(topology.jobs(&Lane::standard(), Priority::High).as_str(), "sortie.v1.jobs.default.high");
        let names = topology.lane(&Lane::standard());
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| topology.is_own(name.as_str())));
        assert!(topology.is_own("sortie.dead") && topology.is_own("sortie.requests"));
        assert!(!topology.is_own("sortie.replies") && !topology.is_own("amq.rabbitmq.reply-to.g1h2"));
    }

    #[test]
    fn the_longest_names_fit_into_a_short_string() {
        let lane = Lane::new("l".repeat(32)).unwrap();
        Topology::new(&"p".repeat(64), Queues::Quorum).jobs(&lane, Priority::Normal);
    }
}
