//! The consuming connection: everyone who takes messages has a subscription, and one session carries them
//! all. A subscription lives until it is dropped; sessions come and go beneath it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{ready, try_join_all};
use futures_util::stream::{BoxStream, SelectAll, StreamExt, once};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, message::Delivery};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Link, Server, Session, State, answer, supervise};
use crate::delivery::{Buffer, Held, Incoming, Settle};
use crate::error::Trouble;
use crate::topology::Topology;
use crate::unreadable;

/// The most that a quorum queue hands to one consumer.
const PREFETCH_CEILING: u16 = 2_000;
/// Acks that go out together.
const SETTLE_BATCH: usize = 256;
/// How often the session looks whether it is alive, and for messages that nobody takes.
const CHECK: Duration = Duration::from_millis(500);
/// How long a session goes carefully. The unreadable message may have gone to someone else.
const CAREFUL: Duration = Duration::from_secs(10);
/// A first declaration of a queue takes the server a while; a subscription may have many.
const SUBSCRIBE: Duration = Duration::from_secs(30);

/// The others' end of the consuming connection, which is opened for the first subscription.
pub(crate) struct Subscriptions {
    changes: mpsc::UnboundedSender<Change>,
    state: watch::Receiver<State<()>>,
    starter: Mutex<Option<Starter>>,
    next: AtomicU64,
}

struct Starter {
    server: Arc<Server>,
    consuming: Consuming,
    state: watch::Sender<State<()>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Keeps a subscription. Dropping it gives back what waits in the buffer and ends the subscription; what
/// was taken can still be acked.
pub(crate) struct Subscription {
    id: u64,
    buffer: Arc<Buffer>,
    changes: mpsc::UnboundedSender<Change>,
}

/// What is consumed for one subscriber.
struct Wanted {
    /// The queues, and how urgent their messages are (0 is the most urgent).
    queues: Vec<(ShortString, usize)>,
    /// How many messages of each queue may be out.
    prefetch: u16,
    buffer: Arc<Buffer>,
}

enum Change {
    Begin(u64, Wanted),
    End(u64),
}

impl Subscriptions {
    pub(crate) fn new(
        server: Arc<Server>,
        topology: Topology,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (changes, news) = mpsc::unbounded_channel();
        let (sender, state) = watch::channel(State::Idle);
        let consuming = Consuming { topology, news, wanted: HashMap::new(), careful: false };
        let starter = Mutex::new(Some(Starter { server, consuming, state: sender, tasks, stop }));
        Self { changes, state, starter, next: AtomicU64::new(0) }
    }

    /// Consumes `queues` (each with its urgency, 0 first) into a buffer, at most `prefetch` messages of
    /// each at a time, from now on and again after every loss of the connection.
    pub(crate) fn begin(&self, queues: Vec<(ShortString, usize)>, prefetch: u16) -> Subscription {
        let levels = queues.iter().map(|(_, level)| level + 1).max().unwrap_or(1);
        let buffer = Arc::new(Buffer::new(levels));
        let prefetch = prefetch.clamp(1, PREFETCH_CEILING);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let wanted = Wanted { queues, prefetch, buffer: buffer.clone() };
        // Nobody listens once the backend is closed: then nothing comes any more.
        let _ = self.changes.send(Change::Begin(id, wanted));
        if let Some(start) = self.starter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            start.state.send_replace(State::Away(None));
            start.tasks.spawn(supervise(start.server, start.consuming, start.state, start.stop));
        }
        Subscription { id, buffer, changes: self.changes.clone() }
    }

    /// Fails if something should be consumed and can't be.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        match &*self.state.borrow() {
            State::Idle | State::Ready(()) => Ok(()),
            State::Away(trouble) => Err(trouble.clone().unwrap_or(Trouble::Away)),
        }
    }
}

impl Subscription {
    /// The next message, the most urgent first; waits for ever. Safe to cancel.
    pub(crate) async fn next(&self) -> Incoming {
        self.buffer.pop().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.buffer.close();
        let _ = self.changes.send(Change::End(self.id));
    }
}

struct Consuming {
    topology: Topology,
    news: mpsc::UnboundedReceiver<Change>,
    wanted: HashMap<u64, Wanted>,
    /// One message of each queue at a time: an unreadable one is about, and is found only when it is alone.
    careful: bool,
}

/// A message of a subscription's queue; `None` when the server has ended that consumer.
struct Arrived {
    subscription: u64,
    level: usize,
    message: Option<lapin::Result<Delivery>>,
}

impl Session for Consuming {
    type Handle = ();
    const NAME: &'static str = "sortie consume";

