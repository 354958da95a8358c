//! The RabbitMQ backend keeps every rule of the queue, with queues of both kinds.
//! Every rule has a prefix of its own on the server in SORTIE_TEST_AMQP_URL.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use async_trait::async_trait;
use backend_rabbitmq::{Options, Queues, RabbitMq, connect};
use conformance::{Place, Ports};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use protocol::job::Priority;
use protocol::ports::StoreOptions;
use protocol::secret::Secret;

/// A prefix of its own on the server, and the clients that use it.
struct Prefix {
    name: String,
    queues: Queues,
    clients: Vec<RabbitMq>,
}

impl Prefix {
    fn of(queues: Queues) -> Self {
        Self { name: conformance::unique(), queues, clients: Vec::new() }
    }
}

fn url() -> String {
    conformance::server("SORTIE_TEST_AMQP_URL")
}

#[async_trait]
impl Place for Prefix {
    async fn open(&mut self, _: StoreOptions) -> Ports {
        let (url, prefix, queues) = (Secret::new(url()), self.name.clone(), self.queues);
        let client = connect(Options { url, prefix, queues }).unwrap();
        let queue = client.queue();
        // The first call waits a second for the connection; a busy server may need longer, which is no rule's matter.
        conformance::wait::until("the server is reached", || async { queue.ping().await.ok() }).await;
        self.clients.push(client);
        Ports { queue: Some(queue), ..Ports::default() }
    }

    async fn close(&mut self) {
        for client in self.clients.drain(..) {
            client.close().await;
        }
    }

    async fn remove(&mut self) {
        self.close().await;
        let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let jobs = conformance::sample::LANES
            .into_iter()
            .flat_map(|lane| Priority::ALL.map(|priority| format!("v1.jobs.{lane}.{}", priority.as_str())));
        for queue in jobs.chain(["dead".into()]) {
            let queue = format!("{}.{queue}", self.name);
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        let dead = format!("{}.dead", self.name);
        channel.exchange_delete(dead.into(), ExchangeDeleteOptions::default()).await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
    }

    fn shared(&self) -> bool {
        true
    }
}

mod quorum {
    use super::*;
    conformance::queue_rules!(|| Prefix::of(Queues::Quorum));
}

mod classic {
    use super::*;
    conformance::queue_rules!(|| Prefix::of(Queues::Classic));
}
