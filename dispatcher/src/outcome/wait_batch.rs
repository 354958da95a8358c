//! Waiting for the jobs of a batch: who asks wants all of them, so none is read before the last one may have ended.

use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt};
use protocol::error::Problem;
use protocol::hub::Watch;
use protocol::job::Job;
use tokio::time::Instant;

use super::room::Room;
use super::wait::look;
use crate::dispatcher::Dispatcher;
use crate::intake::Accepted;

/// Jobs that are read at the same time.
const AT_ONCE: usize = 64;

/// A job of the batch.
struct Awaited {
    job: Job,
    watch: Watch,
    /// Whether it is waited for: not any more once it is over, or can't be read.
    open: bool,
    /// Whether its job is of an earlier request, and may have ended before it was watched.
    known: bool,
}

/// Waits for jobs that were just accepted; gives all of them back when all are finished, or as they are when the time is
/// over. Troubles end the waiting, not the jobs.
pub(crate) async fn await_batch(
    dispatcher: &Dispatcher,
    answers: Vec<Result<Accepted, Problem>>,
    limit: Duration,
) -> Vec<Result<Job, Problem>> {
    let end = Instant::now() + limit.min(dispatcher.options().wait_ceiling);
    let _counted = dispatcher.metrics().waiter();
    let begin = |Accepted { job, watch }: Accepted| {
        let (known, watch) =
            (watch.is_none(), watch.unwrap_or_else(|| dispatcher.store().watch(job.spec.id)));
        Awaited { job, watch, open: true, known }
    };
    let mut batch: Vec<_> = answers.into_iter().map(|answer| answer.map(begin)).collect();
    let (mut room, mut done) = (Room::of_batch(), false);
    look_at(dispatcher, batch.iter_mut().flatten().filter(|one| one.known).collect(), &mut room).await;
    while !done && batch.iter().flatten().any(|one| one.open) {
        let ends = async {
            // One after the other: those that end while another one is waited for wake nobody.
            for one in batch.iter_mut().flatten().filter(|one| one.open) {
                one.watch.ended().await;
            }
        };
        tokio::select! {
            () = ends => {}
            () = tokio::time::sleep_until(end) => done = true,
            () = dispatcher.closing().cancelled() => done = true,
        }
        look_at(dispatcher, batch.iter_mut().flatten().filter(|one| one.open).collect(), &mut room).await;
    }
    batch.into_iter().map(|answer| answer.map(|one| one.job)).collect()
}

/// Reads jobs again. Those that are over, and those that can't be read now, are not waited for any more.
async fn look_at(dispatcher: &Dispatcher, jobs: Vec<&mut Awaited>, room: &mut Room) {
    let (mut jobs, mut reading, mut trouble) = (jobs.into_iter(), FuturesOrdered::new(), None);
    loop {
        reading.extend(jobs.by_ref().take(AT_ONCE - reading.len()).map(|one| reread(dispatcher, one)));
        let Some((one, looked)) = reading.next().await else { break };
        if looked.is_err() || one.job.state.is_terminal() {
            one.open = false;
            room.fit(&mut one.job);
        }
        trouble = trouble.or(looked.err());
    }
    if let Some(problem) = trouble {
        tracing::warn!(%problem, "waiting for accepted jobs was given up");
    }
}

async fn reread<'a>(dispatcher: &Dispatcher, one: &'a mut Awaited) -> (&'a mut Awaited, Result<(), Problem>) {
    let looked = look(dispatcher, &mut one.job).await;
    (one, looked)
}
