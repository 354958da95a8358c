//! What happens to jobs that nobody brings to an end, and how the background work starts and stops.

use std::time::Duration;

use protocol::error::Code;
use protocol::id::Lane;
use protocol::ports::StoreOptions;
use protocol::state::JobState;
use protocol::time::Timestamp;
use serde_json::json;

use crate::support::{Wish, World, eventually};

async fn ready(world: &World) -> u64 {
    world.ports.queue.depth(&Lane::standard()).await.unwrap().ready
}

#[tokio::test]
async fn a_job_without_a_worker_expires_within_a_second_of_its_deadline() {
    let world = World::busy().await;
    world.publish("a").await;
    // The machine may be busy for a moment: what is late by design is so every time.
    for last in [false, false, true] {
        let id = world.submit("a", json!({"deadline_ms": 300})).await;
        let job = world.get(&format!("/v1/jobs/{id}?wait=20")).await.json();
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("expired"), &json!("deadline_exceeded")));
        let job = world.job(id).await;
        let late = job.finished_at.unwrap().since(job.spec.deadline);
        if late < Duration::from_secs(1) {
            break;
        }
        assert!(!last, "expired {late:?} after its deadline");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_job_for_later_is_queued_when_its_time_has_come() {
    let world = World::busy().await;
    world.publish("a").await;
    let at = Timestamp::now().plus(Duration::from_secs(2));
    let id = world.submit("a", json!({"run_at": at})).await;
    assert_eq!((world.job(id).await.state, ready(&world).await), (JobState::Scheduled, 0));
    eventually("it is on the queue", async || ready(&world).await == 1).await;
    assert_eq!(world.job(id).await.state, JobState::Queued);
    assert!(Timestamp::now() >= at);
    world.stop().await;
}

#[tokio::test]
async fn a_job_whose_worker_disappears_comes_back_and_is_given_up_in_the_end() {
    let store = StoreOptions { lease: Duration::from_millis(150), ..StoreOptions::default() };
    let world = World::with(Wish { store, background: true, ..Wish::default() }).await;
    world.publish("a").await;
    let id = world.submit("a", json!({})).await;
    world.claim(id).await;
    eventually("it is queued again", async || world.job(id).await.state == JobState::Queued).await;
    eventually("the queue has it again", async || ready(&world).await == 2).await;
    world.claim(id).await;
    eventually("it is given up", async || world.job(id).await.state == JobState::Failed).await;
    let job = world.job(id).await;
    assert_eq!((job.error.unwrap().code, job.dead_letter), (Code::WorkerCrashed, true));
    let list = world.get("/v1/jobs?dead_letter=true").await.json();
    assert_eq!(list["jobs"][0]["id"], id.to_string());
    world.stop().await;
}

#[tokio::test]
async fn the_sweeps_survive_a_store_that_is_away() {
    let world = World::busy().await;
    world.publish("a").await;
    let id = world.submit("a", json!({"deadline_ms": 200})).await;
    world.faults.set_away("store", true);
    eventually("the sweeps have met it", async || world.faults.calls("store.expire") > 3).await;
    world.faults.set_away("store", false);
    eventually("the job expired", async || world.job(id).await.state == JobState::Expired).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stop_answers_who_waits_and_ends_soon() {
    let world = World::busy().await;
    world.publish("a").await;
    let id = world.submit("a", json!({})).await;
    let waiting = tokio::spawn(world.call("GET", &format!("/v1/jobs/{id}?wait=60")).send());
    eventually("someone waits", async || world.metric("sortie_dispatcher_waiters", &[]) == 1.0).await;
    world.stop.cancel();
    let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("queued")));
    tokio::time::timeout(Duration::from_secs(5), world.stop()).await.unwrap();
}

#[tokio::test]
async fn a_stop_clears_the_outbox_marks_that_wait_for_it() {
    let mut world = World::busy().await;
    world.publish("a").await;
    world.submit("a", json!({})).await;
    world.stop.cancel();
    world.background.take().unwrap().await.unwrap();
    assert_eq!(world.faults.calls("store.published"), 1);
    assert_eq!(world.ports.store.outbox(Duration::ZERO, 10).await.unwrap(), []);
}

#[tokio::test]
async fn every_declared_metric_is_touched() {
    let world = World::busy().await;
    world.publish("a").await;
    world.submit("a", json!({"deadline_ms": 1})).await;
    world.post("/v1/jobs", &json!({"action": "none"})).await;
    let declared: Vec<_> =
        include_str!("../src/metrics.rs").split('"').filter(|text| text.starts_with("sortie_")).collect();
    assert_eq!(declared.len(), 9, "{declared:?}");
    eventually("every metric has a value", async || {
        let touched = world.metric_names();
        declared.iter().all(|name| touched.iter().any(|touched| touched == name))
    })
    .await;
    assert_eq!(world.metric("sortie_dispatcher_requests_total", &["submit", "action_not_found"]), 1.0);
    world.stop().await;
}
