//! Telling the store how an attempt ended, for as long as it takes, and only then the queue.

use protocol::job::JobSpec;
use protocol::limits;
use protocol::outcome::Verdict;
use protocol::ports::{Delivery, Finish, Finished, Kind};
use protocol::time::Timestamp;

use crate::backoff::Backoff;
use crate::worker::Bench;

/// Stores the ending of an attempt and acks its delivery, or gives it back if the job is to go on at once. While the store is away this goes on, until nobody
/// could read the job any more or the worker, drained, drops it; then the queue delivers the job again.
pub(crate) async fn report(bench: &Bench, delivery: Delivery, job: &JobSpec, attempt: u32, finish: &Finish) {
    let pointless = job.deadline.plus(limits::RETENTION);
    let mut backoff = Backoff::default();
    loop {
        match bench.ports.store.finish(job, attempt, finish).await {
            // The queue has it still: sooner than the outbox would publish it, someone else gets it.
            Ok(Finished::Recorded) if matches!(finish.verdict, Verdict::Requeue) => {
                return delivery.release();
            }
            Ok(Finished::Recorded) => {
                if !matches!(finish.verdict, Verdict::Retry { .. }) {
                    bench.offered.over(job.id);
                }
                return delivery.ack();
            }
            Ok(Finished::Late) => {
                bench.metrics.late_results.inc();
                tracing::warn!(outcome = finish.outcome.as_str(), "the result came too late and was dropped");
                return delivery.ack();
            }
            Err(error) if error.kind == Kind::Corrupt => {
                tracing::error!(error = &error as &dyn std::error::Error, "the job's record can't be read");
                return delivery.dead_letter("the job's record can't be read");
            }
            Err(error) if Timestamp::now() > pointless => {
                tracing::error!(error = &error as &dyn std::error::Error, "the result was given up");
                return delivery.ack();
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the result waits for the store");
                backoff.wait().await;
            }
        }
    }
}
