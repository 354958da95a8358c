//! Puts a recorded job on the queue. The record has an outbox mark until the queue has confirmed, so a
//! failure here only delays: the outbox sweep publishes what stayed.

use std::time::{Duration, Instant};

use protocol::job::JobSpec;
use protocol::ports::{Confirmed, Retry};

use super::marks;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// The time that all jobs of one message may take one after the other: so long may one of them have to wait although
/// another worker is free.
const TOGETHER: Duration = Duration::from_millis(25);
/// The same for jobs of a batch that is large enough: its last job waits for longer in any case.
const TOGETHER_IN_BATCH: Duration = Duration::from_millis(100);
/// A batch is so many messages at least, as far as that is for [`TOGETHER_IN_BATCH`]: other workers get some of it.
const PARTS: u128 = 8;
/// The most jobs that share a message.
const MOST: u128 = 64;

/// Publishes the job, one of so many that came in the same request, and waits for the confirm. True if the queue has
/// the job.
pub(crate) async fn publish(dispatcher: &Dispatcher, spec: &JobSpec, came: usize) -> bool {
    let (began, pace) = (Instant::now(), dispatcher.store().pace(&spec.content_hash));
    if let Err(error) = dispatcher.queue().publish_together(spec, together(pace, came)).await {
        let cause = trouble::causes(&error);
        tracing::warn!(job = %spec.id, cause, "not published; the outbox tries again");
        // One job that the queue can't take says nothing about the others.
        if error.retry() == Retry::Later {
            dispatcher.queue_health().failed(&cause);
        }
        return false;
    }
    dispatcher.queue_health().works();
    marks::clear_soon(dispatcher, Confirmed { job: spec.id, began });
    true
}

/// How many jobs may share a message where a call takes so long and so many came together.
fn together(pace: Option<Duration>, came: usize) -> usize {
    let fit = pace.map_or(1, |pace| {
        let fit = |time: Duration| time.as_micros() / pace.as_micros().max(1);
        fit(TOGETHER).max(fit(TOGETHER_IN_BATCH).min(came as u128 / PARTS))
    });
    usize::try_from(fit.clamp(1, MOST)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_are_known_to_be_short_share_a_message() {
        let fit = |micros| together(Some(Duration::from_micros(micros)), 1);
        assert_eq!([0, 200, 1_000, 4_000, 6_000, 9_000_000].map(fit), [64, 64, 25, 6, 4, 1]);
        assert_eq!((together(None, 1), together(None, 1_000)), (1, 1));
    }

    #[test]
    fn a_large_batch_may_share_more_and_still_has_a_part_for_other_workers() {
        let fit = |came| {
            [200, 6_000, 20_000, 200_000].map(|micros| together(Some(Duration::from_micros(micros)), came))
        };
        assert_eq!(fit(8), [64, 4, 1, 1]);
        assert_eq!(fit(64), [64, 8, 5, 1]);
        assert_eq!(fit(1_000), [64, 16, 5, 1]);
    }
}
