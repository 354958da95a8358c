//! Messages on their way from a session to whoever takes them: waiting in a [`Buffer`], then held by a
//! delivery or a request until that is acked, released, or put aside.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use protocol::id::JobId;
use protocol::ports::{InboxReceipt, Receipt};
use protocol::wire::{self, Sheet};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::publish::{Message, Publisher, Work};
use crate::topology::Topology;

/// How long a message waits here for someone to take it before it goes back to the queue: another worker
/// may have a free slot.
const PATIENCE: Duration = Duration::from_secs(1);
/// Before a message that could not be put aside goes back.
const PAUSE: Duration = Duration::from_secs(1);
/// For the confirm of a dead letter.
const DEAD_LETTER: Duration = Duration::from_secs(5);
/// Bytes of a reason on a dead letter.
const REASON_BYTES: usize = 512;

/// What the session that delivered a message shall tell the server about it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Settle {
    /// Forget it.
    Ack(u64),
    /// Deliver it again.
    Release(u64),
}

/// A share in a message that the server waits to hear about. It hears when all have acked, or the first has released;
/// dropping one releases. Does nothing once the session is gone: the server then has the message back already.
#[derive(Debug)]
pub(crate) struct Held {
    tag: u64,
    /// Shares that have said nothing yet; 0 once the message was released.
    left: Arc<AtomicUsize>,
    session: Option<mpsc::UnboundedSender<Settle>>,
}

impl Held {
    /// All of a message.
    pub(crate) fn new(tag: u64, session: mpsc::UnboundedSender<Settle>) -> Self {
        Self { tag, left: Arc::new(AtomicUsize::new(1)), session: Some(session) }
    }

    /// The same message in so many shares.
    fn shared(mut self, shares: usize) -> impl Iterator<Item = Self> {
        let (tag, left, session) = (self.tag, self.left.clone(), self.session.take());
        left.store(shares, Ordering::Relaxed);
        (0..shares).map(move |_| Self { tag, left: left.clone(), session: session.clone() })
    }

    fn ack(mut self) {
        let one_less = |left: usize| left.checked_sub(1);
        if let Some(session) = self.session.take()
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1)
        {
            let _ = session.send(Settle::Ack(self.tag));
        }
    }

    fn is_stale(&self) -> bool {
        self.session.as_ref().is_none_or(mpsc::UnboundedSender::is_closed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && self.left.swap(0, Ordering::Relaxed) > 0
        {
            let _ = session.send(Settle::Release(self.tag));
        }
    }
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
    pub(crate) redelivered: bool,
    pub(crate) held: Held,
}

/// Where messages wait between the session and the one who takes them, by urgency.
#[derive(Debug)]
pub(crate) struct Buffer {
    // `None` once nobody takes any more.
    levels: Mutex<Option<Levels>>,
    arrived: Notify,
}

/// For each urgency, what waits and since when.
type Levels = Vec<VecDeque<(Instant, Incoming)>>;

impl Buffer {
    pub(crate) fn new(levels: usize) -> Self {
        let levels = std::iter::repeat_with(VecDeque::new).take(levels).collect();
        Self { levels: Mutex::new(Some(levels)), arrived: Notify::new() }
    }

    /// Adds a message; releases it if nobody takes any more.
    pub(crate) fn push(&self, level: usize, message: Incoming) {
        if let Some(queue) = self.lock().as_mut().and_then(|levels| levels.get_mut(level)) {
            queue.push_back((Instant::now(), message));
        }
        self.arrived.notify_one();
    }

    /// The next message, the most urgent first. Safe to cancel.
    pub(crate) async fn pop(&self) -> Incoming {
        loop {
            if let Some(message) = self.take() {
                return message;
            }
            self.arrived.notified().await;
        }
    }

    /// Releases what has waited too long.
    pub(crate) fn give_back(&self) {
        for queue in self.lock().iter_mut().flatten() {
            while queue.front().is_some_and(|(since, _)| since.elapsed() >= PATIENCE) {
                queue.pop_front();
            }
        }
    }

    /// Releases everything, and from now on whatever comes.
    pub(crate) fn close(&self) {
        self.lock().take();
    }

    fn take(&self) -> Option<Incoming> {
        let mut levels = self.lock();
        let next = |queue: &mut VecDeque<(Instant, Incoming)>| {
            // What an earlier session delivered comes again.
            std::iter::from_fn(|| queue.pop_front()).map(|(_, message)| message).find(|m| !m.held.is_stale())
        };
        levels.as_mut()?.iter_mut().find_map(next)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Levels>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages aside that nobody can use.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    publisher: Publisher,
    topology: Topology,
    tasks: TaskTracker,
}

impl DeadLetters {
    pub(crate) fn new(publisher: Publisher, topology: Topology, tasks: TaskTracker) -> Self {
        Self { publisher, topology, tasks }
    }

