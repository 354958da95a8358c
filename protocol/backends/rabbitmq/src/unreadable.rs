//! Messages that the client library can't parse, a property that isn't UTF-8 for instance. Such a message
//! ends the connection that it is delivered on, comes again on the next one, and so would stop everybody who
//! consumes its queue for ever. The library never shows it; so it is found by counting, and put aside blindly.

use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, message::BasicGetMessage};

use crate::connection::{Link, Server, answer};
use crate::error::Trouble;

const NAME: &str = "sortie look for unreadable messages";
/// How far from the head of a queue is looked: what consumers had out comes back before it.
const LOOK: u64 = 4_096;

/// Puts aside the first message of `queue` that can't be read. False if there is none.
pub(crate) async fn put_aside(server: &Server, queue: &ShortString) -> Result<bool, Trouble> {
    let Some(before) = readable_before(server, queue).await? else { return Ok(false) };
    let link = Link::open(server, NAME).await?;
    let channel = link.channel().await?;
    for _ in 0..before {
        get(&link, &channel, queue).await?;
    }
    // Delivery tags count from 1. Both go out together, so the server has the rejection, and with it moves
    // the message to the dead letters, whether or not we survive what it sends.
    let reject = channel.basic_reject(before + 1, BasicRejectOptions { requeue: false });
    let (got, rejected) = tokio::join!(get(&link, &channel, queue), reject);
    eprintln!("DBG {queue} before {before} got {got:?} rejected {rejected:?}");
    match got {
        Err(trouble) if trouble.is_unreadable() => {
            tracing::warn!(queue = queue.as_str(), "a message that can't be read was put aside");
            Ok(true)
        }
        // Others consume too: this is another message, which must not stay among the dead letters.
        Ok(Some(message)) => {
            rejected?;
            put_back(&channel, queue, message).await?;
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// How many messages stand before the first that can't be read; `None` if there is none. What was looked at
/// goes back with the end of the connection.
async fn readable_before(server: &Server, queue: &ShortString) -> Result<Option<u64>, Trouble> {
    let link = Link::open(server, NAME).await?;
    let channel = link.channel().await?;
    for before in 0..LOOK {
        match get(&link, &channel, queue).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(trouble) if trouble.is_unreadable() => return Ok(Some(before)),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(None)
}

async fn get(
    link: &Link,
    channel: &Channel,
    queue: &ShortString,
) -> Result<Option<BasicGetMessage>, Trouble> {
    let asked = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: false });
    // The library leaves this request unanswered where its answer was half read.
    let got = tokio::select! {
        got = answer("basic.get", asked) => got,
        trouble = link.ended(channel) => Err(trouble),
    };
    got.map_err(|trouble| link.cause().unwrap_or(trouble))
}

async fn put_back(channel: &Channel, queue: &ShortString, message: BasicGetMessage) -> Result<(), Trouble> {
    answer("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (body, properties) = (message.delivery.data, message.delivery.properties);
    let sent = channel.basic_publish("".into(), queue.clone(), options, &body, properties).await?;
    answer("basic.publish", sent).await.map(drop)
}
