//! What a queue tells about itself.
//! A server may count a moment later than it acts, so rules wait for a number to appear.

use protocol::id::Lane;
use protocol::job::{JobSpec, Priority};

use super::Fixture;
use crate::sample::{job, lane};
use crate::wait::{soon, until};

impl Fixture {
    /// Waits until so many jobs are ready in the standard lane: a server may count a moment later.
    async fn ready(&self, count: u64) {
        let what = format!("{count} jobs are ready");
        until(&what, || async {
            let depth = self.depth(&Lane::standard()).await.unwrap();
            (depth.ready == count).then_some(())
        })
        .await;
    }
}

pub async fn depth_counts_what_waits_in_all_priorities(queue: Fixture) {
    for priority in Priority::ALL {
        queue.put(&JobSpec { priority, ..job() }).await;
    }
    queue.put(&JobSpec { lane: lane("one"), ..job() }).await;
    queue.ready(3).await;
}

pub async fn depth_leaves_out_what_is_held_or_done(queue: Fixture) {
    queue.put_jobs(3).await;
    let mut taker = queue.taker(2).await;
    let (first, second) = (taker.take().await, taker.take().await);
    queue.ready(1).await;
    first.ack();
    taker.take().await.ack();
    queue.ready(0).await;
    drop(taker);
    second.release();
    queue.ready(1).await;
}

pub async fn depth_leaves_out_dead_letters(queue: Fixture) {
    queue.put_jobs(2).await;
    let mut taker = queue.taker(1).await;
    taker.take().await.dead_letter("not wanted");
    drop(taker);
    queue.ready(1).await;
}

pub async fn a_lane_that_was_never_used_is_empty(queue: Fixture) {
    let depth = queue.depth(&lane("never-used")).await.unwrap();
    assert_eq!((depth.ready, depth.oldest), (0, None));
}

pub async fn the_age_of_the_oldest_job_is_told_where_the_backend_knows_it(queue: Fixture) {
    let known = queue.capabilities().oldest_age;
    queue.put_jobs(1).await;
    queue.ready(1).await;
    let age = async || queue.depth(&Lane::standard()).await.unwrap().oldest;
    let first = age().await;
    assert_eq!(first.is_some(), known);
    if known {
        queue.put_jobs(1).await;
        until("the oldest job grows older", || async { (age().await > first).then_some(()) }).await;
    }
}

pub async fn a_ping_is_answered(queue: Fixture) {
    soon("an answer to a ping", queue.ping()).await.unwrap();
}
