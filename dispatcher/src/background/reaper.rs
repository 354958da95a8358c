//! Ends attempts whose worker disappeared, and queues their jobs again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep, publish_all};
use crate::dispatcher::Dispatcher;

/// How long leases count on after the store was away: whoever holds one could not renew it either.
const MERCY: Duration = Duration::from_millis(1_500);

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let sweep = Sweep { name: "reaper", every: Duration::from_millis(200), wake: None };
    let was_away = AtomicBool::new(false);
    let step = || async {
        if was_away.load(Ordering::Relaxed) {
            dispatcher.store().ping().await?;
            tokio::time::sleep(MERCY).await;
            was_away.store(false, Ordering::Relaxed);
        }
        let reaped = dispatcher.store().reap(BATCH).await;
        let jobs = reaped.inspect_err(|_| was_away.store(true, Ordering::Relaxed))?;
        let taken = jobs.len();
        publish_all(&dispatcher, jobs).await;
        Ok(taken)
    };
    sweep.run(&dispatcher, &stop, step).await;
}
