//! The outbox: no job that must be published is forgotten, and none is published by everybody at once.
//! Taking a mark hides it for an age, so that a dispatcher that dies with it loses nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::id::JobId;
use protocol::ports::{Cancelled, Confirmed};

use super::Fixture;
use crate::sample::{job, job_in, requeue};
use crate::wait::{pass, race, until};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

pub async fn a_new_job_has_a_mark(store: Fixture) {
    let spec = store.queued().await;
    let found = until("the mark is old enough", || async {
        store.outbox(SHORT, 10).await.unwrap().into_iter().next()
    });
    assert_eq!(found.await, spec);
}

pub async fn publishing_clears_the_mark(store: Fixture) {
    let (one, two) = (store.queued().await, store.queued().await);
    store.confirm(one.id).await;
    assert_eq!(store.marked().await, [two.id]);
}

pub async fn publishing_clears_the_marks_of_many_jobs_at_once(store: Fixture) {
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(store.queued().await.id);
    }
    let stays = jobs.pop();
    let began = Instant::now();
    let confirmed: Vec<_> = jobs.into_iter().map(|job| Confirmed { job, began }).collect();
    store.published(&confirmed).await.unwrap();
    store.published(&[]).await.unwrap();
    assert_eq!(store.marked().await, Vec::from_iter(stays));
}

pub async fn publishing_leaves_a_mark_that_is_newer(store: Fixture) {
    let spec = store.queued().await;
    let confirmed = Confirmed { job: spec.id, began: Instant::now() };
    pass(Duration::from_millis(10)).await;
    store.start(&spec).await;
    store.end(&spec, 1, &requeue()).await;
    store.published(&[confirmed]).await.unwrap();
    assert_eq!(store.marked().await, [spec.id]);
}

pub async fn publishing_clears_a_mark_that_was_taken_meanwhile(store: Fixture) {
    let spec = store.queued().await;
    let confirmed = Confirmed { job: spec.id, began: Instant::now() };
    pass(Duration::from_millis(10)).await;
    assert_eq!(store.outbox(Duration::ZERO, 10).await.unwrap(), std::slice::from_ref(&spec));
    store.published(&[confirmed]).await.unwrap();
    assert_eq!(store.marked().await, []);
}

pub async fn clearing_a_mark_that_is_not_there_is_no_error(store: Fixture) {
    let spec = store.queued().await;
    for id in [spec.id, spec.id, JobId::generate()] {
        store.confirm(id).await;
    }
    assert_eq!(store.marked().await, []);
}

pub async fn a_mark_is_not_given_before_its_age(store: Fixture) {
    store.queued().await;
    assert_eq!(store.outbox(LONG, 10).await.unwrap(), []);
}

pub async fn a_mark_is_given_to_one_caller_only(store: Fixture) {
    const AGE: Duration = Duration::from_millis(500);
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(store.queued().await);
    }
    let other = store.other().await;
    let taken = until("the marks are taken within one age", || async {
        pass(AGE).await;
        let (one, other) = (store.clone(), other.clone());
        let start = Instant::now();
        let taken = race(10, move |n| {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            async move { store.outbox(AGE, 100).await.unwrap() }
        })
        .await
        .concat();
        (start.elapsed() < AGE).then_some(taken)
    })
    .await;
    assert_eq!(Fixture::ids(&taken), Fixture::ids(&jobs));
}

pub async fn a_mark_that_stays_is_given_again_after_another_age(store: Fixture) {
    const AGE: Duration = Duration::from_millis(200);
    let spec = store.queued().await;
    for _ in 0..3 {
        until("the mark is old enough, and looked at again within its age", || async {
            let start = Instant::now();
            let found = store.outbox(AGE, 10).await.unwrap();
            if found.is_empty() {
                return None;
            }
            assert_eq!(found, std::slice::from_ref(&spec));
            let again = store.outbox(AGE, 10).await.unwrap();
            if start.elapsed() >= AGE {
                return None;
            }
            assert_eq!(again, [], "taken");
            Some(())
        })
        .await;
    }
}

pub async fn a_job_that_is_not_queued_has_no_mark(store: Fixture) {
    store.running().await;
    store.add(&job_in(30_000)).await;
    let cancelled = store.queued().await;
    assert_eq!(store.cancel(&cancelled.tenant, cancelled.id).await.unwrap(), Cancelled::Now);
    store.done().await;
    assert_eq!(store.marked().await, []);
}

pub async fn a_job_that_is_queued_again_has_a_mark_again(store: Fixture) {
    let spec = store.queued().await;
    store.confirm(spec.id).await;
    store.start(&spec).await;
    store.end(&spec, 1, &requeue()).await;
    assert_eq!(store.marked().await, [spec.id]);
}

pub async fn the_outbox_gives_no_more_than_was_asked_for(store: Fixture) {
    let mut jobs = BTreeSet::new();
    for _ in 0..5 {
        jobs.insert(store.queued().await.id);
    }
    assert_eq!(store.outbox(Duration::ZERO, 0).await.unwrap(), []);
    let seen = tokio::sync::Mutex::new(BTreeSet::new());
    until("every mark is given in the end", || async {
        let found = store.outbox(Duration::from_millis(200), 2).await.unwrap();
        assert!(found.len() <= 2);
        let mut seen = seen.lock().await;
        seen.extend(Fixture::ids(&found));
        (*seen == jobs).then_some(())
    })
    .await;
}

pub async fn a_mark_survives_a_restart(store: Fixture) {
    let (spec, published) = (job(), store.queued().await);
    store.confirm(published.id).await;
    store.add(&spec).await;
    assert_eq!(store.reopened().await.marked().await, [spec.id]);
}
