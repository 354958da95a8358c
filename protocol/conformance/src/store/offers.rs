//! Hints to workers with nothing to do.

use std::time::Duration;

use futures_util::FutureExt;
use protocol::id::Lane;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::ports::{Claim, Offers};

use super::Fixture;
use crate::sample::{job, lane, worker};
use crate::wait::{never, soon};

/// How long an offer may be on its way before the job is offered again.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// When it is offered again where nobody waited.
const SOON: Duration = Duration::from_millis(5);

impl Fixture {
    fn offers_to(&self, name: &str, lanes: &[&Lane]) -> Box<dyn Offers> {
        let lanes: Vec<_> = lanes.iter().copied().cloned().collect();
        self.offers(&worker(name), &lanes)
    }

    /// What `told` gives, which waits for an offer of the job: offered again and again, for it may take a worker a
    /// moment to say that it has nothing to do, and an offer may be lost.
    async fn offer_until_told<T>(&self, job: &JobSpec, told: impl Future<Output = T>) -> T {
        let offering = async {
            loop {
                let somebody = self.offer(job).await.unwrap();
                tokio::time::sleep(if somebody { ON_ITS_WAY } else { SOON }).await;
            }
        };
        soon("the job is offered", async {
            tokio::select! {
                told = told => told,
                never = offering => never,
            }
        })
        .await
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
    let (job, rest) = store.offer_until_told(&spec, told).await;
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
    assert_eq!(store.offer_until_told(&spec, offers.next()).await, spec);
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
        assert_eq!(store.offer_until_told(&spec, offers.next()).await, spec);
    }
}