    /// Publishes `letter` to the dead letters with the reason, and acks it once that is confirmed. Where it
    /// isn't, the server delivers it again. Runs in the background.
    pub(crate) fn bury(&self, letter: Letter, reason: &str) {
        tracing::warn!(message = ?letter.id, reason, "a message was put aside");
        let (body, id) = letter.own();
        let Letter { content_type, held, .. } = letter;
        let mut headers = FieldTable::default();
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
        headers.insert("sortie-reason".into(), AMQPValue::LongString(reason.into()));
        let mut properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(content_type);
        }
        let id = id.unwrap_or_else(|| JobId::generate().to_string().into());
        let message = Message { queue: self.topology.dead(), ours: true, id, body, properties };
        let (publisher, tasks) = (self.publisher.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            let work = Work::Publish(Box::new(message));
            match publisher.ask("queue.dead_letter", work, DEAD_LETTER).await {
                Ok(_) => held.ack(),
                Err(error) => {
                    tracing::warn!(%error, "a message could not be put aside yet");
                    // Given back, it comes again at once.
                    if !tasks.is_closed() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }
}

/// A message, or one of the jobs in it, that may have to be put aside.
pub(crate) struct Letter {
    body: Arc<Vec<u8>>,
    /// Which of its jobs, where there are several.
    place: Option<usize>,
    id: Option<ShortString>,
    content_type: Option<ShortString>,
    held: Held,
}

impl Letter {
    /// A letter for each of the jobs in the message.
    pub(crate) fn shared(self, jobs: usize) -> impl Iterator<Item = Self> {
        let Self { body, id, content_type, held, .. } = self;
        held.shared(jobs).enumerate().map(move |(place, held)| Self {
            body: body.clone(),
            place: (jobs > 1).then_some(place),
            id: id.clone(),
            content_type: content_type.clone(),
            held,
        })
    }

    /// The message that carries this one alone, and its id.
    fn own(&self) -> (Vec<u8>, Option<ShortString>) {
        let job = self.place.and_then(|place| Some(wire::decode_all(&self.body).ok()?.swap_remove(place)));
        match job.and_then(|job| Some((wire::envelope(&[&Sheet::of(&job).ok()?]), job.id))) {
            Some((body, id)) => (body, Some(id.to_string().into())),
            None => (self.body.to_vec(), self.id.clone()),
        }
    }
}

impl From<Incoming> for Letter {
    fn from(message: Incoming) -> Self {
        let Incoming { body, properties, held, .. } = message;
        let (id, content_type) = (properties.message_id().clone(), properties.content_type().clone());
        Self { body: Arc::new(body), place: None, id, content_type, held }
    }
}

/// The receipt of a job's delivery.
pub(crate) struct JobReceipt {
    pub(crate) letter: Letter,
    pub(crate) dead_letters: DeadLetters,
}

impl std::fmt::Debug for JobReceipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the body: it holds a user's input.
        self.letter.held.fmt(f)
    }
}

impl Receipt for JobReceipt {
    fn ack(self: Box<Self>) {
        self.letter.held.ack();
    }

    fn release(self: Box<Self>) {}

    fn dead_letter(self: Box<Self>, reason: &str) {
        self.dead_letters.bury(self.letter, reason);
    }
}

/// The receipt of a request.
#[derive(Debug)]
pub(crate) struct RequestReceipt(pub(crate) Held);

impl InboxReceipt for RequestReceipt {
    fn ack(self: Box<Self>) {
        self.0.ack();
    }

    fn release(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u64, session: &mpsc::UnboundedSender<Settle>) -> Incoming {
        let held = Held::new(tag, session.clone());
        Incoming { body: vec![], properties: BasicProperties::default(), redelivered: false, held }
    }

    #[tokio::test(start_paused = true)]
    async fn the_urgent_go_first_and_what_nobody_takes_goes_back() {
        let (session, mut settled) = mpsc::unbounded_channel();
        let buffer = Buffer::new(2);
        buffer.push(1, message(1, &session));
        buffer.push(0, message(2, &session));
        let first = buffer.pop().await;
        first.held.ack();
        assert!(matches!(settled.recv().await, Some(Settle::Ack(2))));
        buffer.give_back();
        assert!(settled.try_recv().is_err());
        tokio::time::advance(PATIENCE).await;
        buffer.give_back();
        assert!(matches!(settled.recv().await, Some(Settle::Release(1))));
    }

    #[tokio::test]
    async fn a_message_is_done_when_all_its_shares_are_and_comes_again_when_one_is_not() {
        let (session, mut settled) = mpsc::unbounded_channel();
        let shares = |tag| message(tag, &session).held.shared(3).collect::<Vec<_>>();
        let [one, two, three] = <[Held; 3]>::try_from(shares(1)).unwrap();
        one.ack();
        two.ack();
        assert!(settled.try_recv().is_err());
        three.ack();
        assert!(matches!(settled.try_recv(), Ok(Settle::Ack(1))));
        let [one, two, three] = <[Held; 3]>::try_from(shares(2)).unwrap();
        one.ack();
        drop(two);
        assert!(matches!(settled.try_recv(), Ok(Settle::Release(2))));
        three.ack();
        drop(shares(3));
        assert!(matches!(settled.try_recv(), Ok(Settle::Release(3))), "it is told once");
        assert!(settled.try_recv().is_err());
    }

    #[tokio::test]
    async fn messages_of_a_lost_session_are_forgotten_and_a_closed_buffer_releases() {
        let (lost, gone) = mpsc::unbounded_channel();
        let (session, mut settled) = mpsc::unbounded_channel();
        let buffer = Buffer::new(1);
        buffer.push(0, message(1, &lost));
        buffer.push(0, message(2, &session));
        drop(gone);
        assert_eq!(buffer.pop().await.held.tag, 2);
        assert!(matches!(settled.recv().await, Some(Settle::Release(2))));
        buffer.close();
        buffer.push(0, message(3, &session));
        assert!(matches!(settled.recv().await, Some(Settle::Release(3))));
    }
}
