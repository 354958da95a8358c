//! A worker with nothing to do hears of jobs before the queue brings them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod support;

use std::time::Duration;

use protocol::job::{JobSpec, Reason};
use protocol::ports::{Claim, StoreOptions};
use protocol::secret::Secret;
use protocol::state::JobState;
use serde_json::json;
use support::{LEASE, Stage};

/// A stage whose store is embedded, and one whose store is on Redis.
async fn stages() -> [Stage; 2] {
    let mut on_redis = Stage::set().await;
    let options = backend_redis::Options {
        url: Secret::new(conformance::server("SORTIE_TEST_REDIS_URL")),
        prefix: conformance::unique(),
        store: StoreOptions { lease: LEASE, ..StoreOptions::default() },
    };
    let store = backend_redis::connect(options).unwrap().store();
    on_redis.ports.store = store.clone();
    on_redis.real.store = store;
    [Stage::set().await, on_redis]
}

/// Offers the job until a worker has claimed it: one that is offered too late for its taste does nothing.
async fn offer(stage: &Stage, spec: &JobSpec) {
    let claims = || stage.metric("sortie_worker_claims_total");
    let before = claims();
    let claimed = async || {
        if stage.real.store.offer(spec).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        claims() > before
    };
    stage.poll("the job is offered and claimed", claimed).await;
}

/// Publishes the job, and waits until the worker has its message.
async fn bring(stage: &Stage, spec: &JobSpec) {
    stage.publish(spec).await;
    stage.poll("the worker takes the message", async || stage.ready().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_offered_runs_before_the_queue_brings_it_and_not_again() {
    for stage in stages().await {
        let worker = stage.worker(1, Duration::from_secs(1)).await;
        let spec = stage.record(json!({}), json!({}), |_| {}).await;
        offer(&stage, &spec).await;
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
        stage
            .poll("the attempt is over", async || stage.metric("sortie_worker_running_attempts") == 0.0)
            .await;
        bring(&stage, &spec).await;
        stage.acked(worker).await;
        assert_eq!(stage.script.runs(), [(spec.id, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_of_a_job_that_runs_is_acked_at_its_end() {
    for stage in stages().await {
        let worker = stage.worker(2, Duration::from_secs(1)).await;
        let spec = stage.record(json!({"do": "wait"}), json!({}), |_| {}).await;
        offer(&stage, &spec).await;
        stage.until(&spec, |job| job.state == JobState::Running).await;
        bring(&stage, &spec).await;
        // The worker has dealt with that message when it has run one that came later.
        let next = stage.submit(json!({}), json!({}), |_| {}).await;
        stage.over(&next).await;
        stage.script.go.add_permits(1);
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
        stage.acked(worker).await;
        assert_eq!(stage.script.runs(), [(spec.id, 1), (next.id, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_offered_and_failed_is_tried_again() {
    for stage in stages().await {
        let _worker = stage.worker(1, Duration::from_secs(1)).await;
        let version = json!({"retry": {"max_attempts": 2, "backoff_ms": 1}});
        let spec = stage.record(json!({"do": "fail_first"}), version, |_| {}).await;
        offer(&stage, &spec).await;
        stage.until(&spec, |job| !job.attempts.is_empty()).await;
        // The message of the first attempt comes at any time.
        stage.publish(&spec).await;
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
        assert_eq!(stage.script.runs(), [(spec.id, 1), (spec.id, 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_offered_and_interrupted_goes_back_to_the_queue_at_once() {
    for stage in stages().await {
        let worker = stage.worker(1, Duration::ZERO).await;
        let spec = stage.record(json!({"do": "wait"}), json!({}), |_| {}).await;
        offer(&stage, &spec).await;
        stage.until(&spec, |job| job.state == JobState::Running).await;
        bring(&stage, &spec).await;
        worker.stopped().await;
        let job = stage.job(&spec).await;
        assert_eq!((job.state, job.reason), (JobState::Queued, Some(Reason::WorkerStopped)));
        assert_eq!(stage.ready().await, 1);
        let _next = stage.worker(1, Duration::ZERO).await;
        stage.script.go.add_permits(1);
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_elsewhere_already_is_not_started_by_an_offer() {
    for stage in stages().await {
        let _worker = stage.worker(1, Duration::from_secs(1)).await;
        let spec = stage.record(json!({}), json!({}), |_| {}).await;
        let other = conformance::sample::worker("another");
        let claim =
            stage.real.store.claim(&spec, &other, protocol::isolation::Isolation::None).await.unwrap();
        assert!(matches!(claim, Claim::Granted { attempt: 1, .. }));
        offer(&stage, &spec).await;
        let next = stage.record(json!({}), json!({}), |_| {}).await;
        offer(&stage, &next).await;
        stage.over(&next).await;
        assert_eq!(stage.script.runs(), [(next.id, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_free_slot_leaves_a_job_to_the_queue() {
    for stage in stages().await {
        let _worker = stage.worker(1, Duration::from_secs(1)).await;
        let long = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
        stage.until(&long, |job| job.state == JobState::Running).await;
        let spec = stage.record(json!({}), json!({}), |_| {}).await;
        // Whether it counts as one with nothing to do from the time before.
        let _ = stage.real.store.offer(&spec).await.unwrap();
        stage.script.go.add_permits(1);
        stage.over(&long).await;
        stage.publish(&spec).await;
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
        assert_eq!(stage.script.runs().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_slot_is_spoken_for_is_offered_nothing() {
    let stage = Stage::set().await;
    let _worker = stage.worker(1, Duration::from_secs(1)).await;
    stage.faults.set_away("store.claim", true);
    let first = stage.record(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.poll("the job is offered", async || stage.real.store.offer(&first).await.unwrap()).await;
    // On its way to the slot, and not in it.
    stage.poll("tries to claim it", async || stage.faults.calls("store.claim") > 1).await;
    let second = stage.record(json!({}), json!({}), |_| {}).await;
    assert!(!stage.real.store.offer(&second).await.unwrap());
    stage.faults.set_away("store.claim", false);
    stage.until(&first, |job| job.state == JobState::Running).await;
    stage.publish(&second).await;
    stage.script.go.add_permits(1);
    for spec in [first, second] {
        let job = stage.over(&spec).await;
        assert_eq!((job.state, job.attempts.len()), (JobState::Succeeded, 1));
    }
}
