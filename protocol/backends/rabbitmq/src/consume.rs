//! The consuming connection: everyone who takes messages has a subscription, and one session carries them
//! all. A subscription lives until it is dropped; sessions come and go beneath it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{ready, try_join_all};
use futures_util::stream::StreamExt;
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
use crate::gather::{self, Gathering};
use crate::ledger::Ledger;
use crate::topology::Topology;
use crate::unreadable;

/// The most that a quorum queue hands to one consumer.
const PREFETCH_CEILING: u16 = 2_000;
/// What became of messages, heard at a time.
const HEARD: usize = 256;
/// How often the session looks whether it is alive, and for messages that nobody takes.
const CHECK: Duration = Duration::from_millis(500);
/// How long a session goes carefully. The unreadable message may have gone to someone else.
const CAREFUL: Duration = Duration::from_secs(10);
/// For one queue. The first declaration of many queues at once takes the server a while.
const SUBSCRIBE: Duration = Duration::from_secs(15);

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
    /// How many messages of each queue may be out, at least.
    prefetch: u16,
    /// How many more for now. The server can't change the prefetch of a consumer, so these have consumers of their own.
    more: u16,
    buffer: Arc<Buffer>,
}

enum Change {
    Begin(u64, Wanted),
    Prefetch(u64, u16),
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
        let wanted = Wanted { queues, prefetch, more: 0, buffer: buffer.clone() };
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

