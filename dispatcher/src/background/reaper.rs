//! Ends attempts whose worker disappeared, and queues their jobs again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep, publish_all};
use crate::dispatcher::Dispatcher;

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let sweep =
        Sweep { mercy: dispatcher.options().mercy, ..Sweep::new("reaper", Duration::from_millis(200)) };
    let step = || async {
        let jobs = dispatcher.store().reap(BATCH).await?;
        let taken = jobs.len();
        publish_all(&dispatcher, jobs).await;
        Ok(taken)
    };
    sweep.run(&dispatcher, &stop, step).await;
}
