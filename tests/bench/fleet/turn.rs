//! One turn of Sortie in a round: everything that is measured in alternation with the peers.

use protocol::action::Reuse;

use crate::actions::Action;
use crate::load::Style;
use crate::options::{Form, Part};
use crate::session::{CLASSIC, EMBEDDED, SORTIE, Session};
use crate::sortie::Sortie;
use crate::{latency, throughput};

/// Slots where handlers wait.
pub(crate) const MANY_SLOTS: usize = 8;

/// Over RabbitMQ and Redis.
pub(crate) async fn distributed(session: &mut Session) -> anyhow::Result<()> {
    let sortie = Sortie::distributed(&session.setup, &session.servers, session.options.slots()).await?;
    busy(session, (SORTIE, &sortie)).await?;
    sortie.stop().await?;
    if waiting(session).next().is_some() {
        let sortie = Sortie::distributed(&session.setup, &session.servers, MANY_SLOTS).await?;
        wait(session, (SORTIE, &sortie)).await?;
        sortie.stop().await?;
    }
    Ok(())
}

/// The same with classic queues, where that makes a difference: they hand a message out before it is on the disk.
pub(crate) async fn classic(session: &mut Session) -> anyhow::Result<()> {
    let sortie = Sortie::classic(&session.setup, &session.servers, session.options.slots()).await?;
    let (warm, fresh) = (Action::Noop(Reuse::Warm), Action::Noop(Reuse::Fresh));
    if session.options.wants(Part::Throughput) {
        throughput::measure(session, (CLASSIC, &sortie), warm, Style::Batch).await?;
        throughput::measure(session, (CLASSIC, &sortie), fresh, Style::Batch).await?;
    }
    if session.options.wants(Part::Latency) {
        latency::one_client(session, (CLASSIC, &sortie), warm, Style::Prefer).await?;
        latency::one_client(session, (CLASSIC, &sortie), warm, Style::Poll).await?;
        latency::one_client(session, (CLASSIC, &sortie), fresh, Style::Prefer).await?;
    }
    sortie.stop().await
}

/// In one process over the embedded store.
pub(crate) async fn embedded(session: &mut Session) -> anyhow::Result<()> {
    let sortie = Sortie::embedded(&session.setup, session.options.slots()).await?;
    busy(session, (EMBEDDED, &sortie)).await?;
    sortie.stop().await
}

/// Handlers that need the processor. The quick form leaves out what differs little from the rest.
async fn busy(session: &mut Session, sortie: (&str, &Sortie)) -> anyhow::Result<()> {
    let (warm, fresh) = (Action::Noop(Reuse::Warm), Action::Noop(Reuse::Fresh));
    let all = session.options.form == Form::Full;
    if session.options.wants(Part::Throughput) {
        throughput::measure(session, sortie, warm, Style::Batch).await?;
        throughput::measure(session, sortie, warm, Style::All).await?;
        throughput::measure(session, sortie, warm, Style::Prefer).await?;
        throughput::measure(session, sortie, fresh, Style::Batch).await?;
        throughput::measure(session, sortie, fresh, Style::All).await?;
        throughput::measure(session, sortie, fresh, Style::Prefer).await?;
        if all || sortie.0 == SORTIE {
            throughput::measure(session, sortie, warm, Style::Poll).await?;
            throughput::measure(session, sortie, Action::Cpu(Reuse::Warm), Style::Prefer).await?;
            throughput::measure(session, sortie, Action::Http, Style::Prefer).await?;
        }
        if all {
            throughput::measure(session, sortie, Action::Cpu(Reuse::Fresh), Style::Prefer).await?;
        }
    }
    if session.options.wants(Part::Latency) {
        latency::one_client(session, sortie, warm, Style::Prefer).await?;
        latency::one_client(session, sortie, fresh, Style::Prefer).await?;
        if all {
            latency::one_client(session, sortie, warm, Style::Poll).await?;
        }
        latency::half_rate(session, sortie).await?;
    }
    if session.options.wants(Part::Throughput) {
        // Last, as its slots keep the libraries for a while.
        throughput::measure(session, sortie, Action::Libraries, Style::Batch).await?;
    }
    Ok(())
}

/// Handlers that wait.
async fn wait(session: &mut Session, sortie: (&str, &Sortie)) -> anyhow::Result<()> {
    for action in waiting(session).collect::<Vec<_>>() {
        throughput::measure(session, sortie, action, Style::Prefer).await?;
    }
    Ok(())
}

/// Those of them that are asked for.
fn waiting(session: &Session) -> impl Iterator<Item = Action> {
    let options = &session.options;
    let all =
        options.form.of(&[Reuse::Warm][..], &[Reuse::Warm, Reuse::Fresh]).iter().copied().map(Action::Wait);
    all.filter(|action| options.wants(Part::Throughput) && options.wants_action(action.name()))
}
