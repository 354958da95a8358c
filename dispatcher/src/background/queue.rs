//! Looks after the queue: whether it is there (so that intake can refuse before it records), and what
//! waits in the lanes (for those who scale workers).

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sweep::jittered;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_secs(1);
/// The same while it is away: the sooner its return is known, the fewer requests are refused needlessly.
const LOOK_WHILE_AWAY: Duration = Duration::from_millis(100);
/// Between two samples of the lanes' depth.
const SAMPLE: Duration = Duration::from_secs(5);

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let mut next_sample = Instant::now();
    while !stop.is_cancelled() {
        match dispatcher.queue().ping().await {
            Ok(()) => dispatcher.queue_health().works(),
            Err(error) => dispatcher.queue_health().failed(&trouble::causes(&error)),
        }
        if next_sample <= Instant::now() && !dispatcher.queue_health().is_away() {
            sample(&dispatcher).await;
            // Steps come at beats: half a step early, so that the fifth is not missed by a hair.
            next_sample = Instant::now() + SAMPLE - LOOK / 2;
        }
        let next = if dispatcher.queue_health().is_away() {
            Instant::now() + jittered(LOOK_WHILE_AWAY)
        } else {
            dispatcher.beat().next(LOOK)
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

async fn sample(dispatcher: &Dispatcher) {
    for lane in dispatcher.lanes() {
        match dispatcher.queue().depth(&lane).await {
            Ok(depth) => dispatcher.metrics().lane(lane.as_str(), depth),
            Err(error) => {
                // The next look at the queue must not wait until all have failed.
                return tracing::debug!(%lane, cause = trouble::causes(&error), "the lanes' depth is not known");
            }
        }
    }
}
