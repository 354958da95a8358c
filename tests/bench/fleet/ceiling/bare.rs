//! The way of a job with bare clients: create it in Redis, publish with confirm, consume, mark it as running, finish it by
//! a script, acknowledge; all at once. No schema, no key, no lease, no index, no outbox, no sandbox.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::{BODY_BYTES, IN_FLIGHT, broker, delete, done, for_each};
use crate::load::Done;
use crate::servers::Servers;

const QUEUE: &str = "bench.ceiling.bare";
const PERSISTENT: u8 = 2;
/// Only a job that runs can end.
const FINISH: &str = "if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'succeeded', 'result', ARGV[1])
return 1";

/// So many jobs.
pub(super) async fn run(servers: Servers, jobs: u64) -> anyhow::Result<Done> {
    let client = redis::Client::open(servers.redis.as_str())?;
    let (one, channel) = broker(&servers.amqp, QUEUE).await?;
    let (other, consuming) = broker(&servers.amqp, QUEUE).await?;
    let store = client.get_multiplexed_async_connection().await?;
    let finishing = client.get_multiplexed_async_connection().await?;
    let body: Arc<str> = "x".repeat(BODY_BYTES).into();
    let began = Instant::now();
    let consumed = tokio::spawn(consume(consuming, finishing, jobs));
    for_each(jobs, |n| create(channel.clone(), store.clone(), body.clone(), n)).await?;
    consumed.await??;
    let done = done(jobs, began);
    // The consumer first: deleting its queue would cancel it.
    other.close(200, "OK".into()).await?;
    delete(&channel, QUEUE).await?;
    one.close(200, "OK".into()).await?;
    Ok(done)
}

fn key(n: impl std::fmt::Display) -> String {
    format!("bench:ceiling:{n}")
}

async fn create(
    channel: Channel,
    mut store: MultiplexedConnection,
    body: Arc<str>,
    n: u64,
) -> anyhow::Result<()> {
    let record = [("state", "queued"), ("spec", &body)];
    redis::cmd("HSET").arg(key(n)).arg(&record).exec_async(&mut store).await?;
    let properties =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(n.to_string().into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), QUEUE.into(), options, body.as_bytes(), properties).await?;
    ensure!(sent.await?.is_ack(), "a message was not confirmed");
    Ok(())
}

async fn consume(channel: Channel, mut store: MultiplexedConnection, jobs: u64) -> anyhow::Result<()> {
    let script = Arc::new(Script::new(FINISH));
    script.load_async(&mut store).await?;
    channel.basic_qos(u16::try_from(IN_FLIGHT)?, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    let mut running = JoinSet::new();
    for _ in 0..jobs {
        let delivery = consumer.next().await.context("the consumer ended")??;
        running.spawn(finish(delivery, store.clone(), script.clone()));
    }
    while let Some(finished) = running.join_next().await {
        finished??;
    }
    Ok(())
}

async fn finish(
    delivery: Delivery,
    mut store: MultiplexedConnection,
    script: Arc<Script>,
) -> anyhow::Result<()> {
    let key = key(delivery.properties.message_id().as_ref().context("a message without an id")?);
    let running = [("state", "running"), ("attempt", "1")];
    redis::cmd("HSET").arg(&key).arg(&running).exec_async(&mut store).await?;
    let finished: u8 = script.key(&key).arg(r#"{"n":1}"#).invoke_async(&mut store).await?;
    ensure!(finished == 1, "{key} did not run");
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
