//! An inbox whose messages come from the test, with the manners of a broker: what is not acked comes again.

use std::sync::Mutex;

use async_trait::async_trait;
use protocol::job::ReplyTo;
use protocol::ports::{Inbox, InboxReceipt, PortError, Reply, Request};
use protocol::secret::Secret;
use serde_json::Value;
use tokio::sync::mpsc;

/// A message as its sender wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) body: Vec<u8>,
    pub(crate) message_id: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// The inbox, and the replies that were sent: kind and body.
pub(crate) struct PostOffice {
    sender: mpsc::UnboundedSender<Letter>,
    letters: tokio::sync::Mutex<mpsc::UnboundedReceiver<Letter>>,
    pub(crate) replies: Mutex<Vec<(String, Value)>>,
    acked: mpsc::UnboundedSender<()>,
    pub(crate) acks: Mutex<mpsc::UnboundedReceiver<()>>,
}

impl PostOffice {
    pub(crate) fn open() -> Self {
        let (sender, letters) = mpsc::unbounded_channel();
        let (acked, acks) = mpsc::unbounded_channel();
        Self {
            sender,
            letters: tokio::sync::Mutex::new(letters),
            replies: Mutex::default(),
            acked,
            acks: Mutex::new(acks),
        }
    }

    pub(crate) fn send(&self, letter: Letter) {
        self.sender.send(letter).unwrap();
    }

    /// The replies of one kind so far.
    pub(crate) fn replies(&self, kind: &str) -> Vec<Value> {
        let replies = self.replies.lock().unwrap();
        replies.iter().filter(|(found, _)| found == kind).map(|(_, body)| body.clone()).collect()
    }

    /// True if a message waits.
    pub(crate) fn holds(&self) -> bool {
        self.letters.try_lock().is_ok_and(|mut letters| letters.try_recv().is_ok())
    }

    /// How many messages were acked since the last call.
    pub(crate) fn acked(&self) -> usize {
        let mut acks = self.acks.lock().unwrap();
        std::iter::from_fn(|| acks.try_recv().ok()).count()
    }
}

#[async_trait]
impl Inbox for PostOffice {
    async fn next(&self) -> Request {
        let letter = self.letters.lock().await.recv().await.expect("the sender is ours");
        let stub = Stub { letter: letter.clone(), sender: self.sender.clone(), acked: self.acked.clone() };
        let mut request = Request::new(letter.body, Box::new(stub));
        request.message_id = letter.message_id;
        request.authorization = letter.authorization.map(Secret::new);
        request.reply = Some(ReplyTo { address: "answers".into(), correlation_id: Some("c1".into()) });
        request
    }

    async fn reply(&self, to: &ReplyTo, reply: &Reply) -> Result<(), PortError> {
        assert_eq!((to.address.as_str(), to.correlation_id.as_deref()), ("answers", Some("c1")));
        let body = serde_json::from_slice(&reply.body).unwrap();
        self.replies.lock().unwrap().push((reply.kind.to_owned(), body));
        Ok(())
    }
}

#[derive(Debug)]
struct Stub {
    letter: Letter,
    sender: mpsc::UnboundedSender<Letter>,
    acked: mpsc::UnboundedSender<()>,
}

impl InboxReceipt for Stub {
    fn ack(self: Box<Self>) {
        self.acked.send(()).expect("the test listens");
    }

    fn release(self: Box<Self>) {
        drop(self.sender.send(self.letter));
    }
}
