//! What becomes of a delivery: acked, released, dropped, put aside, or out when its consumer goes.
//! Settling happens in the background and in order: that order is how rules know that it has happened.

use super::Fixture;
use crate::sample::{UNICODE, job};

pub async fn a_delivery_that_is_dropped_comes_again(queue: Fixture) {
    let job = job();
    queue.put(&job).await;
    let mut taker = queue.taker(1).await;
    drop(taker.take().await);
    let again = taker.take().await;
    assert_eq!(again.job, job);
    assert!(again.redelivered);
}

pub async fn a_delivery_that_is_released_comes_again_marked(queue: Fixture) {
    let jobs = queue.put_jobs(2).await;
    let mut taker = queue.taker(2).await;
    let (first, second) = (taker.take().await, taker.take().await);
    assert!(!first.redelivered && !second.redelivered);
    first.release();
    let again = taker.take().await;
    assert_eq!(again.job.id, jobs[0]);
    assert!(again.redelivered);
}

/// A worker that drains or has no slot gives jobs back. However often that happens, it is nobody's fault.
pub async fn a_job_that_is_released_thirty_times_still_comes(queue: Fixture) {
    let jobs = queue.put_jobs(1).await;
    let mut taker = queue.taker(1).await;
    for _ in 0..30 {
        taker.take().await.release();
    }
    assert_eq!(taker.take().await.job.id, jobs[0]);
}

pub async fn an_acked_job_never_comes_again(queue: Fixture) {
    let jobs = queue.put_jobs(2).await;
    let mut taker = queue.taker(2).await;
    let (first, second) = (taker.take().await, taker.take().await);
    // Both are sent in the background and in order: once the second came again, the first is settled.
    first.ack();
    second.release();
    let again = taker.take().await;
    assert_eq!(again.job.id, jobs[1]);
    drop((taker, again));
    let queue = queue.reopened().await;
    assert_eq!(queue.taker(1).await.take().await.job.id, jobs[1]);
    assert!(!queue.rest().await.contains(&jobs[0]));
}

pub async fn a_delivery_that_is_out_at_a_restart_comes_again(queue: Fixture) {
    let jobs = queue.put_jobs(3).await;
    let mut taker = queue.taker(10).await;
    let held = taker.take_some(2).await;
    let queue = queue.reopened().await;
    // An ack that comes too late does nothing.
    for delivery in held {
        delivery.ack();
    }
    drop(taker);
    let mut taker = queue.taker(10).await;
    let mut again: Vec<_> = taker.take_some(3).await.iter().map(|delivery| delivery.job.id).collect();
    again.sort_unstable();
    assert_eq!(again, jobs);
}

pub async fn a_dead_letter_is_not_delivered_again(queue: Fixture) {
    let jobs = queue.put_jobs(2).await;
    let mut taker = queue.taker(2).await;
    let (first, second) = (taker.take().await, taker.take().await);
    first.dead_letter("no worker can read it");
    second.release();
    let again = taker.take().await;
    assert_eq!(again.job.id, jobs[1]);
    drop((taker, again));
    let queue = queue.reopened().await;
    assert_eq!(queue.taker(1).await.take().await.job.id, jobs[1]);
    assert!(!queue.rest().await.contains(&jobs[0]));
}

pub async fn any_text_may_be_the_reason_of_a_dead_letter(queue: Fixture) {
    let mut taker = queue.taker(1).await;
    let reasons = [String::new(), "line\r\nbreak: \0".into(), UNICODE.into(), "é".repeat(100_000)];
    for reason in reasons {
        let jobs = queue.put_jobs(1).await;
        let delivery = taker.take().await;
        // The one before did not come again, and the consumer still works.
        assert_eq!(delivery.job.id, jobs[0]);
        delivery.dead_letter(&reason);
    }
    drop(taker);
    assert_eq!(queue.rest().await, []);
}

pub async fn a_delivery_can_be_acked_after_its_consumer_is_gone(queue: Fixture) {
    let jobs = queue.put_jobs(2).await;
    let mut taker = queue.taker(2).await;
    let (first, second) = (taker.take().await, taker.take().await);
    drop(taker);
    first.ack();
    second.release();
    let again = queue.taker(1).await.take().await;
    assert_eq!(again.job.id, jobs[1], "the ack came before the release");
    drop(again);
    assert!(!queue.rest().await.contains(&jobs[0]));
}

pub async fn a_delivery_can_be_released_after_its_consumer_is_gone(queue: Fixture) {
    let jobs = queue.put_jobs(1).await;
    let mut taker = queue.taker(1).await;
    let held = taker.take().await;
    drop(taker);
    let mut other = queue.taker(1).await;
    other.take_nothing().await;
    held.release();
    let again = other.take().await;
    assert_eq!(again.job.id, jobs[0]);
    assert!(again.redelivered);
}

pub async fn what_a_consumer_has_not_handed_out_goes_to_another(queue: Fixture) {
    let jobs = queue.put_jobs(5).await;
    let mut taker = queue.taker(10).await;
    let held = taker.take().await;
    drop(taker);
    let mut other = queue.taker(10).await;
    let mut rest: Vec<_> = other.take_some(4).await.iter().map(|delivery| delivery.job.id).collect();
    rest.sort_unstable();
    assert_eq!(rest, jobs[1..]);
    drop(held);
}
