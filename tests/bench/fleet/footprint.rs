//! What an installation with eight slots takes while nothing happens, and its memory while all slots are busy.

use std::time::Duration;

use bench::process::{self, Tree};
use protocol::action::Reuse;

use crate::actions::Action;
use crate::load::{self, Style};
use crate::memory::{self, Peak};
use crate::options::Form;
use crate::peers::{self, Peer};
use crate::session::{EMBEDDED, SORTIE, Session};
use crate::sortie::Sortie;
use crate::turn::MANY_SLOTS;
use crate::usage::{Reading, Watched};

/// After the first jobs, until everything is at rest.
const REST: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(2);

/// Sortie over its servers, and in one process.
pub(crate) async fn sortie(session: &mut Session) -> anyhow::Result<()> {
    let sortie = Sortie::distributed(&session.setup, &session.servers, MANY_SLOTS).await?;
    measure(session, SORTIE, &sortie, "worker").await?;
    sortie.stop().await?;
    if session.options.form == Form::Full {
        let sortie = Sortie::embedded(&session.setup, MANY_SLOTS).await?;
        measure(session, EMBEDDED, &sortie, "serve").await?;
        sortie.stop().await?;
    }
    Ok(())
}

async fn measure(session: &mut Session, who: &str, sortie: &Sortie, role: &str) -> anyhow::Result<()> {
    let (worker, dispatcher) = (sortie.pid(role)?, sortie.pid("dispatcher").ok());
    load::closed(sortie, Action::Noop(Reuse::Fresh), Style::Prefer, Duration::from_secs(1)).await?;
    tokio::time::sleep(REST).await;
    session.figures.add(who, "memory.worker.idle_mib", memory::of(worker)?);
    if let Some(dispatcher) = dispatcher {
        session.figures.add(who, "memory.dispatcher.idle_mib", memory::of(dispatcher)?);
    }
    let mut watched = sortie.watched();
    watched.extend(session.servers.watched());
    idle(session, who, &watched).await?;
    for (name, action) in [("warm", Action::Wait(Reuse::Warm)), ("fresh", Action::Wait(Reuse::Fresh))] {
        let peak = Peak::watch(worker)?;
        load::closed(sortie, action, Style::Prefer, BUSY).await?;
        session.figures.add(who, &format!("memory.worker.busy_{name}_mib"), peak.seen()?);
    }
    if let Some(dispatcher) = dispatcher {
        session.figures.add(who, "memory.dispatcher.after_mib", memory::of(dispatcher)?);
    }
    Ok(())
}

/// A peer's worker with as many processes.
pub(crate) async fn peer(session: &mut Session, peer: Peer) -> anyhow::Result<()> {
    let (python, servers) = (session.python_of_peers()?, session.servers.clone());
    let worker = peers::Worker::start(peer, &python, &servers, Some(MANY_SLOTS)).await?;
    peers::load(peer, &python, &servers, &["throughput", "--jobs", "200"]).await?;
    tokio::time::sleep(REST).await;
    session.figures.add(peer.name(), "memory.worker.idle_mib", memory::of(worker.pid())?);
    let mut watched = vec![worker.watched()];
    watched.extend(servers.watched());
    idle(session, peer.name(), &watched).await?;
    let peak = Peak::watch(worker.pid())?;
    peers::load(peer, &python, &servers, &["throughput", "--task", "wait", "--jobs", "300"]).await?;
    session.figures.add(peer.name(), "memory.worker.busy_warm_mib", peak.seen()?);
    let processes =
        Tree::read()?.descendants(worker.pid()).into_iter().filter(|pid| process::cpu(*pid).is_some());
    session.figures.add(peer.name(), "memory.worker.processes", processes.count() as f64 + 1.0);
    worker.stop().await
}

/// The share of a processor that everybody uses while there are no jobs, in percent.
async fn idle(session: &mut Session, who: &str, watched: &[Watched]) -> anyhow::Result<()> {
    let span = Duration::from_secs(session.options.form.of(6, 20));
    let before = Reading::take(watched)?;
    tokio::time::sleep(span).await;
    let usage = before.until_now(watched)?;
    for (part, time) in &usage.used {
        let percent = time.as_secs_f64() / usage.span.as_secs_f64() * 100.0;
        session.figures.add(who, &format!("idle.{part}_percent"), percent);
    }
    Ok(())
}
