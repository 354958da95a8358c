//! One call: the conversation with its process, from the call frame to an answer or its death.

use bytes::BytesMut;
use protocol::error::{Code, JobError};
use protocol::json::Json;
use protocol::outcome::Ending;
use sandbox::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::code::Learn;
use super::frame::{self, Frame, FrameError};
use super::logs::{Merger, RawText};
use crate::handler::{EventSink, LogStream};

/// Raw output is read in pieces of this size.
const RAW_BYTES: usize = 16 * 1024;
/// How many pieces of raw output are looked at after the answer: what a pipe can hold.
const RAW_REST: usize = 4;
/// The runner's exit status when its channel is gone (sortie_runner/frames.py).
const CHANNEL_GONE: i32 = 70;

/// The process of a call, and our ends of its channel (two pipes) and of its raw output.
#[derive(Debug)]
pub(super) struct CallProcess {
    pub(super) process: Process,
    /// Call frames go to it by this. Both are pipes, for nothing but bytes can come out of a pipe.
    pub(super) calls: pipe::Sender,
    /// All other frames come by this.
    pub(super) answers: pipe::Receiver,
    pub(super) output: pipe::Receiver,
    /// Bytes of its answers that are no complete frame yet.
    pub(super) buffer: BytesMut,
}

/// How a conversation ended.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// With a result. `reusable` is true if nothing speaks against another call in the same process.
    Returned { value: Json, reusable: bool },
    /// With a failure that the runner told.
    Failed(JobError),
    /// The process ended, or closed its channel, without an answer.
    Ended(Exit),
    /// It sent what is no frame.
    Broke(FrameError),
    /// All processes of the call had more than this many MiB together and were killed.
    OutOfMemory(u32),
}

/// What is known about a process that gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Its exit status; if negative, the signal that killed it.
    Code(i32),
    /// It still ran, with its channel closed.
    StillRunning,
    /// It was killed together with its template.
    SlotLost,
}

impl CallProcess {
    /// Sends the `number`-th call and takes events until there is an answer; `None` if the channel closed without one.
    /// `learn` if the call is to tell its code first. Stopping in the middle (dropping the future) leaves the process as
    /// it is, and fit for nothing but killing.
    pub(super) async fn converse(
        &mut self,
        number: u32,
        call: &[u8],
        events: &EventSink,
        learn: Option<Learn<'_>>,
    ) -> Option<Answer> {
        let mut talk = Talk { number, events, learn, merger: Merger::default(), raw: RawText::default() };
        let mut raw_open = true;
        let mut piece = Vec::with_capacity(RAW_BYTES);
        // A process that is dead can't be written to; reading tells the same.
        let _ = self.calls.write_all(call).await;
        let answer = loop {
            tokio::select! {
                read = self.answers.read_buf(&mut self.buffer) => {
                    let open = read.is_ok_and(|size| size > 0);
                    match talk.hear(&mut self.buffer).await {
                        Ok(None) if open => {}
                        Ok(answer) => break answer,
                        Err(error) => break Some(Answer::Broke(error)),
                    }
                }
                read = self.output.read_buf(&mut piece), if raw_open => match read {
                    Ok(size) if size > 0 => talk.hear_raw(&mut piece).await,
                    _ => raw_open = false,
                },
            }
        };
        for _ in 0..RAW_REST {
            match self.output.try_read_buf(&mut piece) {
                Ok(size) if size > 0 => talk.hear_raw(&mut piece).await,
                _ => break,
            }
        }
        match answer {
            // More frames after the result: whatever it is, the process is not to be trusted again.
            Some(Answer::Returned { value, reusable }) => {
                Some(Answer::Returned { value, reusable: reusable && self.buffer.is_empty() })
            }
            answer => answer,
        }
    }
}

/// What goes from a process to the event sink.
struct Talk<'a> {
    number: u32,
    events: &'a EventSink,
    /// Until the first frame that is no log.
    learn: Option<Learn<'a>>,
    merger: Merger,
    raw: RawText,
}

