//! Who gets which job, when, and how many at a time.
//! Order and ceilings hold within one lane and priority; between those the queue chooses.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use protocol::id::Lane;
use protocol::job::{JobSpec, Priority};

use super::Fixture;
use crate::sample::{job, lane};

fn urgent(priority: Priority) -> JobSpec {
    JobSpec { priority, ..job() }
}

fn in_lane(name: &str) -> JobSpec {
    JobSpec { lane: lane(name), ..job() }
}

pub async fn the_ceiling_holds_for_each_lane_and_priority(queue: Fixture) {
    let lanes = [lane("one"), lane("two")];
    for lane in &lanes {
        for priority in [Priority::High, Priority::Low, Priority::High, Priority::High] {
            queue.put(&JobSpec { lane: lane.clone(), priority, ..job() }).await;
        }
    }
    let mut taker = queue.taker_of(&lanes, 2).await;
    // Two urgent ones and the other one of each lane.
    let held = taker.take_some(6).await;
    taker.take_nothing().await;
    for lane in &lanes {
        for (priority, count) in [(Priority::High, 2), (Priority::Low, 1)] {
            let of_this = held.iter().filter(|d| d.job.lane == *lane && d.job.priority == priority);
            assert_eq!(of_this.count(), count, "{lane} {priority:?}");
        }
    }
}

pub async fn every_end_of_a_delivery_makes_room_under_the_ceiling(queue: Fixture) {
    let jobs = queue.put_jobs(4).await;
    let mut taker = queue.taker(1).await;
    let first = taker.take().await;
    taker.take_nothing().await;
    first.ack();
    let second = taker.take().await;
    assert_eq!(second.job.id, jobs[1]);
    second.dead_letter("not wanted");
    let third = taker.take().await;
    assert_eq!(third.job.id, jobs[2]);
    third.release();
    // The third or the fourth: one that is given back may be handed out again first.
    taker.take().await.ack();
    taker.take().await.ack();
    taker.take_nothing().await;
}

pub async fn a_job_beyond_the_ceiling_goes_to_another_consumer(queue: Fixture) {
    let jobs = queue.put_jobs(2).await;
    let mut one = queue.taker(1).await;
    let held = one.take().await;
    let mut two = queue.taker(1).await;
    assert_eq!(two.take().await.job.id, jobs[1]);
    drop(held);
}

pub async fn jobs_of_one_priority_come_in_order(queue: Fixture) {
    let jobs = queue.put_jobs(100).await;
    let mut taker = queue.taker(7).await;
    for id in jobs {
        let delivery = taker.take().await;
        assert_eq!(delivery.job.id, id);
        delivery.ack();
    }
}

pub async fn two_consumers_never_hold_one_delivery(queue: Fixture) {
    let jobs = queue.put_jobs(60).await;
    let (mut one, mut two) = (queue.taker(30).await, queue.other().await.taker(30).await);
    let (held_by_one, held_by_two) = tokio::join!(one.take_some(30), two.take_some(30));
    let held: BTreeSet<_> = held_by_one.iter().chain(&held_by_two).map(|d| d.job.id).collect();
    assert_eq!(held, jobs.into_iter().collect());
}

pub async fn lanes_are_separate(queue: Fixture) {
    let (one, two) = (in_lane("one"), in_lane("two"));
    queue.put(&one).await;
    queue.put(&two).await;
    let mut taker = queue.taker_of(std::slice::from_ref(&two.lane), 10).await;
    let held = taker.take().await;
    assert_eq!(held.job, two);
    taker.take_nothing().await;
}

pub async fn one_consumer_serves_several_lanes(queue: Fixture) {
    let jobs = [in_lane("one"), in_lane("two"), in_lane("gpu-2_x"), in_lane("0")];
    let lanes: Vec<Lane> = jobs.iter().map(|job| job.lane.clone()).collect();
    let mut taker = queue.taker_of(&lanes, 1).await;
    for job in &jobs {
        queue.put(job).await;
    }
    let taken = taker.take_some(4).await;
    let ids: BTreeSet<_> = taken.iter().map(|delivery| delivery.job.id).collect();
    assert_eq!(ids, jobs.iter().map(|job| job.id).collect());
}

pub async fn a_consumer_of_no_lane_waits(queue: Fixture) {
    queue.put_jobs(1).await;
    queue.taker_of(&[], 10).await.take_nothing().await;
}

