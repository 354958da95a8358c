//! The way of an attempt's events from its handler to the store: bounded, batched, in order, none twice.
//!
//! An idle sink sends at once; while one batch is on its way the next one collects. Each event has an ordinal
//! within its attempt, so a batch whose answer was lost is sent again as it was and the store skips what it
//! has. A full buffer makes the handler wait.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::error::{Code, JobError};
use protocol::event::{EventBatch, EventKind, NewEvent};
use protocol::job::JobSpec;
use protocol::json::Json;
use protocol::limits;
use protocol::ports::{Appended, Store};
use serde::Serialize;
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// Events that wait in one attempt before its handler has to.
const BUFFER_EVENTS: usize = 512;
/// Bytes that wait in one attempt before its handler has to.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes of a progress message.
const MESSAGE_BYTES: usize = 1024;
/// What the log shows where it was cut.
const CUT: &str = "… [cut: the log of this attempt is full]";

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

/// Where a handler tells its events. Cheap to clone; all clones are one sink. Enforces [`limits`]: too many
/// events or too large a chunk fail the attempt (its `stop` fires), and a log that grows too long is cut once,
/// with a mark. What comes after that, or after the attempt was stopped, is dropped.
#[derive(Debug, Clone)]
pub struct EventSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Notify,
    drained: Notify,
    faulted: Notify,
    metrics: Metrics,
}

impl EventSink {
    /// An empty sink, which keeps what it gets until an attempt sends it on.
    pub fn new(metrics: Metrics) -> Self {
        let (filled, drained, faulted) = (Notify::new(), Notify::new(), Notify::new());
        Self { shared: Arc::new(Shared { buffer: Mutex::default(), filled, drained, faulted, metrics }) }
    }

    /// A value that the handler yielded. Waits while the buffer is full.
    pub async fn chunk(&self, value: Json) {
        self.room().await;
        self.put(|buffer| buffer.chunk(value));
    }

    /// Text that the handler printed or logged. Waits while the buffer is full.
    pub async fn log(&self, stream: LogStream, text: &str) {
        self.room().await;
        self.put(|buffer| buffer.log(stream, text));
    }

    /// How far the handler is, from 0 to 1. Waits while the buffer is full.
    pub async fn progress(&self, fraction: f64, message: Option<&str>) {
        self.room().await;
        self.put(|buffer| buffer.progress(fraction, message));
    }

    /// The events that are not known to be in the store.
    pub fn rest(&self) -> EventBatch {
        let buffer = self.lock();
        EventBatch { first: buffer.stored + 1, events: buffer.waiting.iter().cloned().collect() }
    }