    async fn run(
        &mut self,
        link: &Link,
        state: &watch::Sender<State<()>>,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        self.catch_up();
        let mut floor = Floor::open(link, &self.topology, self.careful).await?;
        let careful_until = Instant::now() + CAREFUL;
        for (id, wanted) in &self.wanted {
            floor.begin(*id, wanted).await?;
        }
        state.send_replace(State::Ready(()));
        let mut batch = Vec::new();
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(arrived) = floor.arrivals.next(), if !floor.arrivals.is_empty() => {
                    self.hand_over(arrived, &floor.settle)?;
                }
                _ = floor.settled.recv_many(&mut batch, SETTLE_BATCH) => floor.settle(&mut batch).await?,
                Some(change) = self.news.recv() => match change {
                    Change::Begin(id, wanted) => {
                        floor.begin(id, &wanted).await?;
                        self.wanted.insert(id, wanted);
                    }
                    Change::End(id) => {
                        self.wanted.remove(&id);
                        floor.end(id).await?;
                    }
                },
                _ = check.tick() => {
                    link.check(&floor.channel)?;
                    if self.careful && Instant::now() >= careful_until {
                        self.careful = false;
                        return Err(Trouble::CarefulEnough);
                    }
                    self.wanted.values().for_each(|wanted| wanted.buffer.give_back());
                }
                () = stop.cancelled() => {
                    while let Ok(settle) = floor.settled.try_recv() {
                        batch.push(settle);
                    }
                    return floor.settle(&mut batch).await;
                }
            }
        }
    }

    async fn repair(&mut self, server: &Server, trouble: &Trouble) {
        if !trouble.is_unreadable() {
            return;
        }
        if std::mem::replace(&mut self.careful, true) {
            for (queue, _) in self.wanted.values().flat_map(|wanted| &wanted.queues) {
                if let Err(error) = unreadable::put_aside(server, queue).await {
                    // The next session comes by here again.
                    tracing::debug!(queue = queue.as_str(), %error, "no look at a queue");
                }
            }
        }
    }
}

impl Consuming {
    /// Takes note of what changed while there was no session.
    fn catch_up(&mut self) {
        while let Ok(change) = self.news.try_recv() {
            match change {
                Change::Begin(id, wanted) => drop(self.wanted.insert(id, wanted)),
                Change::End(id) => drop(self.wanted.remove(&id)),
            }
        }
    }

    fn hand_over(&self, arrived: Arrived, settle: &mpsc::UnboundedSender<Settle>) -> Result<(), Trouble> {
        let wanted = self.wanted.get(&arrived.subscription);
        let Some(message) = arrived.message else {
            // The end of a consumer that we ended ourselves is no news.
            return if wanted.is_some() { Err(Trouble::ConsumerCancelled) } else { Ok(()) };
        };
        let Delivery { delivery_tag, properties, data, redelivered, .. } = message?;
        let held = Held::new(delivery_tag, settle.clone());
        // Dropped, and so released, if its subscriber is gone.
        if let Some(wanted) = wanted {
            wanted.buffer.push(arrived.level, Incoming { body: data, properties, redelivered, held });
        }
        Ok(())
    }
}

/// What one session works with.
struct Floor<'a> {
    topology: &'a Topology,
    careful: bool,
    channel: Channel,
    arrivals: SelectAll<BoxStream<'static, Arrived>>,
    tags: HashMap<u64, Vec<ShortString>>,
    settle: mpsc::UnboundedSender<Settle>,
    settled: mpsc::UnboundedReceiver<Settle>,
}

impl<'a> Floor<'a> {
    async fn open(link: &Link, topology: &'a Topology, careful: bool) -> Result<Self, Trouble> {
        let channel = link.channel().await?;
        let (settle, settled) = mpsc::unbounded_channel();
        answer("queue.declare", topology.declare(&channel, &topology.dead())).await?;
        let (arrivals, tags) = (SelectAll::new(), HashMap::new());
        Ok(Self { topology, careful, channel, arrivals, tags, settle, settled })
    }

    async fn begin(&mut self, id: u64, wanted: &Wanted) -> Result<(), Trouble> {
        tokio::time::timeout(SUBSCRIBE, self.consume(id, wanted))
            .await
            .unwrap_or(Err(Trouble::NoAnswer("basic.consume")))
    }

    async fn consume(&mut self, id: u64, wanted: &Wanted) -> Result<(), Trouble> {
        // Not global: quorum queues know only a prefetch of each consumer, here that of those to come.
        let prefetch = if self.careful { 1 } else { wanted.prefetch };
        self.channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        for (queue, level) in &wanted.queues {
            self.topology.declare(&self.channel, queue).await?;
            let (queue, tag, options) = (queue.clone(), "".into(), BasicConsumeOptions::default());
            let consumer = self.channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
            self.tags.entry(id).or_default().push(consumer.tag());
            let level = *level;
            let messages = consumer.map(Some).chain(once(ready(None)));
            self.arrivals
                .push(messages.map(move |message| Arrived { subscription: id, level, message }).boxed());
        }
        Ok(())
    }

    async fn end(&mut self, id: u64) -> Result<(), Trouble> {
        for tag in self.tags.remove(&id).unwrap_or_default() {
            answer("basic.cancel", self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        Ok(())
    }

    /// Tells the server about messages, in order.
    async fn settle(&mut self, batch: &mut Vec<Settle>) -> Result<(), Trouble> {
        let channel = &self.channel;
        let told = batch.drain(..).map(|settle| async move {
            match settle {
                Settle::Ack(tag) => channel.basic_ack(tag, BasicAckOptions::default()).await,
                Settle::Release(tag) => {
                    channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }).await
                }
            }
        });
        answer("basic.ack", try_join_all(told)).await.map(drop)
    }
}
