//! How an attempt is held, and how its worker learns that it is not any more.
//! A lease is time, so these rules let some pass; they use short ones.

use std::time::Duration;

use protocol::ports::{Cancelled, Claim, Renewal, StoreOptions};

use super::Fixture;
use crate::sample::{requeue, succeed};
use crate::wait::pass;

pub async fn renewing_holds_an_attempt_beyond_its_lease(store: Fixture) {
    let lease = Duration::from_secs(1);
    let options = StoreOptions { lease, ..store.options() };
    let store = store.with(options).await;
    let spec = store.running().await;
    for _ in 0..8 {
        pass(lease / 5).await;
        assert_eq!(store.hold(&spec, 1).await, Renewal::Held);
    }
    // Half as long again as the lease has passed.
    assert_eq!(store.try_start(&spec).await, Claim::Held);
    assert_eq!(store.reap(10).await.unwrap(), []);
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "1 running"]);
}

/// A worker that was cut off for a moment goes on where nobody has taken its job.
pub async fn a_lapsed_lease_that_nobody_noticed_is_held_again(store: Fixture) {
    let options = store.options();
    let store = store.with_short_leases().await;
    let (renewed, finished) = (store.running().await, store.running().await);
    pass(store.options().lease).await;
    // What is held again must outlive the look at it.
    let store = store.with(options).await;
    assert_eq!(store.hold(&renewed, 1).await, Renewal::Held);
    assert_eq!(store.try_start(&renewed).await, Claim::Held);
    store.end(&finished, 1, &succeed("1")).await;
}

pub async fn an_older_attempt_is_told_that_it_is_lost(store: Fixture) {
    let spec = store.running().await;
    store.end(&spec, 1, &requeue()).await;
    assert_eq!(store.hold(&spec, 1).await, Renewal::Lost, "given back");
    assert_eq!(store.start(&spec).await, 2);
    assert_eq!(store.hold(&spec, 1).await, Renewal::Lost);
    assert_eq!(store.hold(&spec, 2).await, Renewal::Held);
}

pub async fn an_attempt_that_was_reaped_is_told_that_it_is_lost(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    crate::wait::until("the attempt is reaped", || async { store.reap(10).await.unwrap().pop() }).await;
    assert_eq!(store.hold(&spec, 1).await, Renewal::Lost);
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 queued worker_lost"]);
}

pub async fn an_attempt_of_a_job_that_is_over_is_told_that_it_is_lost(store: Fixture) {
    let spec = store.done().await;
    let before = store.read(&spec).await;
    for attempt in [1, 2, u32::MAX] {
        assert_eq!(store.hold(&spec, attempt).await, Renewal::Lost);
    }
    assert_eq!(store.read(&spec).await, before);
}

pub async fn a_request_to_cancel_is_told_with_every_renewal(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.hold(&spec, 1).await, Renewal::Held);
    assert_eq!(store.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::Asked);
    for _ in 0..2 {
        assert_eq!(store.hold(&spec, 1).await, Renewal::CancelRequested);
    }
}

pub async fn renewals_are_answered_one_by_one_in_order(store: Fixture) {
    let (held, over, cancelled) = (store.running().await, store.done().await, store.running().await);
    store.cancel(&cancelled.tenant, cancelled.id).await.unwrap();
    let attempts: Vec<_> = [(&over, 1), (&held, 1), (&cancelled, 1), (&held, 1)].repeat(50);
    let answers = [Renewal::Lost, Renewal::Held, Renewal::CancelRequested, Renewal::Held].repeat(50);
    assert_eq!(store.renew(&attempts).await.unwrap(), answers);
    assert_eq!(store.renew(&[]).await.unwrap(), []);
}
