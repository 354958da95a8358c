//! How a worker stops: nothing new, what waits goes back, what runs may end, what doesn't is queued again.

pub mod support;

use std::time::Duration;

use protocol::job::Reason;
use protocol::outcome::Outcome;
use protocol::state::JobState;
use serde_json::json;
use support::{SHORT_LEASE, Stage, within};

#[tokio::test(flavor = "multi_thread")]
async fn running_attempts_end_and_waiting_jobs_go_back() {
    let stage = Stage::set().await;
    let running = stage.worker(1, Duration::from_secs(10)).await;
    assert_eq!((running.status.slots(), running.status.free()), (1, 1));
    let first = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&first, |job| job.state == JobState::Running).await;
    // Its own priority, so that the queue hands it out although the ceiling of the other one is reached.
    let urgent = |spec: &mut protocol::job::JobSpec| spec.priority = protocol::job::Priority::High;
    let second = stage.submit(json!({}), json!({}), urgent).await;
    stage.poll("the worker holds the second job", async || stage.ready().await == 0).await;

    assert!(running.status.consuming());
    running.stop.cancel();
    stage.poll("the second job is back", async || stage.ready().await == 1).await;
    assert!(!running.status.consuming());
    assert!(!running.task.is_finished());

    stage.script.go.add_permits(1);
    within(running.task).await.unwrap();
    assert_eq!(stage.job(&first).await.state, JobState::Succeeded);
    assert_eq!(stage.job(&second).await.state, JobState::Queued);
    assert_eq!(stage.metric("sortie_worker_free_slots"), 0.0);

    let _next = stage.worker(1, Duration::ZERO).await;
    assert_eq!(stage.over(&second).await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_the_drain_is_queued_again_at_once() {
    let stage = Stage::set().await;
    let running = stage.worker(2, Duration::from_millis(50)).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    running.stopped().await;
    let job = stage.job(&spec).await;
    assert_eq!((job.state, job.reason), (JobState::Queued, Some(Reason::WorkerStopped)));
    assert_eq!(job.attempts[0].outcome, Some(Outcome::Interrupted));

    // The queue has it back already, and the interruption counts neither as failure nor as crash.
    let _next = stage.worker(1, Duration::ZERO).await;
    stage.script.go.add_permits(1);
    let job = stage.over(&spec).await;
    assert_eq!((job.state, job.failures(), job.crashes()), (JobState::Succeeded, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_waits_for_the_store_is_given_back() {
    let stage = Stage::set().await;
    let running = stage.worker(1, Duration::from_secs(30)).await;
    stage.faults.set_away("store.claim", true);
    stage.submit(json!({}), json!({}), |_| {}).await;
    stage.poll("a try", async || stage.faults.calls("store.claim") > 0).await;
    running.stopped().await;
    assert_eq!(stage.ready().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_does_not_keep_the_worker_for_ever() {
    let stage = Stage::with_lease(SHORT_LEASE).await;
    let running = stage.worker(1, Duration::from_millis(10)).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    stage.faults.set_away("store", true);
    running.stopped().await;
    stage.faults.set_away("store", false);
    let _next = stage.worker(1, Duration::ZERO).await;
    stage.script.go.add_permits(1);
    let job = stage.over(&spec).await;
    assert_eq!((job.state, job.crashes()), (JobState::Succeeded, 1));
}
