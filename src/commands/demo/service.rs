//! The demo's own little HTTP service: the world outside, for actions to call.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use worker::egress::Range;

/// The service; ends when dropped.
pub(super) struct Service {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Service {
    /// Starts it on a free port of this machine.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the demo's service can't listen")?;
        let address = listener.local_addr().context("the demo's service has no address")?;
        let router = Router::new().route("/weather/{city}", get(weather));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the demo's service ended");
            }
        });
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The only address that it listens on: HTTP actions may call it during the demo.
    pub(super) fn range(&self) -> Range {
        Range::only(IpAddr::from([127, 0, 0, 1]))
    }
}

/// Always the same weather for the same city, so that the tour knows what must come.
async fn weather(Path(city): Path<String>) -> Json<Value> {
    let celsius = city.bytes().map(i64::from).sum::<i64>() % 40 - 10;
    let sky = if celsius < 0 { "snow" } else { "sun" };
    Json(json!({"data": {"city": city, "celsius": celsius, "sky": sky}}))
}
