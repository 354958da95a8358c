//! Puts a recorded job on the queue. The record has an outbox mark until the queue has confirmed, so a
//! failure here only delays: the outbox sweep publishes what stayed.

use std::time::Instant;

use protocol::job::JobSpec;
use protocol::ports::{Confirmed, Retry};

use super::marks;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// Publishes the job and waits for the confirm. True if the queue has the job.
pub(crate) async fn publish(dispatcher: &Dispatcher, spec: &JobSpec) -> bool {
    let began = Instant::now();
    if let Err(error) = dispatcher.queue().publish(spec).await {
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
