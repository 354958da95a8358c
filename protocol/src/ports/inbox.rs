//! The inbox: requests that come as messages instead of over HTTP, and the answers to them.

use async_trait::async_trait;

use super::PortError;
use crate::job::ReplyTo;
use crate::secret::Secret;

/// Where requests arrive. Anyone with rights on the broker may write there: nothing in it is trusted.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// The next request; waits for ever while there is none or while the server is away. Safe to cancel.
    async fn next(&self) -> Request;

    /// Sends an answer. Returns once the server has taken it; an address where nobody listens any more
    /// is not an error.
    async fn reply(&self, to: &ReplyTo, reply: &Reply) -> Result<(), PortError>;
}

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    /// The body: the same JSON as `POST /v1/jobs`.
    pub body: Vec<u8>,
    /// The sender's idempotency key (`message_id`).
    pub message_id: Option<String>,
    /// The API key (header `authorization`), with or without `Bearer `.
    pub authorization: Option<Secret>,
    /// W3C trace context (header `traceparent`).
    pub traceparent: Option<String>,
    /// Where the answers go.
    pub reply: Option<ReplyTo>,
    receipt: Option<Box<dyn Receipt>>,
}

impl Request {
    /// Made by backends.
    pub fn new(body: Vec<u8>, receipt: Box<dyn Receipt>) -> Self {
        Self {
            body,
            message_id: None,
            authorization: None,
            traceparent: None,
            reply: None,
            receipt: Some(receipt),
        }
    }

    /// "Taken or refused for good": the server forgets the request. Dropping a request without this gives
    /// it back, and it comes again.
    pub fn ack(mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.ack();
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.release();
        }
    }
}

/// A backend's half of a request.
pub trait Receipt: Send + Sync + std::fmt::Debug {
    /// The server forgets the request.
    fn ack(self: Box<Self>);
    /// The server delivers the request again.
    fn release(self: Box<Self>);
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What it is: `accepted`, `refused` or `finished` (the message's `type`).
    pub kind: &'static str,
    /// JSON: the job, or a problem.
    pub body: Vec<u8>,
}
