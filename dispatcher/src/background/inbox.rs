//! Takes requests that come as messages through the same intake as HTTP, and answers each with `accepted`
//! or `refused`.
//!
//! A message is acked after it was answered for good. While a backend is away it is held and tried again;
//! when this process stops it is given back, and the server hands it to another dispatcher. What makes
//! that harmless is the `message_id`, which every request must have: a message that comes twice is one job.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::{Code, Problem};
use protocol::limits;
use protocol::ports::{Inbox, Reply, Request, Retry};
use protocol::secret::Secret;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::sweep::jittered;
use crate::access::{Verb, presented};
use crate::dispatcher::Dispatcher;
use crate::intake::{Accepted, Origin, Submit};
use crate::{trouble, view};

/// The first and the longest pause while a backend is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Accepted jobs whose end is watched, so that the reply goes out at once and not at the next sweep.
const WATCHED: usize = 256;

pub(super) async fn run(dispatcher: Dispatcher, inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(dispatcher.options().inbox_ceiling.max(1)));
    let watched = Arc::new(Semaphore::new(WATCHED));
    let desk = Desk { dispatcher, inbox, watched, stop };
    loop {
        // Never closed, so a place always comes.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let request = tokio::select! {
            () = desk.stop.cancelled() => return,
            request = desk.inbox.next() => request,
        };
        let desk = desk.clone();
        desk.dispatcher.tasks().clone().spawn(async move {
            desk.handle(request).await;
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Desk {
    dispatcher: Dispatcher,
    inbox: Arc<dyn Inbox>,
    watched: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Desk {
    /// Takes one request to its end. Returning early drops it, which gives it back.
    async fn handle(&self, request: Request) {
        let mut pause = PAUSES.0;
        let answer = loop {
            let taken = self.dispatcher.metrics().measure(Verb::Submit, take(&self.dispatcher, &request));
            match taken.await {
                Err(problem) if problem.code.retryable() => {
                    if !self.rest(&mut pause).await {
                        return;
                    }
                }
                answer => break answer,
            }
        };
        let reply = match &answer {
            Ok(accepted) => Reply { kind: "accepted", body: json(&view::job(&accepted.job)) },
            Err(problem) => Reply { kind: "refused", body: json(&view::problem(problem)) },
        };
        if !self.answer(&request, &reply).await {
            return;
        }
        if let Ok(accepted) = answer {
            self.hurry(accepted);
        }
        request.ack();
    }

    /// Sends the answer, if one is wanted. False if this process stops before it could.
    async fn answer(&self, request: &Request, reply: &Reply) -> bool {
        let Some(to) = &request.reply else { return true };
        let mut pause = PAUSES.0;
        loop {
            match self.inbox.reply(to, reply).await {
                Ok(()) => return true,
                Err(error) if error.retry() == Retry::Later => {
                    tracing::warn!(cause = trouble::causes(&error), "an answer is sent later");
                    if !self.rest(&mut pause).await {
                        return false;
                    }
                }
                Err(error) => {
                    tracing::error!(cause = trouble::causes(&error), "an answer can't be sent");
                    return true;
                }
            }
        }
    }

    /// Lets the reply go out as soon as the job is finished, as far as there are places to watch it from.
    fn hurry(&self, accepted: Accepted) {
        let Ok(place) = Arc::clone(&self.watched).try_acquire_owned() else { return };
        if accepted.job.spec.reply.is_none() {
            return;
        }
        let dispatcher = self.dispatcher.clone();
        self.dispatcher.tasks().spawn(async move {
            let limit = dispatcher.options().wait_ceiling;
            dispatcher.await_accepted(accepted, limit).await;
            dispatcher.replies().notify_one();
            drop(place);
        });
    }

    /// Rests a little longer each time. False if this process stops.
    async fn rest(&self, pause: &mut Duration) -> bool {
        let rest = jittered(*pause);
        *pause = (*pause * 2).min(PAUSES.1);
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(rest) => true,
        }
    }
}

/// The same way as over HTTP: who asks, what for, accept.
async fn take(dispatcher: &Dispatcher, request: &Request) -> Result<Accepted, Problem> {
    let Some(secret) = &request.authorization else {
        return Err(Problem::new(Code::KeyMissing, "set the message's header authorization to an API key"));
    };
    let caller = dispatcher.authenticate(&Secret::new(presented(secret.reveal()))).await?;
    let size = request.body.len();
    if size > limits::BODY_BYTES {
        let detail = format!("the message has {size} bytes; at most {} are allowed", limits::BODY_BYTES);
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let submit = Submit::parse(&request.body)?;
    let origin = Origin {
        idempotency_key: Some(message_id(request)?),
        traceparent: request.traceparent.clone(),
        reply: request.reply.clone(),
        beside: None,
    };
    dispatcher.submit(&caller, submit, origin).await
}

/// The sender's own key for this request. The server may deliver a message twice; without this it would
/// be two jobs.
fn message_id(request: &Request) -> Result<String, Problem> {
    match request.message_id.as_deref() {
        None | Some("") => Err(Problem::at(
            Code::FieldMissing,
            "message_id",
            "set this property of the message to a key of your own: a message delivered twice is then one job",
        )),
        Some(id) if id.len() > limits::IDEMPOTENCY_KEY_BYTES => {
            let message = format!("has at most {} bytes", limits::IDEMPOTENCY_KEY_BYTES);
            Err(Problem::at(Code::FieldInvalid, "message_id", message))
        }
        Some(id) => Ok(id.to_owned()),
    }
}

fn json(view: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(view).unwrap_or_default()
}
