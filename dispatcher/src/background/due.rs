//! Queues scheduled jobs whose time has come: those for later, and those that wait to be retried.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep, publish_all};
use crate::dispatcher::Dispatcher;

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let sweep = Sweep::new("due", Duration::from_millis(200));
    let step = || async {
        let jobs = dispatcher.store().due(BATCH).await?;
        let taken = jobs.len();
        publish_all(&dispatcher, jobs).await;
        Ok(taken)
    };
    sweep.run(&dispatcher, &stop, step).await;
}
