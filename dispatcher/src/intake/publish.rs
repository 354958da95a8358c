//! Puts a recorded job on the queue. The record has an outbox mark until the queue has confirmed, so a
//! failure here only delays: the outbox sweep publishes what stayed.

use std::sync::Arc;

use protocol::job::JobSpec;
use protocol::ports::Retry;

use crate::dispatcher::Dispatcher;
use crate::trouble;

/// Publishes the job and waits for the confirm. The mark is cleared behind the caller's back, by a task
/// that the dispatcher waits for when it stops. True if the queue has the job.
pub(crate) async fn publish(dispatcher: &Dispatcher, spec: &JobSpec) -> bool {
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
    let (store, id) = (Arc::clone(dispatcher.store()), spec.id);
    dispatcher.tasks().spawn(async move {
        if let Err(error) = store.published(id).await {
            // The outbox publishes the job once more, and the store hands it out only once.
            tracing::warn!(job = %id, cause = trouble::causes(&error), "the outbox mark stays");
        }
    });
    true
}
