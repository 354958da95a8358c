//! The start of a worker until a job that waited for it has its result.

use std::time::Instant;

use bench::stats::median;
use protocol::action::Reuse;

use crate::actions::Action;
use crate::http::Connection;
use crate::load;
use crate::peers::{self, Peer};
use crate::session::{SORTIE, Session};
use crate::sortie::Sortie;

const STARTS: usize = 3;

/// Sortie's.
pub(crate) async fn sortie(session: &mut Session) -> anyhow::Result<()> {
    let (setup, servers) = (session.setup.clone(), session.servers.clone());
    let mut sortie = Sortie::without_worker(&setup, &servers).await?;
    let mut times = Vec::new();
    for n in 0..STARTS as u64 {
        let mut connection = Connection::open(sortie.address, &sortie.key).await?;
        let id = load::submit(&mut connection, Action::Noop(Reuse::Fresh), n).await?;
        let began = Instant::now();
        sortie.add_worker(&setup, &servers, session.options.slots())?;
        load::finished(&mut connection, &id, n).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        sortie.stop_worker().await?;
    }
    session.figures.add(SORTIE, "start.first_result_ms", median(&times));
    sortie.stop().await
}

/// A peer's. Its client looks for results every 50 ms.
pub(crate) async fn peer(session: &mut Session, peer: Peer) -> anyhow::Result<()> {
    let (python, servers) = (session.python_of_peers()?, session.servers.clone());
    let mut load = peers::Load::start(peer, &python, &servers, &["backlog", "--jobs", "1"])?;
    load.line().await?;
    let began = Instant::now();
    let worker = peers::Worker::start(peer, &python, &servers, None).await?;
    load.line().await?;
    session.figures.add(peer.name(), "start.first_result_ms", began.elapsed().as_secs_f64() * 1000.0);
    worker.stop().await
}
