//! The load generator at full speed: in a closed loop, where each connection has one job at a time, all jobs first and
//! then all results, or in batches. Every result is checked.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::future::try_join_all;
use protocol::time::Timestamp;

use crate::actions::{Action, Answers, Job};
use crate::http::Connection;
use crate::sortie::Sortie;

/// Connections of a closed loop.
pub(crate) const WIDTH: usize = 64;

/// Connections that submit batches, and the jobs of each batch.
const BATCHES: usize = 8;
const BATCH: u64 = 500;

/// How a caller gets the result of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// With the answer to the request: `Prefer: wait=60`.
    Prefer,
    /// `202` first, then `GET /v1/jobs/{id}?wait=60`.
    Poll,
    /// The same, but first all jobs and then all results: what the peers' clients do.
    All,
    /// Batches whose answer has the results: `POST /v1/jobs/batch` with `Prefer: wait=60`.
    Batch,
}

impl Style {
    /// The name in the figures of an action that is run in this way.
    pub(crate) fn name(self, action: Action) -> String {
        match self {
            Self::Prefer => action.name().to_owned(),
            Self::Poll => format!("{}_polled", action.name()),
            Self::All => format!("{}_all", action.name()),
            Self::Batch => format!("{}_batch", action.name()),
        }
    }
}

/// What a loop did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) jobs: u64,
    pub(crate) span: Duration,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.jobs as f64 / self.span.as_secs_f64()
    }
}

/// Submits job number `n` without waiting for its end; returns its id.
pub(crate) async fn submit(connection: &mut Connection, action: Action, n: u64) -> anyhow::Result<String> {
    let answer = connection.send("POST", "/v1/jobs", "", action.request(n).as_bytes()).await?;
    Ok(Job::read(&answer)?.id.to_owned())
}

/// Waits for the end of job number `n`, and says when that was.
pub(crate) async fn finished(connection: &mut Connection, id: &str, n: u64) -> anyhow::Result<Timestamp> {
    let path = format!("/v1/jobs/{id}?wait=60");
    loop {
        let job = Job::read(&connection.get(&path).await?)?;
        if let Some(end) = job.finished_at {
            job.check(n)?;
            return Ok(end);
        }
    }
}

/// Runs job number `n` to its end.
pub(crate) async fn one(
    connection: &mut Connection,
    action: Action,
    style: Style,
    n: u64,
) -> anyhow::Result<()> {
    if style != Style::Prefer {
        let id = submit(connection, action, n).await?;
        return finished(connection, &id, n).await.map(drop);
    }
    let wait = "prefer: wait=60\r\n";
    let answer = connection.send("POST", "/v1/jobs", wait, action.request(n).as_bytes()).await?;
    Job::read(&answer)?.check(n)
}

/// Runs an action until the time is over and the last results have come. The span is from the first request to the
/// last result.
pub(crate) async fn closed(
    sortie: &Sortie,
    action: Action,
    style: Style,
    span: Duration,
) -> anyhow::Result<Done> {
    let until = Instant::now() + span;
    let go_on = |_| Instant::now() < until;
    let work = async |connection: &mut Connection, n| one(connection, action, style, n).await;
    each(sortie.address, &sortie.key, WIDTH, go_on, work).await
}

/// Submits so many jobs, and then takes all results. The span is from the first request to the last result.
pub(crate) async fn all(sortie: &Sortie, action: Action, jobs: u64) -> anyhow::Result<Done> {
    let ids = RefCell::new(vec![String::new(); usize::try_from(jobs)?]);
    let began = Instant::now();
    let some_left = |n| n < jobs;
    each(sortie.address, &sortie.key, WIDTH, some_left, async |connection, n| {
        let id = submit(connection, action, n).await?;
        ids.borrow_mut()[usize::try_from(n)?] = id;
        Ok(())
    })
    .await?;
    let ids = ids.into_inner();
    each(sortie.address, &sortie.key, WIDTH, some_left, async |connection, n| {
        finished(connection, &ids[usize::try_from(n)?], n).await.map(drop)
    })
    .await?;
    Ok(Done { jobs, span: began.elapsed() })
}

/// Runs so many jobs in batches. The span is from the first request to the last result.
pub(crate) async fn batches(sortie: &Sortie, action: Action, jobs: u64) -> anyhow::Result<Done> {
    let count = jobs / BATCH;
    let run = async |connection: &mut Connection, batch: u64| {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let requests: Vec<_> = numbers.clone().map(|n| action.request(n)).collect();
        let body = format!(r#"{{"jobs":[{}]}}"#, requests.join(","));
        let wait = "prefer: wait=60\r\n";
        let answer = connection.send("POST", "/v1/jobs/batch", wait, body.as_bytes()).await?;
        let answers = Answers::read(&answer)?;
        ensure!(answers.jobs().count() == requests.len(), "a batch with {} answers", answers.jobs().count());
        answers.jobs().zip(numbers).try_for_each(|(job, n)| job?.check(n))
    };
    let done = each(sortie.address, &sortie.key, BATCHES, |batch| batch < count, run).await?;
    Ok(Done { jobs: count * BATCH, ..done })
}

/// Does something for each number from 0 on, on `width` connections, for as long as it is to go on.
pub(crate) async fn each(
    address: SocketAddr,
    key: &str,
    width: usize,
    go_on: impl Fn(u64) -> bool,
    work: impl AsyncFn(&mut Connection, u64) -> anyhow::Result<()>,
) -> anyhow::Result<Done> {
    let connections = try_join_all((0..width).map(|_| Connection::open(address, key))).await?;
    let (number, began) = (Cell::new(0), Instant::now());
    let loops = connections.into_iter().map(async |mut connection| {
        while go_on(number.get()) {
            let n = number.replace(number.get() + 1);
            work(&mut connection, n).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(loops).await?;
    Ok(Done { jobs: number.get(), span: began.elapsed() })
}
