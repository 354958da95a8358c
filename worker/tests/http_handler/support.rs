//! Servers on this machine, calls of handlers that ask them, and what became of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use conformance::sample;
use protocol::action::Content;
use protocol::deadline::Limit;
use protocol::error::JobError;
use protocol::job::JobSpec;
use protocol::outcome::Ending;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::egress::Gate;
use worker::handler::http::Http;
use worker::handler::{Call, EventSink, Handler};

/// Serves `router` on a free port of this machine, and tells its address.
pub(crate) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

pub(crate) fn client(allowed: &[&str]) -> Http {
    let allowed: Vec<_> = allowed.iter().map(|range| range.parse().unwrap()).collect();
    behind(Gate::new(&allowed, &[]), &metrics())
}

/// The handler behind a gate, counting into `metrics`.
pub(crate) fn behind(gate: Gate, metrics: &Metrics) -> Http {
    // Another test of this program may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Http::new(gate, metrics.clone()).unwrap()
}

pub(crate) fn metrics() -> Metrics {
    Metrics::register(&prometheus::Registry::new()).unwrap()
}

pub(crate) fn call(handler: Value, input: Value) -> Call {
    let mut handler = handler;
    handler["kind"] = json!("http");
    let content: Content = serde_json::from_value(json!({ "handler": handler })).unwrap();
    let spec = JobSpec {
        content_hash: content.hash(),
        input: input.into(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..sample::job()
    };
    let limit = Limit::Timeout(Duration::from_secs(5));
    Call { spec: Arc::new(spec), attempt: 1, content: Arc::new(content), limit, secrets: Default::default() }
}

pub(crate) fn sink() -> EventSink {
    EventSink::new(metrics())
}

/// Runs a handler with loopback opened.
pub(crate) async fn run(handler: Value, input: Value) -> Ending {
    client(&["127.0.0.1"]).run(call(handler, input), sink(), CancellationToken::new()).await
}

pub(crate) fn result(ending: Ending) -> Value {
    match ending {
        Ending::Returned(json) => json.value(),
        other => panic!("no result: {other:?}"),
    }
}

pub(crate) fn failure(ending: Ending) -> (JobError, bool, Option<Duration>) {
    match ending {
        Ending::Failed { error, retryable, retry_after } => (error, retryable, retry_after),
        other => panic!("no failure: {other:?}"),
    }
}

/// Answers with what it was asked.
pub(crate) async fn mirror(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: serde_json::Map<String, Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").into()))
        .collect();
    let seen = json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": serde_json::from_slice::<Value>(&body).ok(),
    });
    axum::Json(seen).into_response()
}

/// Runs a handler of a version with an allow-list behind a gate.
pub(crate) async fn run_listed(gate: Gate, url: String, allow: &[String]) -> Ending {
    let mut call = call(json!({ "url": url }), json!({}));
    let content = Content {
        egress: Some(serde_json::from_value(json!({ "allow": allow })).unwrap()),
        ..(*call.content).clone()
    };
    call.content = Arc::new(content);
    behind(gate, &metrics()).run(call, sink(), CancellationToken::new()).await
}

/// An address where nobody listens, and what keeps it from everybody else.
pub(crate) fn nobody() -> (tokio::net::TcpSocket, String) {
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = bound.local_addr().unwrap().to_string();
    (bound, address)
}
