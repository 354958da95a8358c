//! Hints to workers with nothing to do.

use futures_util::FutureExt;
use protocol::id::Lane;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::ports::{Claim, Offers};

use super::Fixture;
use crate::sample::{job, lane, worker};
use crate::wait::{never, soon, until};

impl Fixture {
    fn offers_to(&self, name: &str, lanes: &[&Lane]) -> Box<dyn Offers> {
        let lanes: Vec<_> = lanes.iter().copied().cloned().collect();
        self.offers(&worker(name), &lanes)
    }

    /// Offers until a worker has been told, which may take a moment to say that it has nothing to do.
    async fn offer_until_told(&self, job: &JobSpec) {
        until("a worker is told", || async { self.offer(job).await.unwrap().then_some(()) }).await;
    }
}

pub async fn an_offer_that_nobody_waits_for_is_none(store: Fixture) {
    let spec = store.queued().await;
    assert!(!store.offer(&spec).await.unwrap());
    let _busy = store.offers_to("worker-1", &[&spec.lane]);
    assert!(!store.offer(&spec).await.unwrap(), "it hasn't said that it has nothing to do");
}

pub async fn an_offer_is_told_to_one_worker_that_serves_the_lane(store: Fixture) {
    let spec = store.queued().await;
    let another = lane("one");
    let mut one = store.offers_to("worker-1", &[&another, &spec.lane]);
    let mut two = store.offers_to("worker-2", &[&spec.lane]);
    let mut other = store.offers_to("worker-3", &[&another]);
    let told = async {
        tokio::select! {
            job = one.next() => (job, two.next().boxed()),
            job = two.next() => (job, one.next().boxed()),
            _ = other.next() => panic!("it doesn't serve the lane"),
        }
    };
    let ((), (job, rest)) =
        soon("the job is offered", futures_util::future::join(store.offer_until_told(&spec), told)).await;
    assert_eq!(job, spec);
    never("the job is offered twice", rest).await;
}

pub async fn an_offer_starts_nothing_that_is_not_recorded(store: Fixture) {
    let spec = job();
    let mut offers = store.offers_to("worker-1", &[&spec.lane]);
    let claim = |spec| {
        let store = &store;
        async move { store.claim_offered(spec, &worker("worker-1"), Isolation::None).await.unwrap() }
    };
    let told = store.offer_until_told(&spec);
    let ((), offered) = soon("the job is offered", futures_util::future::join(told, offers.next())).await;
    assert_eq!(offered, spec);
    assert_eq!(claim(&spec).await, None);
    assert_eq!(store.get(&spec.tenant, spec.id).await.unwrap(), None);
    store.add(&spec).await;
    assert!(matches!(claim(&spec).await, Some(Claim::Granted { attempt: 1, .. })));
    assert_eq!(claim(&spec).await, Some(Claim::Held));
}

pub async fn a_worker_is_offered_one_job_after_the_other(store: Fixture) {
    let first = store.queued().await;
    let mut offers = store.offers_to("worker-1", &[&first.lane]);
    for spec in [first, store.queued().await, store.queued().await] {
        let told = store.offer_until_told(&spec);
        let ((), job) = soon("the job is offered", futures_util::future::join(told, offers.next())).await;
        assert_eq!(job, spec);
    }
}
