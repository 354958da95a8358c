//! Messages that the client library can't parse: a property that isn't UTF-8 is enough. Such a message ends
//! the connection that it is delivered on, comes again on the next one, and so would stop everybody who
//! consumes its queue for ever. As the library never shows it, it is put aside blindly.

use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, message::BasicGetMessage};

use crate::connection::{Link, Server, answer};
use crate::error::Trouble;

const NAME: &str = "sortie look for an unreadable message";

/// Puts the next message of `queue` aside if it can't be read.
///
/// A message that comes back goes before those that were never delivered. So this is the message that ended a
/// connection, if that connection had no other message of this queue out, and nobody else's came back.
pub(crate) async fn put_aside(server: &Server, queue: &ShortString) -> Result<(), Trouble> {
    let link = Link::open(server, NAME).await?;
    let channel = link.channel().await?;
    // The first delivery of a channel has the tag 1. Both go out together: the server has the rejection, and
    // with it moves the message to the dead letters, before we choke on what it sends.
    let reject = channel.basic_reject(1, BasicRejectOptions { requeue: false });
    let (got, rejected) = tokio::join!(get(&link, &channel, queue), reject);
    match got {
        Err(trouble) if trouble.is_unreadable() => {
            tracing::warn!(queue = queue.as_str(), "a message that can't be read was put aside");
            Ok(())
        }
        Ok(Some(message)) => {
            // Another one, and a good one: it goes back where it belongs.
            rejected?;
            put_back(&channel, queue, message).await
        }
        Ok(None) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

async fn get(
    link: &Link,
    channel: &Channel,
    queue: &ShortString,
) -> Result<Option<BasicGetMessage>, Trouble> {
    let asked = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: false });
    // The library never answers this request if it could read only half of the server's answer.
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
