//! Waiting for many jobs at once: who asks wants all of them, so none is read before the last one may have ended.

use std::time::Duration;

use futures_util::{StreamExt, stream};
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

/// A job that isn't known to be over.
struct Open {
    /// Where it stands among those that were asked for.
    place: usize,
    job: Job,
    watch: Watch,
}

/// The jobs that are not waited for any more, each with its place.
struct Over {
    jobs: Vec<(usize, Job)>,
    room: Room,
}

/// Waits for jobs that were just accepted; gives them back, in their order, when all are finished, or as they are when the
/// time is over. Troubles end the waiting, not the jobs.
pub(crate) async fn await_all_accepted(
    dispatcher: &Dispatcher,
    accepted: Vec<Accepted>,
    limit: Duration,
) -> Vec<Job> {
    let end = Instant::now() + limit.min(dispatcher.options().wait_ceiling);
    let _counted = dispatcher.metrics().waiter();
    let (mut over, mut done) = (Over { jobs: Vec::new(), room: Room::of_batch() }, false);
    let (new, known): (Vec<_>, Vec<_>) =
        accepted.into_iter().enumerate().partition(|(_, one)| one.watch.is_some());
    let open = |(place, Accepted { job, watch })| {
        let watch = watch.unwrap_or_else(|| dispatcher.store().watch(job.spec.id));
        Open { place, job, watch }
    };
    // A job of an earlier request may have ended before it is watched here.
    let mut waiting = look_at(dispatcher, known.into_iter().map(open).collect(), &mut over).await;
    waiting.extend(new.into_iter().map(open));
    while !done && !waiting.is_empty() {
        let ends = async {
            // One after the other: those that end while another one is waited for wake nobody.
            for open in &mut waiting {
                open.watch.ended().await;
            }
        };
        tokio::select! {
            () = ends => {}
            () = tokio::time::sleep_until(end) => done = true,
            () = dispatcher.closing().cancelled() => done = true,
        }
        waiting = look_at(dispatcher, waiting, &mut over).await;
    }
    over.jobs.extend(waiting.into_iter().map(|open| (open.place, open.job)));
    over.jobs.sort_unstable_by_key(|(place, _)| *place);
    over.jobs.into_iter().map(|(_, job)| job).collect()
}

/// Reads the jobs again, and returns those that are still open. The others, and those that can't be read now, are `over`.
async fn look_at(dispatcher: &Dispatcher, jobs: Vec<Open>, over: &mut Over) -> Vec<Open> {
    let read = async |mut open: Open| {
        let looked = look(dispatcher, &mut open.job).await;
        (open, looked)
    };
    let mut read = stream::iter(jobs).map(read).buffered(AT_ONCE);
    let (mut waiting, mut trouble) = (Vec::new(), None::<Problem>);
    while let Some((open, looked)) = read.next().await {
        if looked.is_ok() && !open.job.state.is_terminal() {
            waiting.push(open);
        } else {
            over.jobs.push((open.place, over.room.fit(open.job)));
        }
        trouble = trouble.or(looked.err());
    }
    if let Some(problem) = trouble {
        tracing::warn!(%problem, "waiting for accepted jobs was given up");
    }
    waiting
}
