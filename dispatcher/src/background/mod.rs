//! What a dispatcher does without being asked. Any number of dispatchers may do it at the same time: every
//! step in the store is atomic, and what one has taken another doesn't get.

mod beat;
mod deadlines;
mod due;
mod inbox;
mod outbox;
mod queue;
mod reaper;
mod replies;
mod retention;
mod sweep;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;

pub(crate) use beat::Beat;

/// How long a stop waits for what is under way. Longer than a port takes to give up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until `stop`, then stops in order: first nothing new comes in and nobody waits any more, then the
/// inbox takes no more, then the sweeps end, and at last what was begun is finished or given back.
pub async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let (stop_inbox, stop_sweeps) = (CancellationToken::new(), CancellationToken::new());
    let mut intake = JoinSet::new();
    let mut sweeps = JoinSet::new();

    // Before anything is accepted: whether the queue is there.
    sweeps.spawn(queue::run(dispatcher.clone(), stop_sweeps.clone()));
    sweeps.spawn(deadlines::run(dispatcher.clone(), stop_sweeps.clone()));
    sweeps.spawn(reaper::run(dispatcher.clone(), stop_sweeps.clone()));
    sweeps.spawn(due::run(dispatcher.clone(), stop_sweeps.clone()));
    sweeps.spawn(outbox::run(dispatcher.clone(), stop_sweeps.clone()));
    sweeps.spawn(retention::run(dispatcher.clone(), stop_sweeps.clone()));
    if let Some(inbox) = dispatcher.inbox().cloned() {
        sweeps.spawn(replies::run(dispatcher.clone(), inbox.clone(), stop_sweeps.clone()));
        intake.spawn(inbox::run(dispatcher.clone(), inbox, stop_inbox.clone()));
    }

    stop.cancelled().await;
    dispatcher.drain();
    let stopped = tokio::time::timeout(PATIENCE, async {
        stop_inbox.cancel();
        while intake.join_next().await.is_some() {}
        stop_sweeps.cancel();
        while sweeps.join_next().await.is_some() {}
        dispatcher.tasks().close();
        dispatcher.tasks().wait().await;
    });
    if stopped.await.is_err() {
        // Whatever it is, the store has it, and another dispatcher brings it on.
        tracing::warn!("the background work did not end in time and is broken off");
    }
}
