//! What runs a version: the one trait that the kinds of handlers implement, and what an attempt gives them.
//!
//! A handler knows nothing of stores, leases or retries. It gets a [`Call`], a way to tell events and a token
//! that says "stop"; it answers with an [`Ending`].

pub mod http;

use std::sync::Arc;

use async_trait::async_trait;
use protocol::action::Content;
use protocol::deadline::Limit;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::outcome::Ending;
use tokio_util::sync::CancellationToken;

pub use crate::events::{EventSink, LogStream};
pub use crate::secrets::Secrets;

/// One kind of handler. Shared by all slots.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Runs one attempt to its end.
    ///
    /// `stop` fires at the timeout, at the deadline, when the job is cancelled, when the lease is lost and when
    /// the worker stops. Then everything that the call started must be killed and this must return within
    /// 150 ms; what it returns after that is ignored. The future may also be dropped at any point, which must
    /// kill everything too.
    async fn run(&self, call: Call, events: EventSink, stop: CancellationToken) -> Ending;

    /// What keeps its calls apart: told to the store with each claim.
    fn isolation(&self) -> Isolation;
}

/// One attempt, as its handler sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The job.
    pub spec: Arc<JobSpec>,
    /// The attempt's number: 1, 2, ...
    pub attempt: u32,
    /// What to run; its hash has been checked against the job's.
    pub content: Arc<Content>,
    /// The secrets that the content names, open. They go to the handler and nowhere else.
    pub secrets: Secrets,
    /// How long the attempt may run, and what ends it then. The caller keeps it; a handler may use it for
    /// limits of its own (CPU time) and to tell `remaining()`.
    pub limit: Limit,
}
