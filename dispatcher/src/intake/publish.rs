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
/// The most jobs that share a message: more would gain nothing.
const MOST: u128 = 16;

/// Publishes the job and waits for the confirm. True if the queue has the job.
pub(crate) async fn publish(dispatcher: &Dispatcher, spec: &JobSpec) -> bool {
    let (began, pace) = (Instant::now(), dispatcher.store().pace(&spec.content_hash));
    if let Err(error) = dispatcher.queue().publish_together(spec, together(pace)).await {
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

/// How many jobs may share a message where a call takes so long.
fn together(pace: Option<Duration>) -> usize {
    let fit = pace.map_or(1, |pace| TOGETHER.as_micros() / pace.as_micros().max(1));
    usize::try_from(fit.clamp(1, MOST)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_are_known_to_be_short_share_a_message() {
        let fit = |micros| together(Some(Duration::from_micros(micros)));
        assert_eq!([0, 200, 1_000, 4_000, 6_000, 9_000_000].map(fit), [16, 16, 16, 6, 4, 1]);
        assert_eq!(together(None), 1);
    }
}
