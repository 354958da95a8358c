//! What bounds every program on these servers: the broker alone, and the way of a job without HTTP and Python, once with
//! bare clients and once through Sortie's own ports.

mod bare;
mod broker;
mod ports;

use std::time::Instant;

use anyhow::Context;
use futures_util::StreamExt;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use crate::load::Done;
use crate::servers::Servers;
use crate::session::{CEILING, Session};
use crate::throughput;
use crate::usage::{Reading, Watched};

/// Messages or jobs that are on their way at the same time.
const IN_FLIGHT: usize = 256;
/// About what the message of a job has: its specification as JSON.
const BODY_BYTES: usize = 600;

/// All of them.
pub(crate) async fn measure(session: &mut Session) -> anyhow::Result<()> {
    let (servers, form) = (session.servers.clone(), session.options.form);
    servers.clear().await?;
    let amqp = servers.amqp.clone();
    let (published, consumed) = apart(broker::run(amqp, form.of(20_000, 60_000))).await?;
    session.figures.add(CEILING, "ceiling.broker.published_per_second", published.per_second());
    session.figures.add(CEILING, "ceiling.broker.consumed_per_second", consumed.per_second());
    let jobs = form.of(12_000, 40_000);
    let before = Reading::take(&watched(&servers))?;
    let done = apart(bare::run(servers.clone(), jobs)).await?;
    add(session, "bare", &before, done)?;
    let before = Reading::take(&watched(&servers))?;
    let done = apart(ports::run(servers.clone(), jobs)).await?;
    add(session, "ports", &before, done)
}

fn watched(servers: &Servers) -> Vec<Watched> {
    let mut watched = vec![Watched::alone("client", std::process::id())];
    watched.extend(servers.watched());
    watched
}

fn add(session: &mut Session, name: &str, before: &Reading, done: Done) -> anyhow::Result<()> {
    let usage = before.until_now(&watched(&session.servers))?;
    session.figures.add(CEILING, &format!("ceiling.{name}.per_second"), done.per_second());
    throughput::costs(session, CEILING, &format!("ceiling_{name}"), &usage, done.jobs);
    Ok(())
}

/// Runs on all processors, as Sortie does: the load generator's runtime has one thread.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let run = || tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work);
    tokio::task::spawn_blocking(run).await?
}

/// Does something for each number below `count`, many at the same time, each in a task of its own.
async fn for_each<F>(count: u64, work: impl Fn(u64) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let tasks = futures_util::stream::iter(0..count).map(|n| tokio::spawn(work(n)));
    let mut ends = tasks.buffer_unordered(IN_FLIGHT);
    while let Some(end) = ends.next().await {
        end??;
    }
    Ok(())
}

/// A connection with one channel that confirms, and an empty quorum queue.
async fn broker(url: &str, queue: &str) -> anyhow::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.context("RabbitMQ")?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok((connection, channel))
}

async fn delete(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

fn done(jobs: u64, began: Instant) -> Done {
    Done { jobs, span: began.elapsed() }
}
