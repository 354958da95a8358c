//! Ends jobs whose deadline passed, wherever they are.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep};
use crate::dispatcher::Dispatcher;

pub(super) async fn run(dispatcher: Dispatcher, stop: CancellationToken) {
    let sweep = Sweep::new("deadlines", Duration::from_millis(200));
    sweep.run(&dispatcher, &stop, || dispatcher.store().expire(BATCH)).await;
}
