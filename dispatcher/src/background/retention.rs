//! Removes finished jobs whose retention is over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep};
use crate::dispatcher::Dispatcher;

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let sweep = Sweep::new("retention", Duration::from_secs(60));
    sweep.run(&dispatcher, &stop, || dispatcher.store().remove_old(BATCH)).await;
}
