//! What is remembered of a connection: one log line and the counts, however it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::egress::Target;
use tokio::time::Instant;

use super::call::Call;
use crate::Metrics;

/// One connection. Tells about itself when it is dropped.
pub(super) struct Record {
    metrics: Metrics,
    call: Option<Arc<Call>>,
    began: Instant,
    /// Where it wanted to go.
    pub(super) target: Option<Target>,
    /// Where it went.
    pub(super) address: Option<SocketAddr>,
    /// Bytes to the target.
    pub(super) sent: AtomicU64,
    /// Bytes from the target.
    pub(super) received: AtomicU64,
    /// How it ended. Until something is known it was closed with its call.
    pub(super) outcome: &'static str,
    /// Why, unless it was served.
    pub(super) reason: String,
}

impl Record {
    pub(super) fn new(metrics: &Metrics, call: Option<Arc<Call>>) -> Self {
        Self {
            metrics: metrics.clone(),
            call,
            began: Instant::now(),
            target: None,
            address: None,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            outcome: "closed",
            reason: String::new(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (sent, received) = (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        self.metrics.egress_connections.with_label_values(&[self.outcome]).inc();
        self.metrics.egress_bytes.with_label_values(&["sent"]).inc_by(sent);
        self.metrics.egress_bytes.with_label_values(&["received"]).inc_by(received);
        let _span = self.call.as_ref().map(|call| call.span.enter());
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
