//! Clears the outbox marks of jobs that the queue has confirmed: many at once, behind the backs of those who published
//! them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::ports::Confirmed;

use crate::dispatcher::Dispatcher;
use crate::trouble;

/// How long marks gather. Far less than the age from which the outbox publishes again.
const GATHER: Duration = Duration::from_millis(250);

/// The jobs whose marks are to be cleared.
#[derive(Default)]
pub(crate) struct Marks {
    waiting: Mutex<Vec<Confirmed>>,
}

impl Marks {
    /// Adds a job; true if it is the first one.
    fn add(&self, confirmed: Confirmed) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(confirmed);
        waiting.len() == 1
    }

    fn take(&self) -> Vec<Confirmed> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Has the job's mark cleared before long, by a task that the dispatcher waits for when it stops.
pub(crate) fn clear_soon(dispatcher: &Dispatcher, confirmed: Confirmed) {
    if dispatcher.marks().add(confirmed) {
        dispatcher.tasks().spawn(clear(dispatcher.clone()));
    }
}

async fn clear(dispatcher: Dispatcher) {
    dispatcher.closing().run_until_cancelled(tokio::time::sleep(GATHER)).await;
    let confirmed = dispatcher.marks().take();
    if let Err(error) = dispatcher.store().published(&confirmed).await {
        // The outbox publishes the jobs once more, and the store hands each out only once.
        let (jobs, cause) = (confirmed.len(), trouble::causes(&error));
        tracing::warn!(jobs, cause, "outbox marks stay");
    }
}
