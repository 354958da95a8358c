//! What one attempt told and the store may not yet have: the rules of its events. Limits are enforced here.

use std::collections::VecDeque;

use protocol::error::{Code, JobError};
use protocol::event::{EventKind, NewEvent};
use protocol::json::Json;
use protocol::limits;
use serde::Serialize;

use super::LogStream;
use super::redact::{Held, Redactor};

/// Events that wait in one attempt before its handler has to.
pub(super) const EVENTS: usize = 512;
/// Bytes that wait in one attempt before its handler has to.
const BYTES: usize = 1024 * 1024;
/// Bytes of a progress message.
const MESSAGE_BYTES: usize = 1024;
/// What the log shows where it was cut.
const CUT: &str = "… [cut: the log of this attempt is full]";

/// The rules of one attempt's events. Each method tells the kind of the event that it added, if any.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Not known to be in the store, in order.
    pub(super) waiting: VecDeque<NewEvent>,
    waiting_bytes: usize,
    /// Events that are known to be in the store: the ordinal of the last one.
    pub(super) stored: u64,
    /// Bytes of log that came, and bytes that went out: secrets are replaced in between.
    log_heard: usize,
    log_bytes: usize,
    log_cut: bool,
    log_held: [Held; 3],
    pub(super) fault: Option<JobError>,
    pub(super) closed: bool,
}

impl Buffer {
    pub(super) fn has_room(&self) -> bool {
        self.closed || self.fault.is_some() || (self.waiting.len() < EVENTS && self.waiting_bytes < BYTES)
    }

    fn taken(&self) -> u64 {
        self.stored + self.waiting.len() as u64
    }

    pub(super) fn chunk(&mut self, value: Json) -> Option<EventKind> {
        let bytes = value.text().len();
        if bytes > limits::CHUNK_BYTES {
            let message = format!("a chunk has {bytes} bytes of JSON; it may have {}", limits::CHUNK_BYTES);
            self.fault = Some(JobError::new(Code::OutputTooLarge, message));
            return None;
        }
        self.add(EventKind::Chunk, value)
    }

    pub(super) fn progress(&mut self, fraction: f64, message: Option<&str>) -> Option<EventKind> {
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

    /// A log never fails an attempt: it is cut where it would break a limit. The beginning of what may be a secret
    /// waits for the next piece of its stream.
    pub(super) fn log(&mut self, stream: LogStream, text: &str, redactor: &Redactor) -> Option<EventKind> {
        if self.log_cut {
            return None;
        }
        self.log_heard += text.len();
        let text = redactor.feed(&mut self.log_held[stream as usize], text);
        self.add_log(stream, &text)
    }

    /// What waited for a next piece that never came.
    pub(super) fn end_of_log(&mut self, stream: LogStream, redactor: &Redactor) -> Option<EventKind> {
        let text = redactor.flush(&mut self.log_held[stream as usize]);
        if self.log_cut { None } else { self.add_log(stream, &text) }
    }

    fn add_log(&mut self, stream: LogStream, text: &str) -> Option<EventKind> {
        #[derive(Serialize)]
        struct Data<'a> {
            stream: LogStream,
            text: &'a str,
        }
        let left = limits::LOG_BYTES - self.log_bytes;
        let full = text.len() > left || self.log_heard > limits::LOG_BYTES;
        if text.is_empty() && !full {
            return None;
        }
        // The last event that fits is kept for the mark.
        self.log_cut = full || self.taken() + 1 >= limits::EVENTS;
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

    pub(super) fn confirm(&mut self, count: usize) {
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
        assert!(buffer.log(LogStream::Stdout, &text, &Redactor::default()).is_some());
        assert!(buffer.log(LogStream::Stderr, "aää", &Redactor::default()).is_some());
        assert_eq!(buffer.waiting[1].data.value()["text"], format!("a{CUT}"));
        assert!(buffer.log(LogStream::Stdout, "x", &Redactor::default()).is_none());
        assert_eq!(buffer.fault, None);
    }

    #[test]
    fn too_many_events_are_a_failure_but_a_long_log_is_not() {
        let mut buffer = Buffer { stored: limits::EVENTS - 1, ..Buffer::default() };
        buffer.log(LogStream::Log, "x", &Redactor::default());
        assert_eq!(buffer.waiting[0].data.value()["text"], format!("x{CUT}"));
        buffer.log(LogStream::Log, "x", &Redactor::default());
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

    #[test]
    fn a_log_of_secrets_is_cut_where_one_without_would_be() {
        let value = "x".repeat(1024);
        let name = protocol::id::SecretName::new("KEY").unwrap();
        let redactor = Redactor::new(&[(name, value.clone().into())].into_iter().collect());
        let mut buffer = Buffer::default();
        for _ in 0..=limits::LOG_BYTES / 1024 {
            buffer.log(LogStream::Stdout, &format!("{value}\n"), &redactor);
        }
        let texts: Vec<_> =
            buffer.waiting.iter().map(|event| event.data.value()["text"].to_string()).collect();
        assert!(texts[0].contains("[secret KEY]") && !texts.concat().contains("xxxx"));
        assert!(texts.last().unwrap().contains(CUT), "{texts:?}");
    }
}
