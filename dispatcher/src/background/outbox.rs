//! Publishes jobs that were recorded but not confirmed by the queue: their dispatcher was killed in
//! between, or the queue was away.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep, publish_all};
use crate::dispatcher::Dispatcher;

/// Marks younger than this belong to a publish that may still be under way.
const AGE: Duration = Duration::from_secs(2);

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    // A store that was away may have lost that a job was claimed: its worker, which renews, comes first.
    let mercy = dispatcher.options().mercy;
    let sweep = Sweep { mercy, ..Sweep::new("outbox", Duration::from_secs(1)) };
    let step = || async {
        // What is taken is not given again for a while: don't take it while it can't be published.
        if dispatcher.queue_health().is_away() {
            return Ok(0);
        }
        let jobs = dispatcher.store().outbox(AGE, BATCH).await?;
        let taken = jobs.len();
        publish_all(&dispatcher, jobs).await;
        Ok(taken)
    };
    sweep.run(&dispatcher, &stop, step).await;
}
