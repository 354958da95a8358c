//! The queue: messages in the file, their order in memory. A delivery costs no write; consumers of this
//! process are woken, nothing polls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::{Capabilities, Consumer, Delivery, Depth, Kind, PortError, Queue, Receipt};
use protocol::time::Timestamp;
use protocol::wire;
use rusqlite::OptionalExtension;

use crate::connection::Database;
use crate::index::{Index, Out, Waiting};
use crate::values::{At, Text, Word};
use crate::writer::Durability;

/// Dead messages that are kept; beyond that the oldest are removed.
const DEAD: i64 = 10_000;
/// Pause before a file that can't be read is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The queue in the file.
pub(crate) struct Messages {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Database>,
    index: Arc<Index>,
}

impl Messages {
    /// The queue of `database`, in which this waits.
    pub(crate) fn new(database: Arc<Database>, waiting: Vec<Waiting>) -> Self {
        Self { shared: Arc::new(Shared { database, index: Arc::new(Index::new(waiting)) }) }
    }
}

#[async_trait]
impl Queue for Messages {
    fn capabilities(&self) -> Capabilities {
        Capabilities { oldest_age: true, shared: false }
    }

    async fn publish(&self, job: &JobSpec) -> Result<(), PortError> {
        const OPERATION: &str = "queue.publish";
        let body =
            wire::encode(job).map_err(|error| PortError::new(Kind::Unexpected, OPERATION).because(error))?;
        let (lane, priority) = (job.lane.clone(), job.priority);
        let index = Arc::clone(&self.shared.index);
        let insert = "INSERT INTO messages (lane, priority, published_at, body) VALUES (?1, ?2, ?3, ?4)";
        // A power cut may undo it, and then also undoes what cleared the outbox mark, which comes later in the same file: the
        // job is published again.
        let publish = self.shared.database.write(OPERATION, Durability::Relaxed, move |tx| {
            let since = tx.now;
            tx.prepare_cached(insert)?.execute((Text(&lane), Word(priority), At(since), body))?;
            let id = tx.last_insert_rowid();
            let message = Waiting { id, lane, priority, since, redelivered: false };
            tx.after_commit(move || index.add(message));
            Ok(())
        });
        publish.await
    }

    async fn consume(&self, lanes: &[Lane], ceiling: u16) -> Result<Box<dyn Consumer>, PortError> {
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(Taker { shared, lanes: lanes.to_vec(), ceiling, out: Arc::default() }))
    }

    async fn depth(&self, lane: &Lane) -> Result<Depth, PortError> {
        let (ready, oldest) = self.shared.index.depth(lane);
        Ok(Depth { ready, oldest: oldest.map(|since| Timestamp::now().since(since)) })
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.shared.database.ping("queue.ping").await
    }
}

struct Taker {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    ceiling: u16,
    out: Arc<Out>,
}

#[async_trait]
impl Consumer for Taker {
    async fn next(&mut self) -> Delivery {
        let shared = Arc::clone(&self.shared);
        loop {
            // Listens before it looks, so that nothing is missed in between.
            let mut news = std::pin::pin!(shared.index.news.notified());
            news.as_mut().enable();
            match shared.index.take(&self.lanes, &self.out, self.ceiling) {
                Some(message) => {
                    if let Some(delivery) = self.open(message).await {
                        return delivery;
                    }
                }
                None => news.await,
            }
        }
    }

    fn set_ceiling(&mut self, ceiling: u16) {
        self.ceiling = ceiling;
    }
}

impl Taker {
    /// Reads the message's body. Whatever happens on the way, being dropped included, the message is
    /// either delivered or given back.
    async fn open(&self, message: Waiting) -> Option<Delivery> {
        let (id, redelivered) = (message.id, message.redelivered);
        let held = Box::new(Held {
            shared: Arc::clone(&self.shared),
            out: Arc::clone(&self.out),
            message: Some(message),
        });
        let body = self.shared.database.look("queue.next", move |connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM messages WHERE id = ?1")?;
            Ok(statement.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional()?)
        });
        match body.await {
            Ok(Some(body)) => match wire::decode(&body) {
                Ok(job) => return Some(Delivery::new(job, redelivered, held)),
                Err(malformed) => held.dead_letter(&malformed.to_string()),
            },
            Ok(None) => held.ack(),
            Err(error) => {
                tracing::warn!(%error, id, "a message can't be read; trying again");
                drop(held);
                tokio::time::sleep(PAUSE).await;
            }
        }
        None
    }
}

/// A message that is out. Dropping it gives it back.
struct Held {
    shared: Arc<Shared>,
    out: Arc<Out>,
    // Empty once it is settled.
    message: Option<Waiting>,
}

impl Held {
    /// The message is out no more and doesn't come back; what is left to do is to remove it from the file.
    fn settle(&mut self) -> Option<Waiting> {
        let message = self.message.take()?;
        self.shared.index.settle(&message, &self.out);
        Some(message)
    }
}

impl Receipt for Held {
    fn ack(mut self: Box<Self>) {
        let Some(message) = self.settle() else { return };
        self.shared.database.post("queue.ack", move |tx| {
            tx.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message.id])?;
            Ok(())
        });
    }

    fn release(self: Box<Self>) {}

    fn dead_letter(mut self: Box<Self>, reason: &str) {
        let Some(message) = self.settle() else { return };
        tracing::warn!(id = message.id, lane = %message.lane, reason, "a message is put aside");
        let reason = reason.to_owned();
        self.shared.database.post("queue.dead_letter", move |tx| {
            tx.prepare_cached(
                "INSERT INTO dead_messages (lane, priority, published_at, died_at, reason, body)
                 SELECT lane, priority, published_at, ?2, ?3, body FROM messages WHERE id = ?1",
            )?
            .execute((message.id, At(tx.now), reason))?;
            tx.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message.id])?;
            tx.prepare_cached(
                "DELETE FROM dead_messages WHERE id <= (SELECT max(id) FROM dead_messages) - ?1",
            )?
            .execute([DEAD])?;
            Ok(())
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(message) = self.message.take() else { return };
        // Back at its place first: this consumer must not take a younger one instead.
        self.shared.index.add(Waiting { redelivered: true, ..message.clone() });
        self.shared.index.settle(&message, &self.out);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("message", &self.message).finish_non_exhaustive()
    }
}
