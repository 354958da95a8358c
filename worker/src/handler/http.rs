//! Runs `http` versions: one described request, its answer as the result. No code of users runs here.
//!
//! `request` fills the placeholders, `auth` adds the secret, `send` calls and follows redirects through the egress gate, `hop` is
//! one exchange with a target and its record, `answer` makes an ending of what came back.

mod answer;
mod auth;
mod hop;
mod request;
mod send;
mod sse;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::action;
use protocol::error::{Code, JobError};
use protocol::isolation::Isolation;
use protocol::outcome::Ending;
use tokio_util::sync::CancellationToken;

use super::{Call, EventSink, Handler};
use crate::Metrics;
use crate::egress::{Gate, Refused, Resolver};

/// How long an idle connection to a target is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The handler of all `http` versions: one client with its connections for the whole worker.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    gate: Gate,
    metrics: Metrics,
}

/// The HTTP client can't be made on this host, for want of root certificates for instance.
#[derive(Debug, thiserror::Error)]
#[error("the http client can't be set up")]
pub struct SetupError(#[from] reqwest::Error);

impl Http {
    /// Prepares the client, whose every connection goes where `gate` lets it, and counts into `metrics`. A TLS provider
    /// must have been installed for the process.
    pub fn new(gate: Gate, metrics: Metrics) -> Result<Self, SetupError> {
        let resolver = Resolver::new(gate.clone());
        let client = builder().dns_resolver(Arc::new(resolver)).pool_idle_timeout(IDLE).build()?;
        Ok(Self { client, gate, metrics })
    }

    async fn call(&self, call: &Call, events: &EventSink) -> Result<Ending, Failure> {
        let action::Handler::Http(handler) = &call.content.handler else {
            return Err(Failure::new(Code::HandlerInvalid, "the version is no http handler"));
        };
        let input = call.spec.input.value();
        let request = request::build(handler, &input, call.spec.traceparent.as_deref(), &call.secrets)?;
        let mut answer = send::send(self, call.content.egress.as_ref(), request).await?;
        let read = answer::read(&mut answer, handler.result.as_deref(), events).await;
        answer.end(read.as_ref().err());
        read
    }
}

/// What all clients have in common.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
        // A proxy would resolve names behind the gate's back.
        .no_proxy()
        // Followed in `send`, each hop through the gate.
        .redirect(reqwest::redirect::Policy::none())
        // When to try again is the version's decision.
        .retry(reqwest::retry::never())
}

#[async_trait]
impl Handler for Http {
    async fn run(&self, call: Call, events: EventSink, stop: CancellationToken) -> Ending {
        tokio::select! {
            // Dropping the call closes its connection.
            () = stop.cancelled() => Ending::Interrupted,
            ending = self.call(&call, &events) => ending.unwrap_or_else(Ending::from),
        }
    }

    fn isolation(&self) -> Isolation {
        Isolation::Gate
    }
}

/// Why a call has no result.
#[derive(Debug)]
struct Failure {
    error: Box<JobError>,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that would repeat itself.
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { error: Box::new(JobError::new(code, message)), retryable: false, retry_after: None }
    }

    /// A failure that may be over a little later.
    fn passing(code: Code, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }

    /// The failure that an error of the client means.
    fn of(error: reqwest::Error) -> Self {
        // The URL may carry what the user wants to keep to himself.
        let error = error.without_url();
        let mut causes = Vec::new();
        let mut next: Option<&dyn Error> = Some(&error);
        while let Some(cause) = next {
            if let Some(refused) = cause.downcast_ref::<Refused>() {
                return refused.clone().into();
            }
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self::passing(Code::HttpFailed, causes.join(": "))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denied) => Self::new(Code::EgressDenied, denied.to_string()),
            Refused::Unresolved { .. } => Self::passing(Code::HttpFailed, refused.to_string()),
        }
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        let Failure { error, retryable, retry_after } = failure;
        Self::Failed { error: *error, retryable, retry_after }
    }
}
