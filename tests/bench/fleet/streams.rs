//! Streams: how soon the first chunk is there, how many chunks a second one reader gets, and what a thousand readers of
//! one job see.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use bench::stats::percentile;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::actions::Job;
use crate::events::{Events, Told};
use crate::http::Connection;
use crate::session::Session;
use crate::sortie::Sortie;

/// Short streams whose first chunk is timed.
const STREAMS: usize = 30;
/// Chunks of a long one: as many as a handler may give at once.
const CHUNKS: u32 = 4_000;
const READERS: usize = 1_000;
/// Chunks that a thousand readers get as fast as they come.
const BURST: u32 = 100;
/// Chunks that they get one by one.
const PACED: u32 = 20;
/// Enough for all readers to be there before the first chunk.
const GATHER: f64 = 3.0;

/// Measures an installation.
pub(crate) async fn measure(session: &mut Session, (who, sortie): (&str, &Sortie)) -> anyhow::Result<()> {
    let mut first = Vec::new();
    for _ in 0..STREAMS {
        let began = Instant::now();
        let read = read(sortie, &submit(sortie, 5, 0.0, 0.0).await?).await?;
        first.push(read.first - began);
    }
    session.figures.add(who, "stream.first_chunk.p50_ms", percentile(&first, 50));
    session.figures.add(who, "stream.first_chunk.p99_ms", percentile(&first, 99));

    let long = read(sortie, &submit(sortie, CHUNKS, 0.0, 0.0).await?).await?;
    ensure!(long.delays.len() == CHUNKS as usize, "a reader saw {} chunks", long.delays.len());
    session.figures.add(who, "stream.chunks_per_second", f64::from(CHUNKS) / long.span().as_secs_f64());

    let (burst, span) = crowd(sortie, BURST, 0.0).await?;
    session.figures.add(who, "stream.readers.chunks_per_second", burst.len() as f64 / span.as_secs_f64());
    let (paced, _) = crowd(sortie, PACED, 0.1).await?;
    session.figures.add(who, "stream.readers.delay.p50_ms", percentile(&paced, 50));
    session.figures.add(who, "stream.readers.delay.p99_ms", percentile(&paced, 99));
    Ok(())
}

/// A thousand readers of one job: the delay of each chunk at each of them, and the time from the first chunk that
/// anybody got to the last.
async fn crowd(sortie: &Sortie, chunks: u32, pause: f64) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let job = submit(sortie, chunks, pause, GATHER).await?;
    let all = try_join_all((0..READERS).map(|_| read(sortie, &job))).await?;
    let first = all.iter().map(|read| read.first).min().unwrap_or_else(Instant::now);
    let end = all.iter().map(|read| read.end).max().unwrap_or(first);
    let delays: Vec<Duration> = all.into_iter().flat_map(|read| read.delays).collect();
    ensure!(delays.len() == READERS * chunks as usize, "the readers saw {} chunks in all", delays.len());
    Ok((delays, end - first))
}

async fn submit(sortie: &Sortie, chunks: u32, pause: f64, wait: f64) -> anyhow::Result<String> {
    let mut connection = Connection::open(sortie.address, &sortie.key).await?;
    let body =
        json!({"action": "stream", "input": {"chunks": chunks, "pause": pause, "wait": wait}}).to_string();
    let answer = connection.send("POST", "/v1/jobs", "", body.as_bytes()).await?;
    Ok(Job::read(&answer)?.id.to_owned())
}

/// What one reader saw.
struct Read {
    first: Instant,
    end: Instant,
    /// From when the handler gave a chunk until it was here.
    delays: Vec<Duration>,
}

impl Read {
    fn span(&self) -> Duration {
        self.end - self.first
    }
}

async fn read(sortie: &Sortie, job: &str) -> anyhow::Result<Read> {
    let mut events = Events::open(sortie, job).await?;
    let (mut first, mut delays) = (None, Vec::new());
    while let Told::Chunk(given) = events.next().await? {
        first.get_or_insert_with(Instant::now);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        delays.push(Duration::from_secs_f64((now - given).max(0.0)));
    }
    let end = Instant::now();
    Ok(Read { first: first.unwrap_or(end), end, delays })
}
