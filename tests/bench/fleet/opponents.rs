//! One turn of a peer in a round: the same that is measured of Sortie, as far as the peer has it.

use anyhow::Context;
use serde_json::Value;

use crate::options::Part;
use crate::peers::{self, Peer, Worker};
use crate::session::Session;
use crate::throughput;
use crate::turn::MANY_SLOTS;
use crate::usage::Reading;

/// Jobs that a peer's client runs before those that count: they cost too.
const WARM_UP: u64 = 200;

/// All of it.
pub(crate) async fn turn(session: &mut Session, peer: Peer) -> anyhow::Result<()> {
    let (python, servers, form) = (session.python_of_peers()?, session.servers.clone(), session.options.form);
    let worker = Worker::start(peer, &python, &servers, None).await?;
    if session.options.wants(Part::Throughput) {
        throughput(session, peer, &worker, "noop", form.of(1_000, 8_000)).await?;
        throughput(session, peer, &worker, "cpu", form.of(700, 5_000)).await?;
    }
    if session.options.wants(Part::Latency) {
        let jobs = form.of("200", "1000");
        let told = peers::load(peer, &python, &servers, &["latency", "--jobs", jobs]).await?;
        percentiles(session, peer, "latency.noop", &told)?;
        if let Some(maximum) = session.figures.newest(peer.name(), "throughput.noop") {
            let (rate, seconds) = ((maximum / 2.0).to_string(), form.of("3", "10"));
            let open = ["open", "--rate", &rate, "--seconds", seconds];
            let told = peers::load(peer, &python, &servers, &open).await?;
            session.figures.add(peer.name(), "open.rate", maximum / 2.0);
            percentiles(session, peer, "open", &told)?;
        }
    }
    worker.stop().await?;
    if session.options.wants(Part::Throughput) {
        let worker = Worker::start(peer, &python, &servers, Some(MANY_SLOTS)).await?;
        throughput(session, peer, &worker, "wait", form.of(200, 1_200)).await?;
        worker.stop().await?;
    }
    Ok(())
}

async fn throughput(
    session: &mut Session,
    peer: Peer,
    worker: &Worker,
    task: &str,
    jobs: u64,
) -> anyhow::Result<()> {
    let (python, servers) = (session.python_of_peers()?, session.servers.clone());
    let mut watched = vec![worker.watched()];
    watched.extend(servers.watched());
    let before = Reading::take(&watched)?;
    let count = jobs.to_string();
    let told =
        peers::load(peer, &python, &servers, &["throughput", "--task", task, "--jobs", &count]).await?;
    let usage = before.until_now(&watched)?;
    session.figures.add(peer.name(), &format!("throughput.{task}"), number(&told, "per_second")?);
    throughput::costs(session, peer.name(), task, &usage, jobs + WARM_UP);
    Ok(())
}

fn percentiles(session: &mut Session, peer: Peer, what: &str, told: &Value) -> anyhow::Result<()> {
    for name in ["p50_ms", "p95_ms", "p99_ms"] {
        session.figures.add(peer.name(), &format!("{what}.{name}"), number(told, name)?);
    }
    Ok(())
}

fn number(told: &Value, name: &str) -> anyhow::Result<f64> {
    told[name].as_f64().with_context(|| format!("a client told no {name}: {told}"))
}
