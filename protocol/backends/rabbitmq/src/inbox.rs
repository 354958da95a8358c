//! The port `Inbox`: requests from any AMQP client, and the answers to them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use protocol::id::JobId;
use protocol::job::ReplyTo;
use protocol::limits;
use protocol::ports::{Inbox, PortError, Reply, Request};
use protocol::secret::Secret;

use crate::Core;
use crate::consume::Subscription;
use crate::delivery::{Incoming, RequestReceipt};
use crate::error::Trouble;
use crate::publish::{Message, Work};
use crate::topology::Topology;

/// Requests that may be out at a time.
const PREFETCH: u16 = 64;
/// For the confirm of an answer.
const CONFIRM: Duration = Duration::from_secs(5);
/// Bytes of a header; a longer one is none that we could use.
const HEADER_BYTES: usize = 1_024;

pub(crate) struct RequestInbox {
    subscription: OnceLock<Subscription>,
    core: Arc<Core>,
}

impl RequestInbox {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { subscription: OnceLock::new(), core }
    }
}

#[async_trait]
impl Inbox for RequestInbox {
    async fn next(&self) -> Request {
        let subscription = self.subscription.get_or_init(|| {
            self.core.subscriptions.begin(vec![(self.core.topology.requests(), 0)], PREFETCH)
        });
        request(subscription.next().await, &self.core.topology)
    }

    async fn reply(&self, to: &ReplyTo, reply: &Reply) -> Result<(), PortError> {
        const OPERATION: &str = "inbox.reply";
        let message = answer(to, reply).map_err(|trouble| trouble.port(OPERATION))?;
        self.core.publisher.ask(OPERATION, Work::Publish(Box::new(message)), CONFIRM).await.map(drop)
    }
}

/// Reads a message, which may have been written by anyone.
fn request(message: Incoming, topology: &Topology) -> Request {
    let Incoming { mut body, properties, held, .. } = message;
    // One byte too many is enough for the dispatcher to refuse it, and all that is kept of it.
    body.truncate(limits::BODY_BYTES + 1);
    body.shrink_to_fit();
    let mut request = Request::new(body, Box::new(RequestReceipt(held)));
    request.message_id = owned(properties.message_id().as_ref());
    if let Some(headers) = properties.headers() {
        request.authorization = header(headers, "authorization").map(Secret::new);
        request.traceparent = header(headers, "traceparent");
    }
    request.reply = owned(properties.reply_to().as_ref())
        // An answer sent to a queue of ours would be a message of ours that its sender could not send.
        .filter(|address| !address.is_empty() && !topology.is_own(address))
        .map(|address| ReplyTo { address, correlation_id: owned(properties.correlation_id().as_ref()) });
    request
}

fn owned(text: Option<&ShortString>) -> Option<String> {
    text.map(|text| text.as_str().to_owned())
}

/// A header that is text, as clients send it: as a string or as bytes.
fn header(headers: &FieldTable, name: &str) -> Option<String> {
    let bytes = match headers.inner().get(name)? {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        _ => return None,
    };
    let short = (bytes.len() <= HEADER_BYTES).then_some(bytes)?;
    std::str::from_utf8(short).ok().map(str::to_owned)
}

/// The message that carries `reply`. It goes through the default exchange, which knows queues by name and
/// the pseudo-queues of direct reply-to, from whichever connection they are.
fn answer(to: &ReplyTo, reply: &Reply) -> Result<Message, Trouble> {
    let short = |text: &str| ShortString::try_new(text).map_err(|_| Trouble::Name);
    let mut properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_type(short(reply.kind)?);
    if let Some(correlation_id) = &to.correlation_id {
        properties = properties.with_correlation_id(short(correlation_id)?);
    }
    let id = JobId::generate().to_string().into();
    // Not `ours`: where nobody listens any more, the answer is dropped.
    Ok(Message { queue: short(&to.address)?, ours: false, id, body: reply.body.clone(), properties })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::Queues;
    use crate::delivery::Held;

    fn incoming(body: Vec<u8>, properties: BasicProperties) -> Incoming {
        let held = Held::new(1, mpsc::unbounded_channel().0);
        Incoming { body, properties, redelivered: false, held }
    }

    #[test]
    fn what_is_taken_from_a_message_is_bounded() {
        let topology = Topology::new("sortie", Queues::Quorum);
        let mut headers = FieldTable::default();
        headers.insert("authorization".into(), AMQPValue::ByteArray(b"Bearer sk_1".to_vec().into()));
        headers.insert("traceparent".into(), AMQPValue::LongString("x".repeat(2_000).as_str().into()));
        let properties = BasicProperties::default().with_headers(headers).with_message_id("m".into());
        let request = request(incoming(vec![b' '; limits::BODY_BYTES * 2], properties), &topology);
        assert_eq!(request.body.len(), limits::BODY_BYTES + 1);
        assert_eq!(request.authorization.as_ref().unwrap().reveal(), "Bearer sk_1");
        assert_eq!((request.traceparent.as_ref(), request.message_id.as_deref()), (None, Some("m")));
        assert_eq!(request.reply, None);
    }

    #[test]
    fn nobody_gets_answers_sent_into_our_own_queues() {
        let topology = Topology::new("sortie", Queues::Quorum);
        for (address, taken) in
            [("replies", true), ("amq.rabbitmq.reply-to.g1h2", true), ("sortie.v1.jobs.default.high", false)]
        {
            let properties =
                BasicProperties::default().with_reply_to(address.into()).with_correlation_id("7".into());
            let reply = request(incoming(vec![], properties), &topology).reply.take();
            assert_eq!(reply.is_some(), taken, "{address}");
        }
    }

    #[test]
    fn an_address_too_long_for_amqp_is_an_error() {
        let to = ReplyTo { address: "x".repeat(256), correlation_id: None };
        assert!(answer(&to, &Reply { kind: "accepted", body: vec![] }).is_err());
    }
}
