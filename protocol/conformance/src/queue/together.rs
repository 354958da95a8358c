//! Jobs that may share a message: each is a delivery of its own, whatever becomes of the others.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use protocol::id::{JobId, Lane};
use protocol::job::JobSpec;

use super::{Fixture, Taker};
use crate::sample::{job, json};
use crate::wait::{soon, until};

/// How many may share a message.
const NUMBER: usize = 16;

impl Fixture {
    /// Publishes so many jobs at the same time, each with leave to share; their ids in the order of the ids.
    async fn put_together(&self, count: usize) -> Vec<JobId> {
        // The first publish to a queue of a server may take another way.
        self.put_jobs(1).await;
        assert_eq!(self.rest().await.len(), 1);
        let jobs: Vec<_> = (0..count).map(|_| job()).collect();
        self.put_all(&jobs).await;
        jobs.into_iter().map(|job| job.id).collect()
    }

    async fn put_all(&self, jobs: &[JobSpec]) {
        let putting = try_join_all(jobs.iter().map(|job| self.publish_together(job, NUMBER)));
        soon("the publishes are confirmed", putting).await.unwrap();
    }

    /// Acks what came along with the last delivery: it is at hand, and so before what is published now.
    async fn ack_what_came(&self, taker: &mut Taker) {
        let mark = self.put_jobs(1).await;
        taker.ack_until(&mark).await;
    }
}

impl Taker {
    /// Takes and acks until each of these has come.
    async fn ack_until(&mut self, jobs: &[JobId]) {
        let mut missing: BTreeSet<_> = jobs.iter().collect();
        while !missing.is_empty() {
            let delivery = self.take().await;
            missing.remove(&delivery.job.id);
            delivery.ack();
        }
    }
}

pub async fn jobs_put_together_come_once_each(queue: Fixture) {
    let jobs = queue.put_together(200).await;
    let mut taker = queue.taker(20).await;
    let mut came = BTreeSet::new();
    for _ in 0..jobs.len() {
        let delivery = taker.take().await;
        assert!(came.insert(delivery.job.id));
        delivery.ack();
    }
    assert_eq!(came, jobs.into_iter().collect());
    drop(taker);
    assert_eq!(queue.rest().await, []);
}

pub async fn jobs_of_every_size_can_be_put_together(queue: Fixture) {
    let input = |bytes: usize| json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes)));
    let sized = |bytes| JobSpec { input: input(bytes), ..job() };
    let jobs: Vec<_> = (0..24).map(|number| sized([10, 100_000, 250_000, 2_000][number % 4])).collect();
    queue.put_all(&jobs).await;
    let mut taker = queue.taker(100).await;
    for _ in &jobs {
        let delivery = taker.take().await;
        let sent = jobs.iter().find(|job| job.id == delivery.job.id).unwrap();
        assert_eq!(delivery.job, *sent);
        delivery.ack();
    }
}

pub async fn one_that_is_released_comes_again_and_the_others_can_still_be_acked(queue: Fixture) {
    let jobs = queue.put_together(NUMBER).await;
    let mut taker = queue.taker(100).await;
    let mut held = taker.take_some(NUMBER).await;
    let (first, released) = (held.swap_remove(0), held.swap_remove(7));
    let id = released.job.id;
    first.ack();
    released.release();
    taker.ack_until(&[id]).await;
    queue.ack_what_came(&mut taker).await;
    held.into_iter().for_each(protocol::ports::Delivery::ack);
    drop(taker);
    assert_eq!(queue.rest().await, [], "of {jobs:?}");
}

pub async fn a_dead_letter_leaves_those_that_were_put_with_it(queue: Fixture) {
    let jobs = queue.put_together(NUMBER).await;
    let mut taker = queue.taker(100).await;
    let mut held = taker.take_some(NUMBER).await;
    let dead = held.swap_remove(3);
    let others: Vec<_> = jobs.into_iter().filter(|job| *job != dead.job.id).collect();
    dead.dead_letter("no worker can read it");
    drop((taker, held));
    let queue = queue.reopened().await;
    let mut taker = queue.taker(100).await;
    taker.ack_until(&others).await;
    queue.ack_what_came(&mut taker).await;
    drop(taker);
    assert_eq!(queue.rest().await, []);
}

pub async fn those_that_are_out_at_a_restart_come_again(queue: Fixture) {
    let jobs = queue.put_together(40).await;
    let mut taker = queue.taker(100).await;
    let mut held = taker.take_some(20).await;
    let acked: Vec<_> = held.split_off(15);
    let done: Vec<_> = acked.iter().map(|delivery| delivery.job.id).collect();
    acked.into_iter().for_each(protocol::ports::Delivery::ack);
    let queue = queue.reopened().await;
    drop((taker, held));
    let open: Vec<_> = jobs.into_iter().filter(|job| !done.contains(job)).collect();
    queue.taker(100).await.ack_until(&open).await;
}

pub async fn depth_tells_about_how_many_jobs_put_together_wait(queue: Fixture) {
    queue.put_together(10 * NUMBER).await;
    let about = (8 * NUMBER as u64)..=(12 * NUMBER as u64);
    until("the jobs are counted", || async {
        let depth = queue.depth(&Lane::standard()).await.unwrap();
        about.contains(&depth.ready).then_some(())
    })
    .await;
}
