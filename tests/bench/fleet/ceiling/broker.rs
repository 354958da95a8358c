//! The broker alone: confirmed publishes into a quorum queue, then consuming and acknowledging each.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::{BODY_BYTES, IN_FLIGHT, broker, delete, done};
use crate::load::Done;

const QUEUE: &str = "bench.ceiling.broker";
/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// So many messages in, then out again.
pub(super) async fn run(amqp: String, messages: u64) -> anyhow::Result<(Done, Done)> {
    let (one, channel) = broker(&amqp, QUEUE).await?;
    let body = vec![b'x'; BODY_BYTES];
    let publish = async |_| {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), QUEUE.into(), options, &body, properties).await?;
        ensure!(sent.await?.is_ack(), "a message was not confirmed");
        Ok(())
    };
    let began = Instant::now();
    let mut confirms = futures_util::stream::iter(0..messages).map(publish).buffer_unordered(IN_FLIGHT);
    while let Some(confirm) = confirms.next().await {
        confirm?;
    }
    let published = done(messages, began);

    let (other, consuming) = broker(&amqp, QUEUE).await?;
    let began = Instant::now();
    consuming.basic_qos(u16::try_from(IN_FLIGHT)?, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        consuming.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    for _ in 0..messages {
        consumer.next().await.context("the consumer ended")??.ack(BasicAckOptions::default()).await?;
    }
    let consumed = done(messages, began);
    other.close(200, "OK".into()).await?;
    delete(&channel, QUEUE).await?;
    one.close(200, "OK".into()).await?;
    Ok((published, consumed))
}
