//! Waiting for a job to finish: watch, read, sleep until something changed. Nothing is polled, and a
//! caller who goes away frees the place at once.

use std::time::Duration;

use protocol::error::Problem;
use protocol::hub::Watch;
use protocol::id::JobId;
use protocol::job::Job;
use tokio::time::Instant;

use super::get::{get, no_job};
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake::Accepted;
use crate::trouble;

/// The job when it is finished, or as it is when the time is over or this process stops.
pub(crate) async fn wait(
    dispatcher: &Dispatcher,
    caller: &Caller,
    id: JobId,
    limit: Duration,
) -> Result<Job, Problem> {
    // First the watch, then the look: an end between the two would otherwise be missed.
    let watch = dispatcher.store().watch(id);
    let mut job = get(dispatcher, caller, id).await?;
    follow(dispatcher, &mut job, watch, limit).await?;
    Ok(job)
}

/// Waits for a job that was just accepted. Troubles end the waiting, not the job.
pub(crate) async fn await_accepted(dispatcher: &Dispatcher, accepted: Accepted, limit: Duration) -> Job {
    let Accepted { mut job, watch } = accepted;
    let following = async {
        let watch = match watch {
            Some(watch) => watch,
            None => {
                let watch = dispatcher.store().watch(job.spec.id);
                look(dispatcher, &mut job).await?;
                watch
            }
        };
        follow(dispatcher, &mut job, watch, limit).await
    };
    if let Err(problem) = following.await {
        tracing::warn!(job = %job.spec.id, %problem, "waiting for an accepted job was given up");
    }
    job
}

/// Waits until `job`, as it was after `watch` was made, is finished, the time is over, or this process stops; then it
/// is as it is.
async fn follow(
    dispatcher: &Dispatcher,
    job: &mut Job,
    mut watch: Watch,
    limit: Duration,
) -> Result<(), Problem> {
    let end = Instant::now() + limit.min(dispatcher.options().wait_ceiling);
    let _counted = (!job.state.is_terminal()).then(|| dispatcher.metrics().waiter());
    let mut over = limit.is_zero();
    while !over && !job.state.is_terminal() {
        tokio::select! {
            () = watch.ended() => {}
            () = tokio::time::sleep_until(end) => over = true,
            () = dispatcher.closing().cancelled() => over = true,
        }
        look(dispatcher, job).await?;
    }
    Ok(())
}

/// Reads the job again.
pub(super) async fn look(dispatcher: &Dispatcher, job: &mut Job) -> Result<(), Problem> {
    let now = dispatcher.store().again(job).await.map_err(trouble::problem)?;
    *job = now.ok_or_else(|| no_job(job.spec.id))?;
    Ok(())
}
