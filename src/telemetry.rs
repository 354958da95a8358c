//! How a process is watched: logs, and `/healthz`, `/readyz` and `/metrics`, which every role answers.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dispatcher::Dispatcher;
use prometheus::{Encoder, TextEncoder};
use protocol::ports::{PortError, Queue, Registry, Store};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::settings::{Log, Role};

/// Logs to stderr from now on. Called once; later calls change nothing.
pub(crate) fn start_logging(log: &Log) {
    let filter = EnvFilter::try_new(directives(&log.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The second start of logging in one process (in tests) keeps the first.
    let _ = if log.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}

/// The AMQP library calls an orderly goodbye an error. What really goes wrong with a connection, our backend
/// says; who asks for the library by name gets it.
fn directives(filter: &str) -> String {
    if filter.contains("lapin") { filter.to_owned() } else { format!("{filter},lapin=off") }
}

/// What must work for this process to do its work.
#[derive(Clone)]
pub(crate) struct Watched {
    /// What the process is for.
    pub(crate) role: Role,
    /// The ports that it needs.
    pub(crate) queue: Arc<dyn Queue>,
    /// The ports that it needs.
    pub(crate) store: Arc<dyn Store>,
    /// The ports that it needs.
    pub(crate) registry: Arc<dyn Registry>,
    /// Its dispatcher, if it has one.
    pub(crate) dispatcher: Option<Dispatcher>,
    /// Its worker, if it has one.
    pub(crate) worker: Option<worker::Status>,
    /// Fires when the process begins to end.
    pub(crate) draining: CancellationToken,
    /// Where its metrics are.
    pub(crate) metrics: prometheus::Registry,
}

/// The routes by which the process is watched. They need no key and tell no one's data.
pub(crate) fn router(watched: Watched) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(watched)
}

/// Whether the process can do its work now.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    ready: bool,
    role: &'static str,
    parts: BTreeMap<&'static str, Part>,
}

/// One thing that the work needs.
#[derive(Debug, Serialize)]
struct Part {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Ports answer a ping within two seconds; one that doesn't is not ready.
const PATIENCE: Duration = Duration::from_millis(2_500);

impl Watched {
    /// Asks every part.
    pub(crate) async fn readiness(&self) -> Readiness {
        let (queue, store, registry) = tokio::join!(
            tokio::time::timeout(PATIENCE, self.queue.ping()),
            tokio::time::timeout(PATIENCE, self.store.ping()),
            tokio::time::timeout(PATIENCE, self.registry.ping()),
        );
        let mut parts =
            BTreeMap::from([("queue", port(queue)), ("store", port(store)), ("registry", port(registry))]);
        // Ready means that the next request is accepted, not only that the server answers.
        if parts["queue"].ok && self.dispatcher.as_ref().is_some_and(|dispatcher| !dispatcher.accepts_jobs())
        {
            parts
                .insert("queue", Part { ok: false, detail: Some("back, and about to be used again".into()) });
        }
        if let Some(worker) = &self.worker {
            parts.insert("worker", slots(worker));
        }
        if self.draining.is_cancelled() {
            parts.insert("process", Part { ok: false, detail: Some("stopping".into()) });
        }
        Readiness { ready: parts.values().all(|part| part.ok), role: self.role.as_str(), parts }
    }
}

impl Readiness {
    /// What doesn't work, in words; `None` if everything does.
    pub(crate) fn trouble(&self) -> Option<String> {
        let troubles: Vec<String> = self
            .parts
            .iter()
            .filter(|(_, part)| !part.ok)
            .map(|(name, part)| format!("{name}: {}", part.detail.as_deref().unwrap_or("not ready")))
            .collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}

fn port(answer: Result<Result<(), PortError>, tokio::time::error::Elapsed>) -> Part {
    let detail = match answer {
        Ok(Ok(())) => None,
        // The cause may name hosts and accounts; it is in the log, not on an open page.
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a ping failed");
            Some(error.to_string())
        }
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    };
    Part { ok: detail.is_none(), detail }
}

fn slots(worker: &worker::Status) -> Part {
    let isolation = worker.isolation().as_str();
    let detail = format!("{} of {} slots free; isolation: {isolation}", worker.free(), worker.slots());
    Part { ok: worker.consuming(), detail: Some(detail) }
}

async fn readyz(State(watched): State<Watched>) -> Response {
    let readiness = watched.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(watched): State<Watched>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&watched.metrics.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_not_ready() {
        let parts = BTreeMap::from([
            ("queue", port(Ok(Err(PortError::new(protocol::ports::Kind::Unavailable, "queue.ping"))))),
            ("store", port(Ok(Ok(())))),
        ]);
        let readiness = Readiness { ready: false, role: "serve", parts };
        assert_eq!(readiness.trouble().unwrap(), "queue: queue.ping: the backend can't be reached");
        assert_eq!(
            serde_json::to_value(&readiness).unwrap()["parts"]["store"],
            serde_json::json!({"ok": true})
        );
    }
}
