//! A job's events over connections that may break, and patience with a server that is away.

use std::time::Duration;

use protocol::event::{Event, EventKind};
use reqwest::{Method, Response};

use super::Client;
use crate::exit::{Exit, Failure};

/// Bears with a server that goes away for a while, when what is asked for can be asked for again. One that
/// was never there is not borne with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    left: u32,
}

impl Patience {
    /// After an answer: enough for about half a minute.
    pub(crate) const FULL: Self = Self { left: 10 };

    /// Waits a little, longer each time; gives the failure back if time doesn't mend it, or no patience is left.
    pub(crate) async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.exit != Exit::Unreachable || self.left == 0 {
            return Err(failure);
        }
        let pause = Duration::from_millis(100) * 2_u32.pow((Self::FULL.left - self.left).min(6));
        self.left -= 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// A stream of events. When the connection is lost it comes back and asks for what it has not seen.
pub(crate) struct Events {
    client: Client,
    job: String,
    /// Number of the last event that was handed out.
    last: u64,
    open: Option<(Response, Vec<u8>)>,
    ended: bool,
    patience: Patience,
}

/// Longer than any event can be.
const LINE_BYTES: usize = 8 * protocol::limits::RESULT_BYTES;

impl Events {
    pub(super) fn new(client: Client, job: &str, after: u64) -> Self {
        let patience = Patience::default();
        Self { client, job: job.to_owned(), last: after, open: None, ended: false, patience }
    }

    /// The next event; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        while !self.ended {
            match self.read().await {
                Ok(event) if event.seq <= self.last => {}
                Ok(event) => {
                    self.last = event.seq;
                    self.ended = event.kind == EventKind::Result;
                    return Ok(Some(event));
                }
                Err(failure) => {
                    self.open = None;
                    if failure.exit == Exit::Unreachable && self.is_over().await {
                        return Ok(None);
                    }
                    self.patience.bear(failure).await?;
                }
            }
        }
        Ok(None)
    }

    /// True if the job is over and has no event behind the last one: a reader who starts at the end gets an
    /// empty stream, which looks like a connection that was cut.
    async fn is_over(&self) -> bool {
        let job = self.client.get(&["v1", "jobs", &self.job], &[]).await;
        job.is_ok_and(|job| {
            !job.body["finished_at"].is_null() && job.body["last_seq"].as_u64() <= Some(self.last)
        })
    }

    /// The next line of the connection, which is opened if there is none.
    async fn read(&mut self) -> Result<Event, Failure> {
        let (response, buffer) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = ["v1", "jobs", &self.job, "events"];
                let request = self
                    .client
                    .request(Method::GET, &path, &[])?
                    .header("accept", "application/x-ndjson")
                    .header("last-event-id", self.last.to_string());
                let response = self.client.accepted(request).await?;
                self.patience = Patience::FULL;
                self.open.insert((response, Vec::new()))
            }
        };
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map_err(|_| self.client.stranger(200));
            }
            if buffer.len() > LINE_BYTES {
                return Err(self.client.stranger(200));
            }
            match response.chunk().await.map_err(|error| self.client.unreachable(&error))? {
                Some(bytes) => buffer.extend_from_slice(&bytes),
                None => {
                    return Err(Failure::new(
                        Exit::Unreachable,
                        "the server closed the stream before its end",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_and_is_only_for_servers_that_were_there() {
        let away = || Failure::new(Exit::Unreachable, "away");
        assert!(Patience::default().bear(away()).await.is_err());
        let begun = tokio::time::Instant::now();
        let mut patience = Patience::FULL;
        while patience.bear(away()).await.is_ok() {}
        assert!((20..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        let mut patience = Patience::FULL;
        assert!(patience.bear(Failure::new(Exit::Refused, "no")).await.is_err());
    }
}
