//! Hints to workers with nothing to do. A backend may make none; what it makes, somebody can use.

use futures_util::FutureExt;
use protocol::id::{JobId, Lane};
use protocol::ports::Offers;

use super::Fixture;
use crate::sample::{job, lane, worker};
use crate::wait::{never, soon, until};

impl Fixture {
    fn offers_to(&self, name: &str, lanes: &[&Lane]) -> Option<Box<dyn Offers>> {
        let lanes: Vec<_> = lanes.iter().copied().cloned().collect();
        self.offers(&worker(name), &lanes)
    }

    /// Offers until a worker has been told, which may take a moment to say that it has nothing to do.
    async fn offer_until_told(&self, job: JobId, lane: &Lane) {
        until("a worker is told", || async { self.offer(job, lane).await.unwrap().then_some(()) }).await;
    }
}

pub async fn an_offer_that_nobody_waits_for_is_none(store: Fixture) {
    let spec = store.queued().await;
    assert!(!store.offer(spec.id, &spec.lane).await.unwrap());
    let Some(_busy) = store.offers_to("worker-1", &[&spec.lane]) else { return };
    assert!(!store.offer(spec.id, &spec.lane).await.unwrap(), "it hasn't said that it has nothing to do");
}

pub async fn an_offer_is_told_to_one_worker_that_serves_the_lane(store: Fixture) {
    let spec = store.queued().await;
    let another = lane("one");
    let Some(mut one) = store.offers_to("worker-1", &[&another, &spec.lane]) else { return };
    let mut two = store.offers_to("worker-2", &[&spec.lane]).unwrap();
    let mut other = store.offers_to("worker-3", &[&another]).unwrap();
    let told = async {
        tokio::select! {
            job = one.next() => (job, two.next().boxed()),
            job = two.next() => (job, one.next().boxed()),
            _ = other.next() => panic!("it doesn't serve the lane"),
        }
    };
    let ((), (job, rest)) = soon(
        "the job is offered",
        futures_util::future::join(store.offer_until_told(spec.id, &spec.lane), told),
    )
    .await;
    assert_eq!(job, spec);
    never("the job is offered twice", rest).await;
}

pub async fn an_offer_of_what_is_no_job_of_the_lane_is_passed_over(store: Fixture) {
    let (spec, other) = (store.queued().await, lane("one"));
    let Some(mut offers) = store.offers_to("worker-1", &[&spec.lane]) else { return };
    let elsewhere = protocol::job::JobSpec { lane: other, ..job() };
    store.add(&elsewhere).await;
    let told = async {
        for id in [JobId::generate(), elsewhere.id, spec.id] {
            store.offer_until_told(id, &spec.lane).await;
        }
    };
    let ((), job) = soon("the job is offered", futures_util::future::join(told, offers.next())).await;
    assert_eq!(job, spec);
}

pub async fn a_worker_is_offered_one_job_after_the_other(store: Fixture) {
    let first = store.queued().await;
    let Some(mut offers) = store.offers_to("worker-1", &[&first.lane]) else { return };
    for spec in [first, store.queued().await, store.queued().await] {
        let told = store.offer_until_told(spec.id, &spec.lane);
        let ((), job) = soon("the job is offered", futures_util::future::join(told, offers.next())).await;
        assert_eq!(job, spec);
    }
}
