//! How long a job takes from its request to its result: with one client, and at half of the maximum rate.

use std::time::{Duration, Instant};

use bench::stats::percentile;
use protocol::action::Reuse;

use crate::actions::Action;
use crate::http::Connection;
use crate::load::{self, Style};
use crate::pace;
use crate::session::Session;
use crate::sortie::Sortie;

/// Jobs before those that count.
const WARM_UP: u64 = 30;

/// One job after the other.
pub(crate) async fn one_client(
    session: &mut Session,
    (who, sortie): (&str, &Sortie),
    action: Action,
    style: Style,
) -> anyhow::Result<()> {
    if !session.options.wants_action(action.name()) {
        return Ok(());
    }
    let mut connection = Connection::open(sortie.address, &sortie.key).await?;
    let mut times = Vec::new();
    for n in 0..WARM_UP + session.options.form.of(300, 1_000) {
        let began = Instant::now();
        load::one(&mut connection, action, style, n).await?;
        if n >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    add(session, who, &format!("latency.{}", style.name(action)), &times);
    Ok(())
}

/// At half of the rate that a closed loop reaches.
pub(crate) async fn half_rate(session: &mut Session, (who, sortie): (&str, &Sortie)) -> anyhow::Result<()> {
    let action = Action::Noop(Reuse::Warm);
    let maximum = match session.figures.newest(who, &format!("throughput.{}", action.name())) {
        Some(rate) => rate,
        None => load::closed(sortie, action, Style::Prefer, Duration::from_secs(2)).await?.per_second(),
    };
    let (rate, span) = (maximum / 2.0, Duration::from_secs(session.options.form.of(3, 10)));
    let times = pace::open(sortie, action, rate, span).await?;
    session.figures.add(who, "open.rate", rate);
    add(session, who, "open", &times);
    Ok(())
}

fn add(session: &mut Session, who: &str, what: &str, times: &[Duration]) {
    for percent in [50, 95, 99] {
        session.figures.add(who, &format!("{what}.p{percent}_ms"), percentile(times, percent));
    }
}
