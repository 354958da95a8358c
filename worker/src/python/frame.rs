//! The frames between the worker and the process of a call: 4 bytes of length (big-endian) and one JSON object.
//!
//! What comes from the process is hostile: bounded before it is read, and nothing but the kinds below. The Python
//! side is worker/runner/sortie_runner/frames.py; both are tested against worker/runner/fixtures/frames.json.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protocol::error::{Code, JobError};
use protocol::json::{self, Json};
use protocol::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::handler::{Call, LogStream};

/// The largest frame that is taken: a result and what surrounds it.
const FRAME_BYTES: usize = limits::RESULT_BYTES + 64 * 1024;
/// The largest failure whose details are kept.
const FAILURE_BYTES: usize = 64 * 1024;

/// What a process tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    /// What was compiled of the handler, packed; `null` if it is too much to be kept.
    Code(Json),
    /// A yielded value.
    Chunk(Json),
    /// Printed or logged text.
    Log(LogStream, String),
    /// How far it is.
    Progress(f64, Option<String>),
    /// The call of this number returned this; true if the process can take another call.
    Result(u32, Json, bool),
    /// The call of this number failed.
    Failure(u32, JobError),
}

/// Why bytes are no frame: the handler wrote to the channel itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes")]
    TooLarge(usize),
    #[error("a frame that is not what the runner sends")]
    Malformed,
}

/// Takes the next complete frame out of `buffer`.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes(*header) as usize;
    if size > FRAME_BYTES {
        return Err(FrameError::TooLarge(size));
    }
    if buffer.len() < 4 + size {
        return Ok(None);
    }
    buffer.advance(4);
    decode(&buffer.split_to(size)).map(Some)
}

/// What a process must be told of a handler that it doesn't have yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    /// What the interpreter has compiled of it before; without it, that is the first that the process tells.
    pub(super) code: Option<&'a Json>,
}

/// The frame that starts the `number`-th call of a process, which has so much time left. A warm one has the source
/// already, and its limits.
pub(super) fn encode_call(
    call: &Call,
    left: Duration,
    number: u32,
    source: Option<Source<'_>>,
    keep: bool,
) -> Vec<u8> {
    let spec = &call.spec;
    framed(&CallFrame {
        kind: "call",
        call: number,
        source: source.map(|source| source.text),
        code: source.map(|source| source.code),
        input: &spec.input,
        keep,
        context: Context {
            job: spec.id.to_string(),
            action: spec.action.as_str(),
            attempt: call.attempt,
            deadline: spec.deadline.to_string(),
            remaining_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            traceparent: spec.traceparent.as_deref(),
            secrets: call.secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect(),
        },
        limits: source.is_some().then_some(Limits {
            memory_mb: call.content.memory_mb,
            log_bytes: limits::LOG_BYTES,
            chunk_bytes: limits::CHUNK_BYTES,
            result_bytes: limits::RESULT_BYTES,
        }),
    })
}

#[derive(Serialize)]
struct CallFrame<'a> {
    kind: &'static str,
    call: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Option<&'a Json>>,
    input: &'a Json,
    keep: bool,
    context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
}

#[derive(Serialize)]
struct Context<'a> {
    job: String,
    action: &'a str,
    attempt: u32,
    deadline: String,
    remaining_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Limits {
    memory_mb: u32,
    log_bytes: usize,
    chunk_bytes: usize,
    result_bytes: usize,
}

fn framed(body: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; 4];
    // Only a map with keys that are no strings can't be written, and there is none.
    let _ = serde_json::to_writer(&mut frame, body);
    let size = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Code,
    Chunk,
    Log,
    Progress,
    Result,
    Failure,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", remote = "LogStream")]
enum StreamName {
    Stdout,
    Stderr,
    Log,
}

