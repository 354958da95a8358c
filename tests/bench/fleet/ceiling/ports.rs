//! The way of a job through Sortie's own ports, without HTTP and Python: create, publish, clear the outbox mark, consume,
//! claim, finish, acknowledge; all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bench::job;
use protocol::action::Content;
use protocol::event::EventBatch;
use protocol::id::{ContentHash, Lane, WorkerId};
use protocol::isolation::Isolation;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{
    Claim, Confirmed, Created, Delivery, Finish, Finished, NewJob, Queue, Store, StoreOptions,
};
use protocol::secret::Secret;
use serde_json::json;
use tokio::task::JoinSet;

use super::{IN_FLIGHT, done, for_each};
use crate::load::Done;
use crate::servers::Servers;

const PREFIX: &str = "bench-ceiling";

/// So many jobs.
pub(super) async fn run(servers: Servers, jobs: u64) -> anyhow::Result<Done> {
    let redis = backend_redis::connect(backend_redis::Options {
        url: Secret::new(servers.redis),
        prefix: PREFIX.into(),
        store: StoreOptions::default(),
    })?;
    let rabbitmq = backend_rabbitmq::connect(backend_rabbitmq::Options {
        url: Secret::new(servers.amqp),
        prefix: PREFIX.into(),
        queues: backend_rabbitmq::Queues::Quorum,
    })?;
    let (queue, store) = (rabbitmq.queue(), redis.store());
    let content: Content = serde_json::from_value(json!({"handler": {"kind": "python", "source": "pass"}}))?;
    let hash = content.hash();
    let began = Instant::now();
    let consumed = tokio::spawn(consume(queue.clone(), store.clone(), jobs));
    for_each(jobs, |n| create(queue.clone(), store.clone(), hash.clone(), n)).await?;
    consumed.await??;
    let done = done(jobs, began);
    rabbitmq.close().await;
    Ok(done)
}

async fn create(
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    hash: ContentHash,
    n: u64,
) -> anyhow::Result<()> {
    let spec = job("noop_warm", hash, json!({"n": n}))?;
    let created = store.create(NewJob { spec: spec.clone(), idempotency: None }).await?;
    ensure!(matches!(created, Created::New(_)), "job {} was there already", spec.id);
    let confirmed = Confirmed { job: spec.id, began: Instant::now() };
    queue.publish(&spec).await?;
    Ok(store.published(&[confirmed]).await?)
}

async fn consume(queue: Arc<dyn Queue>, store: Arc<dyn Store>, jobs: u64) -> anyhow::Result<()> {
    let worker = Arc::new(WorkerId::new("bench-4711-3f9a0c")?);
    let mut consumer = queue.consume(&[Lane::standard()], u16::try_from(IN_FLIGHT)?).await?;
    let mut running = JoinSet::new();
    for _ in 0..jobs {
        running.spawn(finish(consumer.next().await, store.clone(), worker.clone()));
    }
    while let Some(finished) = running.join_next().await {
        finished??;
    }
    Ok(())
}

async fn finish(delivery: Delivery, store: Arc<dyn Store>, worker: Arc<WorkerId>) -> anyhow::Result<()> {
    let claim = store.claim(&delivery.job, &worker, Isolation::Sandbox).await?;
    let Claim::Granted { attempt, .. } = claim else { anyhow::bail!("a claim was answered with {claim:?}") };
    let finish = Finish {
        outcome: Outcome::Succeeded,
        verdict: Verdict::Succeed(delivery.job.input.clone()),
        took: Duration::ZERO,
        last: EventBatch { first: 1, events: Vec::new() },
    };
    let finished = store.finish(&delivery.job, attempt, &finish).await?;
    ensure!(finished == Finished::Recorded, "a finish came late");
    delivery.ack();
    Ok(())
}
