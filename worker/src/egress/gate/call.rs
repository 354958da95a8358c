//! The budget of one call: connections, bytes, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use protocol::egress::Egress;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::refusal::Limit;
use super::{CallPolicy, Limits};

/// One call, shared by its connections.
#[derive(Debug)]
pub(super) struct Call {
    policy: CallPolicy,
    /// What log lines belong to.
    pub(super) span: Span,
    /// Fires when the call is over.
    closed: CancellationToken,
    free: Arc<Semaphore>,
    opened: AtomicU32,
    moved: AtomicU64,
}

impl Call {
    pub(super) fn new(policy: CallPolicy) -> Self {
        Self {
            span: Span::current(),
            closed: CancellationToken::new(),
            free: Arc::new(Semaphore::new(policy.limits.connections)),
            opened: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            policy,
        }
    }

    pub(super) fn egress(&self) -> Option<&Egress> {
        self.policy.egress.as_ref()
    }

    pub(super) fn limits(&self) -> Limits {
        self.policy.limits
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Returns when the call is over or its time is up.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = self.closed.cancelled() => {}
            () = tokio::time::sleep_until(self.policy.ends) => {}
        }
    }

    /// Room for one more connection, until it is dropped.
    pub(super) fn connection(&self) -> Result<OwnedSemaphorePermit, Limit> {
        let limits = self.limits();
        if self.closed.is_cancelled() || Instant::now() >= self.policy.ends {
            return Err(Limit::Time);
        }
        self.add(0)?;
        let free = self.free.clone().try_acquire_owned();
        let free = free.map_err(|_| Limit::AtOnce(limits.connections))?;
        if self.opened.fetch_add(1, Ordering::Relaxed) >= limits.connections_per_call {
            // Not to be counted round to 0 again.
            self.opened.store(limits.connections_per_call, Ordering::Relaxed);
            return Err(Limit::InAll(limits.connections_per_call));
        }
        Ok(free)
    }

    /// Counts bytes that are about to be passed on.
    pub(super) fn add(&self, bytes: usize) -> Result<(), Limit> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let limit = self.limits().bytes;
        // The last byte may still be moved; then there is no room for a connection either.
        if moved > limit || (bytes == 0 && moved == limit) { Err(Limit::Bytes(limit)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(limits: Limits) -> Call {
        Call::new(CallPolicy { egress: None, ends: Instant::now() + Duration::from_secs(60), limits })
    }

    #[test]
    fn connections_are_bounded_at_once_and_in_all() {
        let call = call(Limits { connections: 2, connections_per_call: 3, ..Limits::default() });
        let (one, _two) = (call.connection().unwrap(), call.connection().unwrap());
        assert_eq!(call.connection().unwrap_err(), Limit::AtOnce(2));
        drop(one);
        drop(call.connection().unwrap());
        for _ in 0..3 {
            assert_eq!(call.connection().unwrap_err(), Limit::InAll(3));
        }
    }

    #[test]
    fn bytes_and_time_are_bounded() {
        let call = call(Limits { bytes: 10, ..Limits::default() });
        assert_eq!(call.add(10), Ok(()));
        assert_eq!(call.connection().unwrap_err(), Limit::Bytes(10));
        assert_eq!(call.add(1), Err(Limit::Bytes(10)));
        call.close();
        assert_eq!(call.connection().unwrap_err(), Limit::Time);
    }
}
