//! One exchange with one target: the gate is asked, the request goes out, the answer is read piece by piece. It is logged
//! and counted as the connections of other handlers are, however it ends.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use protocol::egress::{Egress, Target};
use protocol::error::Code;
use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode};
use tracing::Span;

use super::request::Request;
use super::{Failure, Http, builder};
use crate::egress::Record;

/// An answer whose head is there. If it is dropped before its end is told, the call was over first.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    record: Record,
}

impl Answer {
    /// Sends `request` where the gate lets it go.
    pub(super) async fn to(http: &Http, egress: Option<&Egress>, request: &Request) -> Result<Self, Failure> {
        let mut record = Record::new(&http.metrics, Span::current());
        match exchange(http, egress, request, &mut record).await {
            Ok(response) => Ok(Self { response, record }),
            Err((outcome, failure)) => {
                record.end(outcome, &failure.error.message);
                Err(failure)
            }
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next piece of the body; none at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = self.response.chunk().await.map_err(Failure::of)?;
        self.record.received.fetch_add(length(piece.as_ref()), Ordering::Relaxed);
        Ok(piece)
    }

    /// What was wanted of it was had, or that failed.
    pub(super) fn end(mut self, failure: Option<&Failure>) {
        match failure.map(|failure| (failure.error.code, &failure.error.message)) {
            Some((Code::OutputTooLarge, message)) => self.record.end("limited", message),
            Some((Code::HttpFailed, message)) => self.record.end("broken", message),
            // What it says is no matter of the network.
            _ => self.record.end("served", ""),
        }
    }
}

/// The response, or the outcome of the hop and the failure of the call.
async fn exchange(
    http: &Http,
    egress: Option<&Egress>,
    request: &Request,
    record: &mut Record,
) -> Result<Response, (&'static str, Failure)> {
    let host = request.url.host_str().unwrap_or_default();
    let target = Target::parse(host, request.url.port_or_known_default())
        .map_err(|error| ("invalid", Failure::new(Code::HttpAnswerInvalid, error.to_string())))?;
    record.target = Some(target.clone());
    let pins = http.gate.pins(&target, egress).await;
    let client = match pins.map_err(|refused| (refused.outcome(), refused.into()))? {
        None => http.client.clone(),
        // Where more than the name decides: one that connects to nothing but checked addresses.
        Some(addresses) => pinned(host, &addresses).map_err(|error| ("broken", Failure::of(error)))?,
    };
    let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
    *sent.headers_mut() = request.headers.clone();
    *sent.body_mut() = request.body.clone().map(Into::into);
    let response = client.execute(sent).await.map_err(|error| {
        let outcome = if error.is_connect() { "unreachable" } else { "broken" };
        let failure = Failure::of(error);
        // The resolver of the common client asks the gate too.
        (if failure.error.code == Code::EgressDenied { "denied" } else { outcome }, failure)
    })?;
    record.address = response.remote_addr();
    record.sent.fetch_add(length(request.body.as_ref()), Ordering::Relaxed);
    Ok(response)
}

fn pinned(host: &str, addresses: &[SocketAddr]) -> reqwest::Result<Client> {
    builder().resolve_to_addrs(host, addresses).pool_max_idle_per_host(0).build()
}

fn length(bytes: Option<&Bytes>) -> u64 {
    bytes.map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}
