//! Reading the events of a job: always by number, page after page; a watch only says when to look again.
//! So any number of readers can start anywhere, and none sees a gap or a repeat.

use std::time::Duration;

use protocol::error::Problem;
use protocol::event::Event;
use protocol::hub::Watch;
use protocol::id::{JobId, TenantId};
use protocol::ports::Retry;

use super::get::get;
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::metrics::Guard;
use crate::trouble;

/// Events that are read at once: a bound on what one reader holds in memory.
const PAGE: usize = 256;
/// The pause before looking again while the store is away.
const PAUSE: Duration = Duration::from_millis(500);

/// One reader of a job's events.
pub struct EventReader {
    dispatcher: Dispatcher,
    tenant: TenantId,
    job: JobId,
    after: u64,
    watch: Watch,
    ended: bool,
    _counted: Guard,
}

impl EventReader {
    /// A reader of the events behind number `after`.
    pub(crate) async fn open(
        dispatcher: &Dispatcher,
        caller: &Caller,
        job: JobId,
        after: u64,
    ) -> Result<Self, Problem> {
        let watch = dispatcher.store().watch(job);
        get(dispatcher, caller, job).await?;
        Ok(Self {
            dispatcher: dispatcher.clone(),
            tenant: caller.tenant().clone(),
            job,
            after,
            watch,
            ended: false,
            _counted: dispatcher.metrics().event_reader(),
        })
    }

    /// The next events, at least one; waits while there are none. `None` after the `result` event, when the
    /// job's retention is over, and when this process stops. While the store is away it waits too: the
    /// reader has its place by number. Safe to cancel.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        let closing = self.dispatcher.closing().clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => None,
            events = self.read() => events,
        }
    }

    async fn read(&mut self) -> Option<Vec<Event>> {
        while !self.ended {
            match self.dispatcher.store().events(&self.tenant, self.job, self.after, PAGE).await {
                Ok(Some(page)) => {
                    self.ended = page.ended;
                    if let Some(last) = page.events.last() {
                        self.after = last.seq;
                        return Some(page.events);
                    }
                    if !self.ended {
                        self.watch.changed().await;
                    }
                }
                Ok(None) => return None,
                Err(error) if error.retry() == Retry::Later => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::error!(job = %self.job, cause = trouble::causes(&error), "a reader broke off");
                    return None;
                }
            }
        }
        None
    }
}
