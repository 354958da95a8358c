//! Waiting for a job to finish: watch, read, sleep until something changed. Nothing is polled, and a
//! caller who goes away frees the place at once.

use std::time::Duration;

use protocol::error::Problem;
use protocol::id::JobId;
use protocol::job::Job;
use tokio::time::Instant;

use super::get::{get, no_job};
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// The job when it is finished, or as it is when the time is over or this process stops.
pub(crate) async fn wait(
    dispatcher: &Dispatcher,
    caller: &Caller,
    id: JobId,
    limit: Duration,
) -> Result<Job, Problem> {
    let mut job = get(dispatcher, caller, id).await?;
    follow(dispatcher, &mut job, limit).await?;
    Ok(job)
}

/// Waits for a job that was just accepted. Troubles end the waiting, not the job.
pub(crate) async fn await_accepted(dispatcher: &Dispatcher, mut job: Job, limit: Duration) -> Job {
    if let Err(problem) = follow(dispatcher, &mut job, limit).await {
        tracing::warn!(job = %job.spec.id, %problem, "waiting for an accepted job was given up");
    }
    job
}

/// Keeps `job` up to date until it is finished, the time is over, or this process stops.
async fn follow(dispatcher: &Dispatcher, job: &mut Job, limit: Duration) -> Result<(), Problem> {
    if job.state.is_terminal() {
        return Ok(());
    }
    let _counted = dispatcher.metrics().waiter();
    let (store, id) = (dispatcher.store(), job.spec.id);
    let end = Instant::now() + limit.min(dispatcher.options().wait_ceiling);
    // First the watch, then the look: a change between the two would otherwise be missed.
    let mut watch = store.watch(id);
    loop {
        let now = store.get(&job.spec.tenant, id).await.map_err(trouble::problem)?;
        *job = now.ok_or_else(|| no_job(id))?;
        if job.state.is_terminal() {
            return Ok(());
        }
        tokio::select! {
            () = watch.changed() => {}
            () = tokio::time::sleep_until(end) => return Ok(()),
            () = dispatcher.closing().cancelled() => return Ok(()),
        }
    }
}
