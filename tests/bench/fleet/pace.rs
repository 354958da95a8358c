//! The load generator in an open loop: jobs come at a fixed rate whatever became of those before, and each is timed
//! from when it should have been sent. So a stall counts for every job that it delayed, and not once.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::actions::Action;
use crate::http::Connection;
use crate::load::{self, Style};
use crate::sortie::Sortie;

/// Connections that are open when it begins; more are opened when all are busy.
const CONNECTIONS: usize = 64;

/// The time of each job at `rate` jobs a second.
pub(crate) async fn open(
    sortie: &Sortie,
    action: Action,
    rate: f64,
    span: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let connections = (0..CONNECTIONS).map(|_| Connection::open(sortie.address, &sortie.key));
    let idle = RefCell::new(try_join_all(connections).await?);
    let job = async |n: u64, intended: Instant| {
        let taken = idle.borrow_mut().pop();
        let mut connection = match taken {
            Some(connection) => connection,
            None => Connection::open(sortie.address, &sortie.key).await?,
        };
        load::one(&mut connection, action, Style::Prefer, n).await?;
        idle.borrow_mut().push(connection);
        anyhow::Ok(intended.elapsed())
    };
    let mut pace = pace(rate, span)?;
    let (mut flights, mut times, mut paced) = (FuturesUnordered::new(), Vec::new(), true);
    while paced || !flights.is_empty() {
        tokio::select! {
            next = pace.recv(), if paced => match next {
                Some((n, intended)) => flights.push(job(n, intended)),
                None => paced = false,
            },
            Some(time) = flights.next(), if !flights.is_empty() => times.push(time?),
        }
    }
    Ok(times)
}

/// Numbers, each at its instant. A thread of its own: the runtime's timers are a millisecond coarse.
fn pace(rate: f64, span: Duration) -> anyhow::Result<UnboundedReceiver<(u64, Instant)>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let tell = move || {
        let began = Instant::now();
        for n in 0.. {
            let due = Duration::from_secs_f64(n as f64 / rate);
            if due > span {
                return;
            }
            let intended = began + due;
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            if sender.send((n, intended)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("pace".into()).spawn(tell).context("starting a thread")?;
    Ok(receiver)
}