    /// Drops everything that comes from now on, and lets go whoever waits for room.
    pub(crate) fn close(&self) {
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

    async fn room(&self) {
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

/// The rules of one attempt's events. Each method tells the kind of the event that it added, if any.
#[derive(Debug, Default)]
struct Buffer {
    /// Not known to be in the store, in order.
    waiting: VecDeque<NewEvent>,
    waiting_bytes: usize,
    /// Events that are known to be in the store: the ordinal of the last one.
    stored: u64,
    log_bytes: usize,
    log_cut: bool,
    fault: Option<JobError>,
    closed: bool,
}

impl Buffer {
    fn has_room(&self) -> bool {
        self.closed
            || self.fault.is_some()
            || (self.waiting.len() < BUFFER_EVENTS && self.waiting_bytes < BUFFER_BYTES)
    }

    fn taken(&self) -> u64 {
        self.stored + self.waiting.len() as u64
    }

    fn chunk(&mut self, value: Json) -> Option<EventKind> {
        let bytes = value.text().len();
        if bytes > limits::CHUNK_BYTES {
            let message = format!("a chunk has {bytes} bytes of JSON; it may have {}", limits::CHUNK_BYTES);
            self.fault = Some(JobError::new(Code::OutputTooLarge, message));
            return None;
        }
        self.add(EventKind::Chunk, value)
    }

    fn progress(&mut self, fraction: f64, message: Option<&str>) -> Option<EventKind> {
        #[derive(Serialize)]
        struct Data<'a> {
            fraction: f64,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
        }
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let message = message.map(|message| head(message, MESSAGE_BYTES));
        self.add(EventKind::Progress, json_of(&Data { fraction, message }))
    }

    /// A log never fails an attempt: it is cut where it would break a limit.
    fn log(&mut self, stream: LogStream, text: &str) -> Option<EventKind> {
        #[derive(Serialize)]
        struct Data<'a> {
            stream: LogStream,
            text: &'a str,
        }
        if self.log_cut {
            return None;
        }
        let left = limits::LOG_BYTES - self.log_bytes;
        // The last event that fits is kept for the mark.
        self.log_cut = text.len() > left || self.taken() + 1 >= limits::EVENTS;
        let kept = head(text, left);
        self.log_bytes += kept.len();
        let data = if self.log_cut {
            json_of(&Data { stream, text: &format!("{kept}{CUT}") })
        } else {
            json_of(&Data { stream, text: kept })
        };
        self.add(EventKind::Log, data)
    }

    fn add(&mut self, kind: EventKind, data: Json) -> Option<EventKind> {
        if self.taken() >= limits::EVENTS {
            let message = format!("the attempt sent more than {} events", limits::EVENTS);
            self.fault = Some(JobError::new(Code::EventsTooMany, message));
            return None;
        }
        self.waiting_bytes += data.text().len();
        self.waiting.push_back(NewEvent { kind, data });
        Some(kind)
    }

    fn confirm(&mut self, count: usize) {
        for event in self.waiting.drain(..count) {
            self.waiting_bytes -= event.data.text().len();
            self.stored += 1;
        }
    }
}

/// The longest beginning of `text` that has at most `bytes` bytes.
fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn json_of<T: Serialize>(data: &T) -> Json {
    Json::of(data).unwrap_or_else(|_| Json::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: usize) -> Json {
        Json::parse(n.to_string()).unwrap()
    }

    #[test]
    fn ordinals_go_on_where_the_store_confirmed() {
        let mut buffer = Buffer::default();
        for n in 0..3 {
            buffer.chunk(number(n));
        }
        buffer.confirm(2);
        buffer.chunk(number(3));
        assert_eq!((buffer.stored, buffer.taken(), buffer.waiting_bytes), (2, 4, 2));
        assert_eq!(buffer.waiting[0].data, number(2));
    }

    #[test]
    fn a_log_is_cut_once_between_characters_and_marked() {
        let mut buffer = Buffer::default();
        let text = "ä".repeat(limits::LOG_BYTES / 2 - 1);
        assert!(buffer.log(LogStream::Stdout, &text).is_some());
        assert!(buffer.log(LogStream::Stderr, "aää").is_some());
        assert_eq!(buffer.waiting[1].data.value()["text"], format!("a{CUT}"));
        assert!(buffer.log(LogStream::Stdout, "x").is_none());
        assert_eq!(buffer.fault, None);
    }

    #[test]
    fn too_many_events_are_a_failure_but_a_long_log_is_not() {
        let mut buffer = Buffer { stored: limits::EVENTS - 1, ..Buffer::default() };
        buffer.log(LogStream::Log, "x");
        assert_eq!(buffer.waiting[0].data.value()["text"], format!("x{CUT}"));
        buffer.log(LogStream::Log, "x");
        assert_eq!(buffer.fault, None);
        buffer.progress(0.5, None);
        assert_eq!(buffer.fault.unwrap().code, Code::EventsTooMany);
    }

    #[test]
    fn a_chunk_that_is_too_large_is_a_failure() {
        let mut buffer = Buffer::default();
        buffer.chunk(Json::of(&"x".repeat(limits::CHUNK_BYTES)).unwrap());
        assert_eq!(buffer.fault.unwrap().code, Code::OutputTooLarge);
    }

    #[test]
    fn progress_stays_between_zero_and_one() {
        let mut buffer = Buffer::default();
        buffer.progress(7.0, Some("far"));
        buffer.progress(f64::NAN, None);
        assert_eq!(buffer.waiting[0].data.text(), r#"{"fraction":1.0,"message":"far"}"#);
        assert_eq!(buffer.waiting[1].data.text(), r#"{"fraction":0.0}"#);
    }

    #[tokio::test]
    async fn a_full_buffer_makes_the_handler_wait_until_it_is_drained_or_closed() {
        let sink = EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        for n in 0..BUFFER_EVENTS {
            sink.chunk(number(n)).await;
        }
        let waiting = tokio::spawn({
            let sink = sink.clone();
            async move { sink.chunk(number(0)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sink.close();
        waiting.await.unwrap();
        assert_eq!(sink.rest().events.len(), BUFFER_EVENTS);
    }
}
