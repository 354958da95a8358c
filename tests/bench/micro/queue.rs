//! What carrying a job costs in each queue: publishing with confirm, alone and 64 at a time; and taking with ack, with
//! one delivery out at a time (each ack is then the way to the next) and with 64.

use std::sync::Arc;
use std::time::Duration;

use conformance::sample;
use divan::Bencher;
use divan::counter::ItemsCount;
use futures_util::future::join_all;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::{Consumer, Queue};
use tokio::time::timeout;

use crate::places::{Embedded, EmbeddedSynced, HasQueue, RUNTIME, RabbitMq};

/// Messages that are published, or deliveries that are out, at the same time.
const AT_ONCE: [u16; 2] = [1, 64];
/// Jobs that wait when taking begins. The first deliveries are on their way before the clock runs, so there are many more.
const WAITING: usize = 512;
/// A lane in which nothing came for so long is empty.
const SILENCE: Duration = Duration::from_millis(300);

fn job(lane: &str) -> JobSpec {
    JobSpec { lane: sample::lane(lane), ..sample::job() }
}

async fn publish_all(queue: &Arc<dyn Queue>, jobs: &[JobSpec]) {
    for published in join_all(jobs.iter().map(|job| queue.publish(job))).await {
        published.unwrap();
    }
}

async fn consumer(queue: &Arc<dyn Queue>, lane: &Lane, ceiling: u16) -> Box<dyn Consumer> {
    queue.consume(std::slice::from_ref(lane), ceiling).await.unwrap()
}

/// Takes what an earlier benchmark (or a run that was ended) left.
async fn empty(queue: &Arc<dyn Queue>, lane: &Lane) {
    let mut consumer = consumer(queue, lane, 256).await;
    while let Ok(delivery) = timeout(SILENCE, consumer.next()).await {
        delivery.ack();
    }
}

#[divan::bench(types = [Embedded, EmbeddedSynced, RabbitMq], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn publish<B: HasQueue>(bencher: Bencher<'_, '_>, at_once: u16) {
    let (queue, lane) = (B::queue(), sample::lane("one"));
    let jobs = || -> Vec<JobSpec> { (0..at_once).map(|_| job("one")).collect() };
    bencher
        .counter(ItemsCount::new(at_once))
        .with_inputs(jobs)
        .bench_local_refs(|jobs| RUNTIME.block_on(publish_all(&queue, jobs)));
    RUNTIME.block_on(empty(&queue, &lane));
}

#[divan::bench(types = [Embedded, RabbitMq], args = AT_ONCE, sample_size = 1, max_time = 2)]
fn take_and_ack<B: HasQueue>(bencher: Bencher<'_, '_>, ceiling: u16) {
    let (queue, lane) = (B::queue(), sample::lane("two"));
    RUNTIME.block_on(empty(&queue, &lane));
    let mut consumer = RUNTIME.block_on(consumer(&queue, &lane, ceiling));
    let publish = || {
        let jobs: Vec<JobSpec> = (0..WAITING).map(|_| job("two")).collect();
        RUNTIME.block_on(publish_all(&queue, &jobs));
    };
    bencher.counter(ItemsCount::new(WAITING)).with_inputs(publish).bench_local_values(|()| {
        RUNTIME.block_on(async {
            for _ in 0..WAITING {
                consumer.next().await.ack();
            }
        });
    });
}
