//! Reading a job's stream of server-sent events, and checking that none is missing.

use anyhow::ensure;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{Body, Connection};
use crate::sortie::Sortie;

/// A job's events as they come.
pub(crate) struct Events {
    body: Body,
    text: Vec<u8>,
    at: usize,
    last: u64,
}

#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    seq: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What a handler says with a chunk: when it gave it, in seconds since the epoch.
#[derive(Debug, Deserialize)]
struct Chunk {
    at: f64,
}

/// How a job ended.
#[derive(Debug, Deserialize)]
struct End<'a> {
    state: &'a str,
}

/// What is of interest in a stream.
pub(crate) enum Told {
    /// A chunk, with the second since the epoch at which the handler gave it.
    Chunk(f64),
    /// The job's end.
    Result,
}

impl Events {
    /// Opens the stream of a job from its beginning.
    pub(crate) async fn open(sortie: &Sortie, job: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(sortie.address, &sortie.key).await?;
        let body = connection.stream(&format!("/v1/jobs/{job}/events")).await?;
        Ok(Self { body, text: Vec::new(), at: 0, last: 0 })
    }

    /// The next chunk, or the end of the job.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Told> {
        loop {
            while let Some(length) = memmem::find(&self.text[self.at..], b"\n\n") {
                let block = &self.text[self.at..self.at + length];
                self.at += length + 2;
                let Some(data) = memmem::find(block, b"data:") else { continue };
                let event: Event = serde_json::from_slice(&block[data + b"data:".len()..])?;
                ensure!(event.seq == self.last + 1, "event {} came after {}", event.seq, self.last);
                self.last = event.seq;
                match event.kind {
                    "chunk" => return Ok(Told::Chunk(serde_json::from_str::<Chunk>(event.data.get())?.at)),
                    "result" => {
                        let end: End = serde_json::from_str(event.data.get())?;
                        ensure!(end.state == "succeeded", "the job {}: {}", end.state, event.data);
                        return Ok(Told::Result);
                    }
                    _ => {}
                }
            }
            self.text.drain(..self.at);
            self.at = 0;
            ensure!(self.body.read(&mut self.text).await?, "the stream ended before the job");
        }
    }
}
