//! Ports that measure: how long each operation takes and how it ends.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec};
use protocol::ports::{Kind, PortError, Queue, Registry, Store};

use crate::around::{Around, Wrapped};

/// From a look into memory to the longest wait that a backend allows itself, in seconds.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// A queue whose calls are measured.
pub fn queue(inner: Arc<dyn Queue>, metrics: &Metrics) -> Arc<dyn Queue> {
    Arc::new(Wrapped { inner, around: metrics.clone() })
}

/// A store whose calls are measured.
pub fn store(inner: Arc<dyn Store>, metrics: &Metrics) -> Arc<dyn Store> {
    Arc::new(Wrapped { inner, around: metrics.clone() })
}

/// A registry whose calls are measured.
pub fn registry(inner: Arc<dyn Registry>, metrics: &Metrics) -> Arc<dyn Registry> {
    Arc::new(Wrapped { inner, around: metrics.clone() })
}

/// The metrics of all ports. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    calls: HistogramVec,
}

impl Metrics {
    /// Declares the metrics in `registry`: once for each registry.
    pub fn register(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let help = "Time that calls of a port took, by operation and outcome (ok, or the kind of error).";
        let options = HistogramOpts::new("sortie_port_call_seconds", help).buckets(BUCKETS.into());
        let calls = HistogramVec::new(options, &["port", "operation", "outcome"])?;
        registry.register(Box::new(calls.clone()))?;
        Ok(Self { calls })
    }
}

impl Around for Metrics {
    async fn call<T: Send>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, PortError>> + Send,
    ) -> Result<T, PortError> {
        let started = Instant::now();
        let answer = call.await;
        let (port, operation) = operation.split_once('.').unwrap_or((operation, ""));
        let outcome = answer.as_ref().map_or_else(|error| kind(error.kind), |_| "ok");
        self.calls.with_label_values(&[port, operation, outcome]).observe(started.elapsed().as_secs_f64());
        answer
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Unavailable => "unavailable",
        Kind::Timeout => "timeout",
        Kind::Full => "full",
        Kind::Corrupt => "corrupt",
        Kind::Denied => "denied",
        Kind::Unexpected => "unexpected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_counted_by_port_operation_and_outcome() {
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        assert!(Metrics::register(&registry).is_err(), "a second time");
        metrics.call("store.claim", async { Ok(()) }).await.unwrap();
        let failing = async { Err::<(), _>(PortError::new(Kind::Full, "queue.publish")) };
        metrics.call("queue.publish", failing).await.unwrap_err();
        let count = |labels: &[&str]| metrics.calls.with_label_values(labels).get_sample_count();
        assert_eq!(count(&["store", "claim", "ok"]), 1);
        assert_eq!(count(&["queue", "publish", "full"]), 1);
        assert_eq!(registry.gather()[0].name(), "sortie_port_call_seconds");
    }
}
