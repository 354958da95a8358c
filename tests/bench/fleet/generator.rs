//! What the load generator itself can do: against a server in this process that does next to nothing.

use std::time::{Duration, Instant};

use bench::process;
use protocol::action::Reuse;

use crate::actions::Action;
use crate::load::{self, Style};
use crate::session::Session;

const SPAN: Duration = Duration::from_secs(1);
const KEY: &str = "sk_0000000000000000000000000000000000000000000000000000000000bench";

/// Its most requests a second, and what each of them costs it.
pub(crate) async fn measure(session: &mut Session) -> anyhow::Result<()> {
    let (until, before) = (Instant::now() + SPAN, process::thread_cpu()?);
    let action = Action::Noop(Reuse::Warm);
    let work = async |connection: &mut _, n| load::one(connection, action, Style::Prefer, n).await;
    let done = load::each(session.setup.target, KEY, load::WIDTH, |_| Instant::now() < until, work).await?;
    // All of the generator is in this thread; the server has one of its own.
    let cost = (process::thread_cpu()? - before).as_secs_f64() * 1_000_000.0 / done.jobs as f64;
    session.add("generator.per_second", done.per_second());
    session.add("generator.cpu_us", cost);
    Ok(())
}