#[derive(Deserialize)]
struct Stream(#[serde(with = "StreamName")] LogStream);

/// All fields of all kinds: a tagged enum would lose the text of `value`.
#[derive(Deserialize)]
struct Wire {
    kind: Kind,
    #[serde(default)]
    call: u32,
    #[serde(default = "Json::null")]
    value: Json,
    #[serde(default)]
    reusable: bool,
    stream: Option<Stream>,
    text: Option<String>,
    fraction: Option<f64>,
    message: Option<String>,
    code: Option<Code>,
    #[serde(default)]
    details: Value,
}

fn decode(body: &[u8]) -> Result<Frame, FrameError> {
    // One level more than a value may have: the frame's own.
    if json::depth(body) > json::MAX_DEPTH + 1 {
        return Err(FrameError::Malformed);
    }
    let wire: Wire = serde_json::from_slice(body).map_err(|_| FrameError::Malformed)?;
    let frame = match wire.kind {
        Kind::Code => Some(Frame::Code(wire.value)),
        Kind::Chunk => Some(Frame::Chunk(wire.value)),
        Kind::Log => wire.stream.zip(wire.text).map(|(stream, text)| Frame::Log(stream.0, text)),
        Kind::Progress => wire.fraction.map(|fraction| Frame::Progress(fraction, wire.message)),
        Kind::Result if wire.value.text().len() > limits::RESULT_BYTES => {
            let message = format!("the result has more than {} bytes of JSON", limits::RESULT_BYTES);
            Some(Frame::Failure(wire.call, JobError::new(Code::OutputTooLarge, message)))
        }
        Kind::Result => Some(Frame::Result(wire.call, wire.value, wire.reusable)),
        Kind::Failure => wire.code.filter(|code| is_of_handlers(*code)).map(|code| {
            let error = JobError::new(code, wire.message.unwrap_or_default());
            Frame::Failure(
                wire.call,
                if body.len() > FAILURE_BYTES { error } else { error.with(wire.details) },
            )
        }),
    };
    frame.ok_or(FrameError::Malformed)
}

/// The codes that a handler's own process may tell.
const fn is_of_handlers(code: Code) -> bool {
    matches!(
        code,
        Code::HandlerInvalid
            | Code::HandlerMissing
            | Code::HandlerRaised
            | Code::HandlerExited
            | Code::OutputNotJson
            | Code::OutputTooLarge
            | Code::OutOfMemory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        name: String,
        text: String,
    }

    #[test]
    fn every_golden_frame_is_read() {
        let golden: Vec<Golden> =
            serde_json::from_str(include_str!("../../runner/fixtures/frames.json")).unwrap();
        for Golden { name, text } in golden {
            let mut buffer = BytesMut::new();
            buffer.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
            buffer.extend_from_slice(text.as_bytes());
            let frame = take(&mut buffer).unwrap().unwrap();
            let expected = match name.as_str() {
                "code" => Frame::Code(Json::of(&"cb0d0d0ae3").unwrap()),
                "code_none" => Frame::Code(Json::null()),
                "chunk" => Frame::Chunk(Json::parse(r#"{"a":"é","b":[1.50,null]}"#.into()).unwrap()),
                "log" => Frame::Log(LogStream::Stderr, "tired ☕\n".into()),
                "progress" => Frame::Progress(0.25, Some("a quarter".into())),
                "progress_bare" => Frame::Progress(1.0, None),
                "result" => Frame::Result(7, Json::null(), true),
                "failure" => Frame::Failure(
                    1,
                    JobError::new(Code::HandlerRaised, "ValueError: no")
                        .with(serde_json::json!({"type": "ValueError", "traceback": "…"})),
                ),
                other => panic!("the golden frame {other} has no test"),
            };
            assert_eq!(frame, expected, "{name}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn frames_are_taken_only_when_complete_and_never_when_too_large() {
        let whole = framed(&serde_json::json!({"kind": "chunk", "value": 1}));
        let mut buffer = BytesMut::from(&whole[..whole.len() - 1]);
        assert_eq!(take(&mut buffer), Ok(None));
        buffer.extend_from_slice(&whole[whole.len() - 1..]);
        assert_eq!(take(&mut buffer), Ok(Some(Frame::Chunk(Json::parse("1".into()).unwrap()))));
        let mut large = BytesMut::from(&[0xff; 8][..]);
        assert_eq!(take(&mut large), Err(FrameError::TooLarge(0xffff_ffff)));
    }

    #[test]
    fn what_the_runner_never_sends_is_refused() {
        let deep = format!(r#"{{"kind":"chunk","value":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
        for body in
            ["", "[]", "{}", r#"{"kind":"call"}"#, r#"{"kind":"failure","code":"job_cancelled"}"#, &deep]
        {
            assert_eq!(decode(body.as_bytes()), Err(FrameError::Malformed), "{body}");
        }
    }

    #[test]
    fn a_result_that_is_too_large_is_a_failure_of_its_own() {
        let body = format!(r#"{{"kind":"result","value":"{}"}}"#, "x".repeat(limits::RESULT_BYTES));
        let Ok(Frame::Failure(_, error)) = decode(body.as_bytes()) else { panic!("it was taken") };
        assert_eq!(error.code, Code::OutputTooLarge);
    }
}
