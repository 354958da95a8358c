//! Sends finished jobs to those who asked for a reply. The store remembers who still waits for one, so a
//! reply may come twice after a crash, but never not at all.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use protocol::job::Job;
use protocol::ports::{Inbox, Reply, Retry};
use tokio_util::sync::CancellationToken;

use super::sweep::{BATCH, Sweep};
use crate::dispatcher::Dispatcher;
use crate::{trouble, view};

/// A reply that was taken and not marked as sent by then is tried again.
const AGE: Duration = Duration::from_secs(10);
/// Replies under way at the same time.
const AT_ONCE: usize = 32;

pub(super) async fn run(dispatcher: Dispatcher, inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    let sweep =
        Sweep { wake: Some(dispatcher.replies()), ..Sweep::new("replies", Duration::from_millis(400)) };
    let step = || async {
        let jobs = dispatcher.store().replies(AGE, BATCH).await?;
        let taken = jobs.len();
        let sending = futures_util::stream::iter(jobs)
            .for_each_concurrent(AT_ONCE, |job| send(&dispatcher, &*inbox, job));
        sending.await;
        Ok(taken)
    };
    sweep.run(&dispatcher, &stop, step).await;
}

async fn send(dispatcher: &Dispatcher, inbox: &dyn Inbox, job: Job) {
    let id = job.spec.id;
    if let Some(to) = &job.spec.reply {
        let body = serde_json::to_vec(&view::job(&job)).unwrap_or_default();
        match inbox.reply(to, &Reply { kind: "finished", body }).await {
            Ok(()) => {}
            Err(error) if error.retry() == Retry::Later => {
                tracing::warn!(job = %id, cause = trouble::causes(&error), "the reply is sent later");
                return;
            }
            Err(error) => {
                tracing::error!(job = %id, cause = trouble::causes(&error), "the reply can't be sent");
            }
        }
    }
    if let Err(error) = dispatcher.store().replied(id).await {
        tracing::warn!(job = %id, cause = trouble::causes(&error), "the reply may be sent twice");
    }
}
