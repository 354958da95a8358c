//! Jobs per second from request to result, and what each of them costs in processor time.

use std::time::Duration;

use protocol::action::Reuse;

use crate::actions::Action;
use crate::load::{self, Style};
use crate::options::Form;
use crate::servers::Servers;
use crate::session::Session;
use crate::sortie::Sortie;
use crate::usage::{Reading, Usage, Watched};

/// Before the measurement: contents are read, validators compiled, processes are there.
const WARM_UP: Duration = Duration::from_millis(500);
/// Jobs that are submitted in batches, in the quick form and where each has a fresh process: they take seconds.
const BATCHED: u64 = 8_000;
/// The same of what is faster, in the full form: beginning and end, when not all are busy, are a small part.
const MANY_BATCHED: u64 = 40_000;

/// Measures one action of an installation, unless it isn't asked for.
pub(crate) async fn measure(
    session: &mut Session,
    (who, sortie): (&str, &Sortie),
    action: Action,
    style: Style,
) -> anyhow::Result<()> {
    if !session.options.wants_action(action.name()) {
        return Ok(());
    }
    load::closed(sortie, action, Style::Prefer, WARM_UP).await?;
    let watched = everybody(sortie, &session.servers);
    let before = Reading::take(&watched)?;
    let done = match style {
        Style::All => load::all(sortie, action, session.options.form.of(4_000, 12_000)).await?,
        Style::Batch => load::batches(sortie, action, batched(session.options.form, action)).await?,
        Style::Prefer | Style::Poll => load::closed(sortie, action, style, session.options.span()).await?,
    };
    let usage = before.until_now(&watched)?;
    let name = style.name(action);
    session.figures.add(who, &format!("throughput.{name}"), done.per_second());
    costs(session, who, &name, &usage, done.jobs);
    Ok(())
}

fn batched(form: Form, action: Action) -> u64 {
    match action {
        Action::Noop(Reuse::Warm) => form.of(BATCHED, MANY_BATCHED),
        _ => BATCHED,
    }
}

/// Adds what each job cost, by who worked for it.
pub(crate) fn costs(session: &mut Session, who: &str, name: &str, usage: &Usage, jobs: u64) {
    let figures = &mut session.figures;
    let per_job = |time: Duration| time.as_secs_f64() * 1_000_000.0 / jobs as f64;
    for (part, time) in &usage.used {
        figures.add(who, &format!("cpu.{name}.{part}"), per_job(*time));
    }
    figures.add(who, &format!("cpu.{name}.others"), per_job(usage.others()));
    figures.add(who, &format!("busy.{name}"), usage.machine.as_secs_f64() / usage.span.as_secs_f64());
}

/// This process, the installation's, and the servers.
pub(crate) fn everybody(sortie: &Sortie, servers: &Servers) -> Vec<Watched> {
    let mut watched = vec![Watched::alone("load", std::process::id())];
    watched.extend(sortie.watched());
    watched.extend(servers.watched());
    watched
}
