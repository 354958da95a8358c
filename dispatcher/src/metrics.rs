//! Every metric of the dispatcher: name, unit, labels, meaning. No label carries an id.

use std::future::Future;
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use protocol::error::{Code, Problem};

use crate::access::Verb;

/// From 0.5 ms, about what an accepted job costs, to 10 s, where the server behind a port is stuck.
const REQUEST_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The dispatcher's metrics. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    accepted: IntCounter,
    refused: IntCounterVec,
    swept: IntCounterVec,
    waiters: IntGauge,
    event_readers: IntGauge,
    ready: IntGaugeVec,
    oldest: GaugeVec,
}

impl Metrics {
    /// Declares the metrics in `registry`. Fails if they are there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let request_seconds =
            HistogramOpts::new("sortie_dispatcher_request_seconds", "How long requests took, by verb.")
                .buckets(REQUEST_SECONDS.to_vec());
        Ok(Self {
            requests: add(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "sortie_dispatcher_requests_total",
                        "Requests by verb and code; `ok` is no error.",
                    ),
                    &["verb", "code"],
                )?,
            )?,
            request_seconds: add(registry, HistogramVec::new(request_seconds, &["verb"])?)?,
            accepted: add(
                registry,
                IntCounter::new(
                    "sortie_dispatcher_jobs_accepted_total",
                    "Jobs that were accepted and recorded.",
                )?,
            )?,
            refused: add(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "sortie_dispatcher_jobs_refused_total",
                        "Requests for a job that were refused, by code.",
                    ),
                    &["code"],
                )?,
            )?,
            swept: add(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "sortie_dispatcher_sweep_jobs_total",
                        "Jobs that a background sweep moved on, by sweep.",
                    ),
                    &["sweep"],
                )?,
            )?,
            waiters: add(
                registry,
                IntGauge::new("sortie_dispatcher_waiters", "Requests that wait for a job to finish.")?,
            )?,
            event_readers: add(
                registry,
                IntGauge::new("sortie_dispatcher_event_readers", "Open streams of events.")?,
            )?,
            ready: add(
                registry,
                IntGaugeVec::new(
                    Opts::new("sortie_queue_ready_jobs", "Jobs that wait for a worker, by lane."),
                    &["lane"],
                )?,
            )?,
            oldest: add(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "sortie_queue_oldest_seconds",
                        "How long the oldest job that waits for a worker has waited, by lane.",
                    ),
                    &["lane"],
                )?,
            )?,
        })
    }

    /// Does `work` and counts it, with the time that it took.
    pub(crate) async fn measure<T>(
        &self,
        verb: Verb,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let start = Instant::now();
        let answer = work.await;
        let code = answer.as_ref().err().map(|problem| problem.code);
        self.requests.with_label_values(&[verb.name(), code.map_or("ok", Code::as_str)]).inc();
        self.request_seconds.with_label_values(&[verb.name()]).observe(start.elapsed().as_secs_f64());
        if let (Verb::Submit | Verb::SubmitBatch | Verb::TestAction, Some(code)) = (verb, code) {
            self.refused(code);
        }
        answer
    }

    /// A request for a job was refused.
    pub(crate) fn refused(&self, code: Code) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }

    /// A job was accepted.
    pub(crate) fn accepted(&self) {
        self.accepted.inc();
    }

    /// A sweep moved `jobs` on.
    pub(crate) fn swept(&self, sweep: &str, jobs: usize) {
        self.swept.with_label_values(&[sweep]).inc_by(u64::try_from(jobs).unwrap_or(u64::MAX));
    }

    /// Someone waits for a job, until the guard is dropped.
    pub(crate) fn waiter(&self) -> Guard {
        Guard::new(&self.waiters)
    }

    /// Someone reads events, until the guard is dropped.
    pub(crate) fn event_reader(&self) -> Guard {
        Guard::new(&self.event_readers)
    }

    /// What waits in a lane.
    pub(crate) fn lane(&self, lane: &str, depth: protocol::ports::Depth) {
        self.ready.with_label_values(&[lane]).set(i64::try_from(depth.ready).unwrap_or(i64::MAX));
        if let Some(oldest) = depth.oldest {
            self.oldest.with_label_values(&[lane]).set(oldest.as_secs_f64());
        } else if depth.ready == 0 {
            self.oldest.with_label_values(&[lane]).set(0.0);
        }
    }
}

/// Counts one in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Guard(IntGauge);

impl Guard {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
