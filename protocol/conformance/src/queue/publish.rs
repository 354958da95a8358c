//! What publishing promises.
//! Durable when it returns, to the letter, and once for every publication.

use std::collections::BTreeSet;

use protocol::job::JobSpec;
use serde_json::json;

use super::Fixture;
use crate::sample::{UNICODE, elaborate_job, job, lane};
use crate::wait::race;

pub async fn a_published_job_survives_a_restart(queue: Fixture) {
    let jobs = queue.put_jobs(3).await;
    let queue = queue.reopened().await;
    let mut taker = queue.taker(10).await;
    let again: Vec<_> = taker.take_some(3).await.iter().map(|delivery| delivery.job.id).collect();
    assert_eq!(again, jobs);
}

pub async fn a_delivery_carries_the_job_to_the_letter(queue: Fixture) {
    let job = elaborate_job();
    queue.put(&job).await;
    let delivery = queue.taker_of(std::slice::from_ref(&job.lane), 1).await.take().await;
    assert_eq!(delivery.job, job);
    assert!(!delivery.redelivered);
}

pub async fn an_input_of_256_kib_arrives_whole(queue: Fixture) {
    let text = UNICODE.repeat(protocol::limits::INPUT_BYTES / UNICODE.len() / 2);
    let job = JobSpec { input: json!(text).into(), ..job() };
    queue.put(&job).await;
    assert_eq!(queue.taker(1).await.take().await.job.input, job.input);
}

pub async fn every_job_of_many_publishers_arrives_once(queue: Fixture) {
    let mut taker = queue.taker(50).await;
    let publishers = queue.clone();
    let publishing = tokio::spawn(async move {
        race(20, move |_| {
            let queue = publishers.clone();
            async move { queue.put_jobs(25).await }
        })
        .await
    });
    let mut arrived = Vec::new();
    for _ in 0..500 {
        let delivery = taker.take().await;
        arrived.push(delivery.job.id);
        delivery.ack();
    }
    let published: BTreeSet<_> = publishing.await.unwrap().into_iter().flatten().collect();
    assert_eq!(arrived.iter().copied().collect::<BTreeSet<_>>(), published);
    taker.take_nothing().await;
}

pub async fn a_job_that_is_published_again_is_delivered_again(queue: Fixture) {
    let job = job();
    let mut taker = queue.taker(1).await;
    for _ in 0..3 {
        queue.put(&job).await;
        taker.take().await.ack();
    }
}

/// A worker may ack an old delivery after the job was published again because its lease had lapsed.
pub async fn an_ack_leaves_a_second_publication_of_the_job(queue: Fixture) {
    let job = job();
    let mut taker = queue.taker(10).await;
    queue.put(&job).await;
    let first = taker.take().await;
    queue.put(&job).await;
    first.ack();
    let second = taker.take().await;
    assert_eq!(second.job, job);
    second.ack();
    drop(taker);
    assert_eq!(queue.rest().await, []);
}

pub async fn a_job_of_another_client_arrives(queue: Fixture) {
    let mut taker = queue.taker(1).await;
    let jobs = queue.other().await.put_jobs(1).await;
    assert_eq!(taker.take().await.job.id, jobs[0]);
}

pub async fn a_lane_that_nobody_serves_keeps_its_jobs(queue: Fixture) {
    let job = JobSpec { lane: lane("later"), ..job() };
    queue.put(&job).await;
    assert_eq!(queue.rest().await, []);
    let queue = queue.reopened().await;
    assert_eq!(queue.taker_of(&[lane("later")], 1).await.take().await.job, job);
}