    /// Changes how many messages of each queue may be out, to no less than it was in the beginning.
    pub(crate) fn set_prefetch(&self, prefetch: u16) {
        let _ = self.changes.send(Change::Prefetch(self.id, prefetch.min(PREFETCH_CEILING)));
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
    consumers: u64,
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
        let topology = self.topology.clone();
        let mut floor = Floor::open(link, &topology, self.careful).await?;
        for (id, wanted) in &self.wanted {
            floor.begin(*id, wanted).await?;
        }
        state.send_replace(State::Ready(()));
        let mut gathering = Gathering::new(Instant::now());
        let ended = self.serve(link, &mut floor, &mut gathering, stop).await;
        // Whoever ended it: what the server can still be told doesn't come again.
        if link.check(&floor.channel).is_err() {
            return ended;
        }
        let now = Instant::now();
        while let Ok(settle) = floor.settled.try_recv() {
            gathering.add(settle, now);
        }
        let settled = floor.settle(gathering.take(now)).await;
        link.finish(&floor.channel).await;
        ended.and(settled)
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
                Change::Prefetch(id, prefetch) => {
                    self.wanted.entry(id).and_modify(|wanted| wanted.set_prefetch(prefetch));
                }
                Change::End(id) => drop(self.wanted.remove(&id)),
            }
        }
    }

    /// Hands over what comes and tells the server what becomes of it, until `stop` or the first error.
    async fn serve(
        &mut self,
        link: &Link,
        floor: &mut Floor<'_>,
        gathering: &mut Gathering,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let mut heard = Vec::new();
        let careful_until = Instant::now() + CAREFUL;
        let mut check = tokio::time::interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let out = floor.ledger.out();
            let due = gathering.due(out, self.may_wait(out));
            // A timer would take a millisecond or two even for now.
            if due.is_some_and(|due| due <= Instant::now()) {
                floor.settle(gathering.take(Instant::now())).await?;
                continue;
            }
            tokio::select! {
                Some(arrived) = floor.arrivals.recv() => {
                    self.hand_over(arrived, floor)?;
                }
                _ = floor.settled.recv_many(&mut heard, HEARD) => {
                    let now = Instant::now();
                    heard.drain(..).for_each(|settle| gathering.add(settle, now));
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                Some(change) = self.news.recv() => tokio::select! {
                    changed = self.change(change, floor) => changed?,
                    // A server that is slow to begin or end a consumer must still hear what is gathered.
                    () = stop.cancelled() => return Ok(()),
                },
                _ = check.tick() => {
                    link.check(&floor.channel)?;
                    if self.careful && Instant::now() >= careful_until {
                        self.careful = false;
                        return Err(Trouble::CarefulEnough);
                    }
                    self.wanted.values().for_each(|wanted| wanted.buffer.give_back());
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Consumes what is wanted from now on.
    async fn change(&mut self, change: Change, floor: &mut Floor<'_>) -> Result<(), Trouble> {
        match change {
            Change::Begin(id, wanted) => {
                floor.begin(id, &wanted).await?;
                self.wanted.insert(id, wanted);
            }
            Change::Prefetch(id, prefetch) => {
                if let Some(wanted) = self.wanted.get_mut(&id) {
                    wanted.set_prefetch(prefetch);
                    floor.renew_more(id, wanted).await?;
                }
            }
            Change::End(id) => {
                self.wanted.remove(&id);
                floor.end(id).await?;
            }
        }
        Ok(())
    }

    /// How many messages may wait for their ack at leisure while so many are out: none where they come one at a time,
    /// or where nobody wants any more.
    fn may_wait(&self, out: usize) -> usize {
        let of = |wanted: &Wanted| gather::may_wait(wanted.prefetch, wanted.more, out);
        if self.careful { 0 } else { self.wanted.values().map(of).min().unwrap_or(0) }
    }

    fn hand_over(&self, arrived: Arrived, floor: &mut Floor<'_>) -> Result<(), Trouble> {
        let wanted = self.wanted.get(&arrived.subscription);
        let Some(message) = arrived.message else {
            // The end of a consumer that we ended ourselves is no news.
            return if floor.has(&arrived) { Err(Trouble::ConsumerCancelled) } else { Ok(()) };
        };
        let Delivery { delivery_tag, properties, data, redelivered, .. } = message?;
        floor.ledger.came();
        let held = Held::new(delivery_tag, floor.settle.clone());
        // Dropped, and so released, if its subscriber is gone.
        if let Some(wanted) = wanted {
            wanted.buffer.push(arrived.level, Incoming { body: data, properties, redelivered, held });
        }
        Ok(())
    }
}

/// One consumer of each queue of a subscription, under a number of their own.
struct Consumers {
    number: u64,
    /// With the level of each. Dropping one ends it.
    consumers: Vec<(usize, lapin::Consumer)>,
}

impl Wanted {
    fn set_prefetch(&mut self, prefetch: u16) {
        self.more = prefetch.saturating_sub(self.prefetch);
    }
}

/// What one session works with.
struct Floor<'a> {
    topology: &'a Topology,
    careful: bool,
    channel: Channel,
    arrive: mpsc::UnboundedSender<Arrived>,
    arrivals: mpsc::UnboundedReceiver<Arrived>,
    consumers: HashMap<u64, Vec<Consumers>>,
    next: u64,
    settle: mpsc::UnboundedSender<Settle>,
    settled: mpsc::UnboundedReceiver<Settle>,
    ledger: Ledger,
}

impl<'a> Floor<'a> {
    async fn open(link: &Link, topology: &'a Topology, careful: bool) -> Result<Self, Trouble> {
        let channel = link.channel().await?;
        let (settle, settled) = mpsc::unbounded_channel();
        answer("queue.declare", topology.declare(&channel, &topology.dead())).await?;
        let (arrive, arrivals) = mpsc::unbounded_channel();
        let (consumers, ledger) = (HashMap::new(), Ledger::default());
        Ok(Self { topology, careful, channel, arrive, arrivals, consumers, next: 0, settle, settled, ledger })
    }

    async fn begin(&mut self, id: u64, wanted: &Wanted) -> Result<(), Trouble> {
        // Not global: quorum queues know only a prefetch of each consumer, here that of those to come.
        let prefetch = if self.careful { 1 } else { wanted.prefetch };
        self.consume(id, wanted, prefetch).await?;
        self.renew_more(id, wanted).await
    }

    /// Ends the additional consumers of a subscription, and begins those that are wanted now.
    async fn renew_more(&mut self, id: u64, wanted: &Wanted) -> Result<(), Trouble> {
        while self.consumers.get(&id).is_some_and(|all| all.len() > 1) {
            self.end_last(id).await?;
        }
        if wanted.more > 0 && !self.careful { self.consume(id, wanted, wanted.more).await } else { Ok(()) }
    }

    async fn consume(&mut self, id: u64, wanted: &Wanted, prefetch: u16) -> Result<(), Trouble> {
        let (number, mut begun) = (self.next, Vec::new());
        self.next += 1;
        let options = BasicQosOptions { global: false };
        answer("basic.qos", self.channel.basic_qos(prefetch, options)).await?;
        for (queue, level) in &wanted.queues {
            let consumer =
                tokio::time::timeout(SUBSCRIBE, consumer(self.topology, &self.channel, queue)).await;
            let consumer = consumer.map_err(|_| Trouble::SilentQueue(queue.to_string()))??;
            let (arrive, subscription, consumers, level) = (self.arrive.clone(), id, number, *level);
            // Not its stream: who is woken by that finds it locked, and sleeps again until the library's thread lets go.
            consumer.set_delegate(move |message: lapin::message::DeliveryResult| {
                let _ = arrive.send(Arrived { subscription, consumers, level, message: message.transpose() });
                ready(())
            });
            begun.push((level, consumer));
        }
        self.consumers.entry(id).or_default().push(Consumers { number, consumers: begun });
        Ok(())
    }

    async fn end(&mut self, id: u64) -> Result<(), Trouble> {
        while self.consumers.contains_key(&id) {
            self.end_last(id).await?;
        }
        Ok(())
    }

    /// Ends the consumers of a subscription that were begun last.
    async fn end_last(&mut self, id: u64) -> Result<(), Trouble> {
        let Some(all) = self.consumers.get_mut(&id) else { return Ok(()) };
        let Some(Consumers { number, consumers }) = all.pop() else { return Ok(()) };
        if all.is_empty() {
            self.consumers.remove(&id);
        }
        for (level, mut consumer) in consumers {
            let cancelling = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            answer("basic.cancel", cancelling).await?;
            // What came while it was being ended is in its stream.
            while let Some(Some(message)) = consumer.next().now_or_never() {
                let message = Some(message);
                let _ = self.arrive.send(Arrived { subscription: id, consumers: number, level, message });
            }
        }
        Ok(())
    }

    /// True if we have not ended the consumer by which this came.
    fn has(&self, arrived: &Arrived) -> bool {
        let all = self.consumers.get(&arrived.subscription).into_iter().flatten();
        all.into_iter().any(|consumers| consumers.number == arrived.consumers)
    }

    /// Tells the server about messages: releases first, then acks, one of which may stand for what was released before it.
    async fn settle(&mut self, gathered: Vec<Settle>) -> Result<(), Trouble> {
        let (mut acks, mut releases) = (Vec::new(), Vec::new());
        for settle in gathered {
            match settle {
                Settle::Ack(tag) => acks.push(tag),
                Settle::Release(tag) => releases.push(tag),
            }
        }
        let acks = self.ledger.settle(acks, &releases);
        let channel = &self.channel;
        let released = releases
            .into_iter()
            .map(|tag| channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }));
        answer("basic.nack", try_join_all(released)).await?;
        let acked = acks
            .into_iter()
            .map(|ack| channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }));
        answer("basic.ack", try_join_all(acked)).await.map(drop)
    }
}

/// Declares a queue and begins to consume from it.
async fn consumer(
    topology: &Topology,
    channel: &Channel,
    queue: &ShortString,
) -> lapin::Result<lapin::Consumer> {
    topology.declare(channel, queue).await?;
    let (tag, options) = ("".into(), BasicConsumeOptions::default());
    channel.basic_consume(queue.clone(), tag, options, FieldTable::default()).await
}
