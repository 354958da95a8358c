//! Every metric of the worker: name, labels, meaning. Registered into a registry that is passed in; clones
//! count into the same metrics.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Seconds of an attempt: from a warm call to the longest timeout.
const ATTEMPT_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 900.0];

/// The worker's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Attempts that run now.
    pub running_attempts: IntGauge,
    /// Slots that could take a job now.
    pub free_slots: IntGauge,
    /// Jobs that were delivered and wait here to be begun.
    pub waiting_jobs: IntGauge,
    /// Attempts that ended, by outcome and kind of handler.
    pub attempts: IntCounterVec,
    /// How long attempts ran, by kind of handler.
    pub attempt_seconds: HistogramVec,
    /// Results that came too late and were dropped.
    pub late_results: IntCounter,
    /// Attempts that were stopped because another one took over.
    pub lost_leases: IntCounter,
    /// Answers of the store to claims.
    pub claims: IntCounterVec,
    /// Events that handlers told, by kind.
    pub events: IntCounterVec,
    /// Handlers that did not stop in time and were dropped.
    pub stuck_handlers: IntCounter,
    /// Connections of Python handlers and requests of `http` handlers (each hop) through the egress gate that ended,
    /// by outcome.
    pub egress_connections: IntCounterVec,
    /// Bytes that they moved, by direction; of requests those of their bodies.
    pub egress_bytes: IntCounterVec,
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            running_attempts: IntGauge::new("sortie_worker_running_attempts", "Attempts that run now.")?,
            free_slots: IntGauge::new("sortie_worker_free_slots", "Slots that could take a job now.")?,
            waiting_jobs: IntGauge::new(
                "sortie_worker_waiting_jobs",
                "Jobs that were delivered and wait here to be begun.",
            )?,
            attempts: IntCounterVec::new(
                Opts::new("sortie_worker_attempts_total", "Attempts that ended."),
                &["outcome", "handler"],
            )?,
            attempt_seconds: HistogramVec::new(
                HistogramOpts::new("sortie_worker_attempt_seconds", "How long attempts ran.")
                    .buckets(ATTEMPT_SECONDS.to_vec()),
                &["handler"],
            )?,
            late_results: IntCounter::new(
                "sortie_worker_late_results_total",
                "Results that came after another attempt or the job's end, and were dropped.",
            )?,
            lost_leases: IntCounter::new(
                "sortie_worker_lost_leases_total",
                "Attempts that were stopped because they were no longer the newest.",
            )?,
            claims: IntCounterVec::new(
                Opts::new("sortie_worker_claims_total", "Answers of the store to claims."),
                &["answer"],
            )?,
            events: IntCounterVec::new(
                Opts::new("sortie_worker_events_total", "Events that handlers told."),
                &["kind"],
            )?,
            stuck_handlers: IntCounter::new(
                "sortie_worker_stuck_handlers_total",
                "Handlers that did not stop when told to, and were dropped.",
            )?,
            egress_connections: IntCounterVec::new(
                Opts::new(
                    "sortie_egress_connections_total",
                    "Connections of Python handlers and requests of http handlers that ended at the egress gate.",
                ),
                &["outcome"],
            )?,
            egress_bytes: IntCounterVec::new(
                Opts::new("sortie_egress_bytes_total", "Bytes moved through the egress gate."),
                &["direction"],
            )?,
        };
        registry.register(Box::new(metrics.running_attempts.clone()))?;
        registry.register(Box::new(metrics.free_slots.clone()))?;
        registry.register(Box::new(metrics.waiting_jobs.clone()))?;
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.attempt_seconds.clone()))?;
        registry.register(Box::new(metrics.late_results.clone()))?;
        registry.register(Box::new(metrics.lost_leases.clone()))?;
        registry.register(Box::new(metrics.claims.clone()))?;
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.stuck_handlers.clone()))?;
        registry.register(Box::new(metrics.egress_connections.clone()))?;
        registry.register(Box::new(metrics.egress_bytes.clone()))?;
        Ok(metrics)
    }
}