impl Talk<'_> {
    /// Takes all complete frames; the answer if it is among them.
    async fn hear(&mut self, buffer: &mut BytesMut) -> Result<Option<Answer>, FrameError> {
        loop {
            let frame = frame::take(buffer);
            // Warnings of the compiler come before the code.
            let first =
                if matches!(frame, Ok(None | Some(Frame::Log(..)))) { None } else { self.learn.take() };
            if !matches!(frame, Ok(Some(Frame::Log(..)))) {
                let held = self.merger.take();
                self.log(held).await;
            }
            match frame? {
                None => return Ok(None),
                // Later, or unasked, it comes from the handler.
                Some(Frame::Code(code)) => first.ok_or(FrameError::Malformed)?.keep(code),
                // It could not be compiled.
                Some(Frame::Failure(number, error)) if first.is_some() && number == self.number => {
                    return Ok(Some(Answer::Failed(error)));
                }
                _ if first.is_some() => return Err(FrameError::Malformed),
                Some(Frame::Log(stream, text)) => {
                    let before = self.merger.push(stream, text);
                    self.log(before).await;
                }
                Some(Frame::Chunk(value)) => self.events.chunk(value).await,
                Some(Frame::Progress(fraction, message)) => {
                    self.events.progress(fraction, message.as_deref()).await;
                }
                // An answer to another call was made by the handler itself.
                Some(Frame::Result(number, ..) | Frame::Failure(number, _)) if number != self.number => {
                    return Err(FrameError::Malformed);
                }
                Some(Frame::Result(_, value, reusable)) => {
                    return Ok(Some(Answer::Returned { value, reusable }));
                }
                Some(Frame::Failure(_, error)) => return Ok(Some(Answer::Failed(error))),
            }
        }
    }

    /// Takes a piece of raw output out of its buffer.
    async fn hear_raw(&mut self, piece: &mut Vec<u8>) {
        let text = self.raw.push(piece).map(|text| (LogStream::Stdout, text));
        piece.clear();
        self.log(text).await;
    }

    async fn log(&self, piece: Option<(LogStream, String)>) {
        if let Some((stream, text)) = piece {
            self.events.log(stream, &text).await;
        }
    }
}

impl Answer {
    /// What the answer makes of the attempt.
    pub(super) fn into_ending(self) -> Ending {
        match self {
            Self::Returned { value, .. } => Ending::Returned(value),
            Self::Failed(error) => {
                // The same source can't compile or gain a function by another try.
                let retryable = !matches!(error.code, Code::HandlerInvalid | Code::HandlerMissing);
                Ending::Failed { error, retryable, retry_after: None }
            }
            Self::Ended(exit) => exit.into_ending(),
            Self::OutOfMemory(mb) => {
                let message =
                    format!("all processes of the call had more than its memory_mb of {mb} MiB together");
                failed(JobError::new(Code::OutOfMemory, message))
            }
            Self::Broke(error) => {
                let message = format!("the handler wrote to the channel of its process: {error}");
                failed(JobError::new(Code::HandlerCrashed, message))
            }
        }
    }
}

impl Exit {
    fn into_ending(self) -> Ending {
        match self {
            Self::Code(CHANNEL_GONE) | Self::StillRunning => failed(JobError::new(
                Code::HandlerExited,
                "the handler closed the channel of its process, so it can't answer",
            )),
            Self::Code(signal) if signal < 0 => {
                let message = format!("the handler's process was killed by {}", signal_name(-signal));
                Ending::Crashed(
                    JobError::new(Code::HandlerCrashed, message)
                        .with(serde_json::json!({"signal": signal_name(-signal)})),
                )
            }
            Self::Code(status) => failed(
                JobError::new(
                    Code::HandlerExited,
                    format!("the handler ended its process with exit status {status}"),
                )
                .with(serde_json::json!({"exit_status": status})),
            ),
            Self::SlotLost => Ending::Crashed(JobError::new(
                Code::HandlerCrashed,
                "the handler's process was killed together with its slot",
            )),
        }
    }
}

const fn failed(error: JobError) -> Ending {
    Ending::Failed { error, retryable: true, retry_after: None }
}

fn signal_name(number: i32) -> String {
    let known = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(ending: &Ending) -> (&'static str, Code) {
        match ending {
            Ending::Failed { error, .. } => ("failed", error.code),
            Ending::Crashed(error) => ("crashed", error.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_signal_is_a_crash() {
        assert_eq!(code(&Exit::Code(0).into_ending()), ("failed", Code::HandlerExited));
        assert_eq!(code(&Exit::Code(3).into_ending()), ("failed", Code::HandlerExited));
        assert_eq!(code(&Exit::StillRunning.into_ending()), ("failed", Code::HandlerExited));
        assert_eq!(code(&Exit::Code(-11).into_ending()), ("crashed", Code::HandlerCrashed));
        assert_eq!(code(&Exit::SlotLost.into_ending()), ("crashed", Code::HandlerCrashed));
    }

    #[test]
    fn source_that_can_not_run_is_not_tried_again() {
        for (code, again) in
            [(Code::HandlerInvalid, false), (Code::HandlerMissing, false), (Code::HandlerRaised, true)]
        {
            let ending = Answer::Failed(JobError::new(code, "x")).into_ending();
            assert!(matches!(ending, Ending::Failed { retryable, .. } if retryable == again));
        }
    }
}
