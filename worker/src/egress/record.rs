//! What is remembered of a way out: one log line and the counts, however it ends. For Python that is a connection
//! through the gate of its slot; for `http` handlers one hop of a request, because their connections are kept.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::egress::Target;
use tokio::time::Instant;
use tracing::Span;

use super::Refused;
use crate::Metrics;

/// One connection or hop. Tells about itself when it is dropped.
#[derive(Debug)]
pub(crate) struct Record {
    metrics: Metrics,
    span: Span,
    began: Instant,
    /// Where it wanted to go.
    pub(crate) target: Option<Target>,
    /// Where it went.
    pub(crate) address: Option<SocketAddr>,
    /// Bytes to the target.
    pub(crate) sent: AtomicU64,
    /// Bytes from the target.
    pub(crate) received: AtomicU64,
    /// How it ended. Until something is known it was closed with its call.
    pub(crate) outcome: &'static str,
    /// Why, unless it was served.
    pub(crate) reason: String,
}

impl Record {
    /// Of something that begins now. `span` is the attempt that it belongs to.
    pub(crate) fn new(metrics: &Metrics, span: Span) -> Self {
        Self {
            metrics: metrics.clone(),
            span,
            began: Instant::now(),
            target: None,
            address: None,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            outcome: "closed",
            reason: String::new(),
        }
    }

    /// How it ended, and why.
    pub(crate) fn end(&mut self, outcome: &'static str, reason: impl ToString) {
        (self.outcome, self.reason) = (outcome, reason.to_string());
    }
}

impl Refused {
    /// The outcome in logs and metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Unresolved { .. } => "unreachable",
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (sent, received) = (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        self.metrics.egress_connections.with_label_values(&[self.outcome]).inc();
        self.metrics.egress_bytes.with_label_values(&["sent"]).inc_by(sent);
        self.metrics.egress_bytes.with_label_values(&["received"]).inc_by(received);
        let _span = self.span.enter();
        tracing::info!(
            host = self.target.as_ref().map(|target| tracing::field::display(&target.host)),
            port = self.target.as_ref().map(|target| target.port),
            address = self.address.map(|address| tracing::field::display(address.ip())),
            sent,
            received,
            ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = self.outcome,
            reason = (!self.reason.is_empty()).then_some(self.reason.as_str()),
            "egress connection"
        );
    }
}
