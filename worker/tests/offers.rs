//! A worker with nothing to do hears of jobs before the queue brings them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod support;

use std::time::Duration;

use protocol::ports::{Claim, StoreOptions};
use protocol::secret::Secret;
use protocol::state::JobState;
use serde_json::json;
use support::Stage;

/// A stage whose store is on Redis: the embedded one makes no offers.
async fn stage() -> Stage {
    let mut stage = Stage::set().await;
    let options = backend_redis::Options {
        url: Secret::new(conformance::server("SORTIE_TEST_REDIS_URL")),
        prefix: conformance::unique(),
        store: StoreOptions { lease: Duration::from_secs(60), ..StoreOptions::default() },
    };
    let store = backend_redis::connect(options).unwrap().store();
    stage.ports.store = store.clone();
    stage.real.store = store;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_offered_runs_before_the_queue_brings_it_and_not_again() {
    let stage = stage().await;
    let _worker = stage.worker(1, Duration::from_secs(1)).await;
    let spec = stage.record(json!({}), json!({}), |_| {}).await;
    stage
        .poll("the job is offered", async || stage.real.store.offer(spec.id, &spec.lane).await.unwrap())
        .await;
    assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    stage.publish(&spec).await;
    let settled = async || stage.metric("sortie_worker_claims_total") >= 2.0;
    stage.poll("the worker has seen the message", settled).await;
    assert_eq!(stage.script.runs(), [(spec.id, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_elsewhere_already_is_not_started_by_an_offer() {
    let stage = stage().await;
    let _worker = stage.worker(1, Duration::from_secs(1)).await;
    let spec = stage.record(json!({}), json!({}), |_| {}).await;
    let other = conformance::sample::worker("another");
    let claim = stage.real.store.claim(&spec, &other, protocol::isolation::Isolation::None).await.unwrap();
    assert!(matches!(claim, Claim::Granted { attempt: 1, .. }));
    stage
        .poll("the job is offered", async || stage.real.store.offer(spec.id, &spec.lane).await.unwrap())
        .await;
    let next = stage.record(json!({}), json!({}), |_| {}).await;
    stage
        .poll("the next is offered", async || stage.real.store.offer(next.id, &next.lane).await.unwrap())
        .await;
    stage.over(&next).await;
    assert_eq!(stage.script.runs(), [(next.id, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_free_slot_leaves_a_job_to_the_queue() {
    let stage = stage().await;
    let _worker = stage.worker(1, Duration::from_secs(1)).await;
    let long = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&long, |job| job.state == JobState::Running).await;
    let spec = stage.record(json!({}), json!({}), |_| {}).await;
    // Whether it counts as one with nothing to do from the time before.
    let _ = stage.real.store.offer(spec.id, &spec.lane).await.unwrap();
    stage.script.go.add_permits(1);
    stage.over(&long).await;
    stage.publish(&spec).await;
    assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    assert_eq!(stage.script.runs().len(), 2);
}
