//! A server reached through a door that the test can shut, a prefix of its own, and a client of the test's
//! own to look at the server from outside.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backend_rabbitmq::{Options, Queues, RabbitMq, connect};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use protocol::id::{ActionName, ContentHash, JobId, Lane, TenantId};
use protocol::job::{JobSpec, Priority};
use protocol::json::Json;
use protocol::retry::RetryPolicy;
use protocol::secret::Secret;
use protocol::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long anything may take that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One test's share of the server.
pub(crate) struct Bench {
    pub(crate) prefix: String,
    pub(crate) door: Door,
    pub(crate) outside: Channel,
    url: String,
    connection: Connection,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let server = conformance::server("SORTIE_TEST_AMQP_URL");
        let connection = Connection::connect(&server, ConnectionProperties::default())
            .await
            .expect("the server in SORTIE_TEST_AMQP_URL answers");
        let outside = connection.create_channel().await.unwrap();
        outside.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let mut uri: AMQPUri = server.parse().unwrap();
        let door = Door::to(uri.authority.host.clone(), uri.authority.port).await;
        uri.authority.host = "127.0.0.1".into();
        uri.authority.port = door.port;
        Self { prefix: conformance::unique(), door, outside, url: uri.to_string(), connection }
    }

    /// A client that has reached the server through the door.
    pub(crate) async fn client(&self) -> RabbitMq {
        let client = self.client_of(Queues::Quorum);
        until("the server is reached", async || client.queue().ping().await.ok()).await;
        client
    }

    /// A client of an installation with queues of this kind, which is still on its way to the server.
    pub(crate) fn client_of(&self, queues: Queues) -> RabbitMq {
        let url = Secret::new(self.url.clone());
        connect(Options { url, prefix: self.prefix.clone(), queues }).unwrap()
    }

    pub(crate) fn jobs(&self, priority: Priority) -> String {
        format!("{}.v1.jobs.default.{}", self.prefix, priority.as_str())
    }

    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.prefix)
    }

    /// A channel of its own, for questions whose answer may be an error.
    pub(crate) async fn look(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Sends a message as any other client would, and waits until the server has it.
    pub(crate) async fn send(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let sent = self.outside.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        sent.unwrap().await.unwrap();
    }

    /// Sends a message that client libraries can't read.
    pub(crate) async fn send_unreadable(&self, queue: &str) {
        let before = self.waiting(queue).await;
        let _sending = raw::send_unreadable(&conformance::server("SORTIE_TEST_AMQP_URL"), queue).await;
        until("it is there", async || (self.waiting(queue).await > before).then_some(())).await;
    }

    /// Messages that wait in a queue.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions::durable().passive();
        self.outside
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .unwrap()
            .message_count()
    }

    /// The next message of a queue, taken for good.
    pub(crate) async fn fetch(&self, queue: &str) -> lapin::message::Delivery {
        until("a message arrives", || async {
            let options = BasicGetOptions { no_ack: true };
            self.outside.basic_get(queue.into(), options).await.unwrap().map(|message| message.delivery)
        })
        .await
    }

    /// Removes everything of this test from the server.
    pub(crate) async fn clean(self, client: RabbitMq) {
        client.close().await;
        let mut queues: Vec<_> = Priority::ALL.map(|priority| self.jobs(priority)).into();
        queues.extend(["requests", "dead", "replies"].map(|name| self.name(name)));
        for queue in queues {
            self.outside.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in ["requests", "dead"].map(|name| self.name(name)) {
            let options = ExchangeDeleteOptions::default();
            self.outside.exchange_delete(exchange.as_str().into(), options).await.unwrap();
        }
    }
}

/// Whether the door lets through.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    Shut,
    Silent,
}

/// A way to the server through this process.
pub(crate) struct Door {
    pub(crate) port: u16,
    way: Arc<watch::Sender<Way>>,
    answers: Arc<watch::Sender<bool>>,
    farewells: Arc<AtomicUsize>,
}

impl Door {
    async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (way, answers) = (Arc::new(watch::Sender::new(Way::Open)), Arc::new(watch::Sender::new(true)));
        let own = listener.local_addr().unwrap().port();
        let door = Self { port: own, way, answers, farewells: Arc::default() };
        let (way, answers, farewells) = (door.way.clone(), door.answers.clone(), door.farewells.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (host, mut changed, answers) = (host.clone(), way.subscribe(), answers.subscribe());
                let farewells = farewells.clone();
                tokio::spawn(async move {
                    let way = *changed.borrow_and_update();
                    let through = async {
                        match way {
                            Way::Shut => {}
                            Way::Silent => std::future::pending().await,
                            Way::Open => pass(near, (host, port), answers, &farewells).await,
                        }
                    };
                    tokio::select! {
                        () = through => {}
                        _ = changed.changed() => {}
                    }
                });
            }
        });
        door
    }

    /// Cuts every connection and lets none through any more.
    pub(crate) fn shut(&self) {
        self.way.send_replace(Way::Shut);
    }

    /// Cuts every connection and accepts new ones, which get no answer.
    pub(crate) fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Cuts every connection and lets new ones through.
    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    /// How many connections the server has taken leave of.
    pub(crate) fn farewells(&self) -> usize {
        self.farewells.load(Ordering::Relaxed)
    }

    /// Whether what the server says gets through. What is held back comes later, in order.
    pub(crate) fn answers(&self, through: bool) {
        self.answers.send_replace(through);
    }
}

/// The frame connection.close-ok (AMQP 0.9.1: class 10, method 51).
const CLOSE_OK: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 0xCE];

async fn pass(
    near: TcpStream,
    server: (String, u16),
    mut answers: watch::Receiver<bool>,
    farewells: &AtomicUsize,
) {
    let far = TcpStream::connect(server).await.unwrap();
    let ((mut asked, mut answer), (mut said, mut question)) = (near.into_split(), far.into_split());
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = said.read(&mut buffer).await {
            answers.wait_for(|through| *through).await.unwrap();
            if buffer[..count].ends_with(&CLOSE_OK) {
                farewells.fetch_add(1, Ordering::Relaxed);
            }
            if answer.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    // The end of one direction is the end of both.
    tokio::select! {
        _ = tokio::io::copy(&mut asked, &mut question) => {}
        () = answering => {}
    }
}

pub(crate) fn job() -> JobSpec {
    let now = Timestamp::now();
    JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new("weather.get").unwrap(),
        version: Some(1),
        content_hash: ContentHash::new("0".repeat(64)).unwrap(),
        input: Json::parse(r#"{"city":"Oslo"}"#.into()).unwrap(),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: now,
        run_at: None,
        deadline: now.plus(Duration::from_secs(60)),
        timeout_ms: 5_000,
        retry: RetryPolicy::default(),
        labels: std::collections::BTreeMap::new(),
        traceparent: None,
        reply: None,
        key: None,
    }
}

/// Looks again and again until there is what we look for.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, looking).await
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
