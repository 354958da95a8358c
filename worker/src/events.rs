//! The way of an attempt's events from its handler to the store: bounded, batched, in order, none twice.
//!
//! An idle sink sends at once; while one batch is on its way the next one collects. Each event has an ordinal
//! within its attempt, so a batch whose answer was lost is sent again as it was and the store skips what it
//! has. A full buffer makes the handler wait. Secrets of the call are cut out on the way in: `redact` says how.

mod buffer;
mod pace;
mod redact;
mod spellings;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::error::JobError;
use protocol::event::{EventBatch, EventKind};
use protocol::job::JobSpec;
use protocol::json::Json;
use protocol::outcome::Ending;
use protocol::ports::{Appended, Store};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use buffer::Buffer;
use pace::Pace;
pub(crate) use redact::Redactor;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::secrets::Secrets;

/// Where a piece of the log comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Printed.
    Stdout,
    /// Printed to standard error.
    Stderr,
    /// Written to the language's own log.
    Log,
}

impl LogStream {
    /// Every stream.
    const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Log];
}

/// Where a handler tells its events. Cheap to clone; all clones are one sink. Enforces [`protocol::limits`]: too many
/// events or too large a chunk fail the attempt (its `stop` fires), and a log that grows too long is cut once,
/// with a mark. What comes after that, or after the attempt was stopped, is dropped.
#[derive(Debug, Clone)]
pub struct EventSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    pace: Mutex<Pace>,
    filled: Notify,
    drained: Notify,
    faulted: Notify,
    metrics: Metrics,
    redactor: Redactor,
}

impl EventSink {
    /// An empty sink, which keeps what it gets until an attempt sends it on.
    pub fn new(metrics: Metrics) -> Self {
        Self::without_secrets(metrics, &Secrets::default())
    }

    /// The same, for a call that has these secrets: their values don't get into it.
    pub fn without_secrets(metrics: Metrics, secrets: &Secrets) -> Self {
        let (filled, drained, faulted) = (Notify::new(), Notify::new(), Notify::new());
        let redactor = Redactor::new(secrets);
        let pace = Mutex::new(Pace::new(Instant::now()));
        let shared = Shared { buffer: Mutex::default(), pace, filled, drained, faulted, metrics, redactor };
        Self { shared: Arc::new(shared) }
    }

    /// A value that the handler yielded. Waits while the buffer is full, or the handler is too fast.
    pub async fn chunk(&self, value: Json) {
        self.room().await;
        let value = self.shared.redactor.json(value);
        self.put(|buffer| buffer.chunk(value));
    }

    /// Text that the handler printed or logged. Waits while the buffer is full, or the handler is too fast.
    pub async fn log(&self, stream: LogStream, text: &str) {
        self.room().await;
        self.put(|buffer| buffer.log(stream, text, &self.shared.redactor));
    }

    /// How far the handler is, from 0 to 1. Waits while the buffer is full, or the handler is too fast.
    pub async fn progress(&self, fraction: f64, message: Option<&str>) {
        self.room().await;
        let message = message.map(|message| self.shared.redactor.text(message));
        self.put(|buffer| buffer.progress(fraction, message.as_deref()));
    }

    /// How the call ended, without its secrets.
    pub fn clean(&self, ending: Ending) -> Ending {
        self.shared.redactor.ending(ending)
    }

    /// The events that are not known to be in the store.
    pub fn rest(&self) -> EventBatch {
        let buffer = self.lock();
        EventBatch { first: buffer.stored + 1, events: buffer.waiting.iter().cloned().collect() }
    }

    /// Drops everything that comes from now on, and lets go whoever waits for room.
    pub(crate) fn close(&self) {
        for stream in LogStream::ALL {
            self.put(|buffer| buffer.end_of_log(stream, &self.shared.redactor));
        }
        self.lock().closed = true;
        self.shared.drained.notify_waiters();
    }

    /// The limit that was broken, if any.
    pub(crate) fn fault(&self) -> Option<JobError> {
        self.lock().fault.clone()
    }

    /// Waits until a limit is broken, and tells how.
    pub(crate) async fn faulted(&self) -> JobError {
        loop {
            if let Some(error) = self.fault() {
                return error;
            }
            self.shared.faulted.notified().await;
        }
    }

    /// Sends events to the store until the attempt can write no more. While the store is away it tries again
    /// with the same ordinals. Safe to cancel: what was on its way stays in [`EventSink::rest`].
    pub(crate) async fn pump(&self, store: &dyn Store, job: &JobSpec, attempt: u32) -> Lost {
        let mut backoff = Backoff::default();
        loop {
            let batch = self.batch().await;
            match store.append(job, attempt, &batch).await {
                Ok(Appended::Stored) => {
                    backoff = Backoff::default();
                    self.lock().confirm(batch.events.len());
                    self.shared.drained.notify_waiters();
                }
                Ok(Appended::Lost) => return Lost,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "events wait for the store");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn batch(&self) -> EventBatch {
        loop {
            let batch = self.rest();
            if !batch.events.is_empty() {
                return batch;
            }
            // A permit is kept if an event came since the look above.
            self.shared.filled.notified().await;
        }
    }

    /// Waits until one more event may be told.
    async fn room(&self) {
        let pause = self.shared.pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        loop {
            let mut drained = pin!(self.shared.drained.notified());
            drained.as_mut().enable();
            if self.lock().has_room() {
                return;
            }
            drained.await;
        }
    }

    fn put(&self, change: impl FnOnce(&mut Buffer) -> Option<EventKind>) {
        let mut buffer = self.lock();
        if buffer.closed || buffer.fault.is_some() {
            return;
        }
        let kind = change(&mut buffer);
        if buffer.fault.is_some() {
            self.shared.faulted.notify_one();
        }
        if let Some(kind) = kind {
            self.shared.metrics.events.with_label_values(&[kind.as_str()]).inc();
            self.shared.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempt is no longer the newest, or the job is over: nothing more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_buffer_makes_the_handler_wait_until_it_is_drained_or_closed() {
        let sink = EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        for _ in 0..buffer::EVENTS {
            sink.chunk(Json::null()).await;
        }
        let waiting = tokio::spawn({
            let sink = sink.clone();
            async move { sink.chunk(Json::null()).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sink.close();
        waiting.await.unwrap();
        assert_eq!(sink.rest().events.len(), buffer::EVENTS);
    }
}
