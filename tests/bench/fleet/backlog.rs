//! A backlog: jobs are accepted while there is no worker, then one comes and works them off.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use protocol::action::Reuse;
use protocol::time::Timestamp;

use crate::actions::Action;
use crate::http::Connection;
use crate::load::{self, WIDTH};
use crate::memory::{self, Peak};
use crate::peers::{self, Peer};
use crate::session::Session;
use crate::sortie::Sortie;

/// Sortie with a backlog of so many.
pub(crate) async fn sortie(session: &mut Session, jobs: u64) -> anyhow::Result<()> {
    let action = Action::Noop(Reuse::Warm);
    let (setup, servers) = (session.setup.clone(), session.servers.clone());
    let mut sortie = Sortie::without_worker(&setup, &servers).await?;
    let ids = RefCell::new(vec![String::new(); usize::try_from(jobs)?]);
    let fill = async |connection: &mut Connection, n: u64| {
        let id = load::submit(connection, action, n).await?;
        ids.borrow_mut()[usize::try_from(n)?] = id;
        Ok(())
    };
    let filled = load::each(sortie.address, &sortie.key, WIDTH, |n| n < jobs, fill).await?;
    let ids = ids.into_inner();

    sortie.add_worker(&setup, &servers, session.options.slots())?;
    let peak = Peak::watch(sortie.pid("worker")?)?;
    last(&sortie, &ids).await?;
    let worker = peak.seen()?;
    let dispatcher = memory::of(sortie.pid("dispatcher")?)?;

    // Afterwards: a client that reads results while others are made would slow both.
    let ends = RefCell::new(Vec::new());
    let check = async |connection: &mut Connection, n: u64| {
        let end = load::finished(connection, &ids[usize::try_from(n)?], n).await?;
        ends.borrow_mut().push(end);
        Ok(())
    };
    load::each(sortie.address, &sortie.key, WIDTH, |n| n < jobs, check).await?;
    let span = span(&ends.into_inner())?;
    session.add(&format!("backlog.{jobs}.accepted_per_second"), filled.per_second());
    session.add(&format!("backlog.{jobs}.drained_per_second"), jobs as f64 / span.as_secs_f64());
    session.add(&format!("backlog.{jobs}.worker_mib"), worker);
    session.add(&format!("backlog.{jobs}.dispatcher_mib"), dispatcher);
    sortie.stop().await
}

/// From the first end to the last.
fn span(ends: &[Timestamp]) -> anyhow::Result<Duration> {
    let (first, last) = ends.iter().min().zip(ends.iter().max()).context("no job ended")?;
    Ok(last.since(*first))
}

/// Waits for the end of the last ones: jobs of a lane are taken in order.
async fn last(sortie: &Sortie, ids: &[String]) -> anyhow::Result<()> {
    let from = ids.len().saturating_sub(WIDTH);
    let waits = ids.iter().enumerate().skip(from).map(async |(n, id)| {
        let mut connection = Connection::open(sortie.address, &sortie.key).await?;
        load::finished(&mut connection, id, u64::try_from(n)?).await
    });
    try_join_all(waits).await.map(drop)
}

/// A peer with a backlog of so many.
pub(crate) async fn peer(session: &mut Session, peer: Peer, jobs: u64) -> anyhow::Result<()> {
    let (python, servers) = (session.python_of_peers()?, session.servers.clone());
    let jobs = jobs.to_string();
    let mut load = peers::Load::start(peer, &python, &servers, &["backlog", "--jobs", &jobs])?;
    let filled = load.line().await?;
    let worker = peers::Worker::start(peer, &python, &servers, None).await?;
    let peak = Peak::watch(worker.pid())?;
    let drained = load.line().await?;
    let rate = drained["per_second"].as_f64().context("no per_second")?;
    let accepted =
        filled["filled"].as_f64().zip(filled["fill_seconds"].as_f64()).context("no fill_seconds")?;
    let name = peer.name();
    session.figures.add(name, &format!("backlog.{jobs}.accepted_per_second"), accepted.0 / accepted.1);
    session.figures.add(name, &format!("backlog.{jobs}.drained_per_second"), rate);
    session.figures.add(name, &format!("backlog.{jobs}.worker_mib"), peak.seen()?);
    worker.stop().await
}