pub async fn every_priority_is_delivered(queue: Fixture) {
    let jobs = Priority::ALL.map(urgent);
    for job in &jobs {
        queue.put(job).await;
    }
    let taken = queue.taker(1).await.take_some(3).await;
    for job in &jobs {
        assert!(taken.iter().any(|delivery| delivery.job == *job));
    }
}

/// Not strictly first: a backend may have had some of the backlog at hand already.
pub async fn urgent_jobs_overtake_a_backlog(queue: Fixture) {
    for _ in 0..30 {
        queue.put(&urgent(Priority::Low)).await;
    }
    for _ in 0..3 {
        queue.put(&urgent(Priority::High)).await;
    }
    let mut taker = queue.taker(1).await;
    let mut urgent = 0;
    for _ in 0..15 {
        let delivery = taker.take().await;
        urgent += u32::from(delivery.job.priority == Priority::High);
        delivery.ack();
    }
    assert_eq!(urgent, 3, "the first half of what came has every urgent job");
}

pub async fn the_ceiling_can_be_raised_and_lowered(queue: Fixture) {
    queue.put_jobs(6).await;
    let mut taker = queue.taker(1).await;
    let first = taker.take().await;
    taker.take_nothing().await;
    taker.0.set_ceiling(3);
    let more = taker.take_some(2).await;
    taker.take_nothing().await;
    taker.0.set_ceiling(1);
    drop(more);
    first.ack();
    // Those that were given back may have been delivered once more before the ceiling was lowered.
    for _ in 0..5 {
        taker.take().await.ack();
    }
    taker.take_nothing().await;
}

pub async fn jobs_acked_in_any_order_under_a_changing_ceiling_come_once_each(queue: Fixture) {
    const JOBS: usize = 2_000;
    let mut taker = queue.taker(2).await;
    let specs: Vec<_> = (0..JOBS).map(|_| job()).collect();
    let putting = try_join_all(specs.iter().map(|job| queue.publish(job)));
    let taking = async {
        let (mut came, mut held) = (BTreeSet::new(), Vec::new());
        for number in 0..JOBS {
            match number % 700 {
                50 => taker.0.set_ceiling(258),
                400 => taker.0.set_ceiling(2),
                500 => taker.0.set_ceiling(18),
                _ => {}
            }
            let delivery = taker.take().await;
            assert!(came.insert(delivery.job.id), "job {number} came twice");
            // While many may be out, every fourth one is held for a while; the newest of them goes first.
            let many = (50..390).contains(&(number % 700));
            if number % 4 > 0 || !many {
                delivery.ack();
            } else {
                held.push(delivery);
            }
            if held.len() >= 40 || !many {
                while let Some(delivery) = held.pop() {
                    delivery.ack();
                }
            }
        }
        came
    };
    let (put, came) = tokio::join!(putting, taking);
    put.unwrap();
    assert_eq!(came, specs.iter().map(|job| job.id).collect());
    drop(taker);
    assert_eq!(queue.rest().await, [], "nothing comes twice");
}

pub async fn a_consumer_that_waits_is_woken_by_a_publish(queue: Fixture) {
    let mut taker = queue.taker(1).await;
    let waiting = tokio::spawn(async move { taker.take().await.job.id });
    let jobs = queue.put_jobs(1).await;
    assert_eq!(waiting.await.unwrap(), jobs[0]);
}

pub async fn a_consumer_that_waits_is_woken_by_a_release(queue: Fixture) {
    let jobs = queue.put_jobs(1).await;
    let mut one = queue.taker(1).await;
    let held = one.take().await;
    let mut two = queue.other().await.taker(1).await;
    let waiting = tokio::spawn(async move { two.take().await.job.id });
    drop(one);
    held.release();
    assert_eq!(waiting.await.unwrap(), jobs[0]);
}

pub async fn a_wait_that_is_cancelled_loses_nothing(queue: Fixture) {
    let mut taker = queue.taker(5).await;
    let publisher = queue.clone();
    let publishing = tokio::spawn(async move { publisher.put_jobs(50).await });
    let mut taken = Vec::new();
    let mut patience = Duration::ZERO;
    while taken.len() < 50 {
        // Waits of every length, down to one that ends at its first look.
        patience = if patience.is_zero() { Duration::from_millis(2) } else { patience / 2 };
        tokio::select! {
            biased;
            delivery = taker.0.next() => {
                taken.push(delivery.job.id);
                delivery.ack();
            }
            () = tokio::time::sleep(patience) => {}
        }
    }
    assert_eq!(taken, publishing.await.unwrap());
}
