//! One attempt from delivery to ack, on a real backend: every way it can end, and every port that can be away.

pub mod support;

use std::time::Duration;

use protocol::error::Code;
use protocol::id::ContentHash;
use protocol::job::{Job, Priority};
use protocol::outcome::Outcome;
use protocol::state::JobState;
use serde_json::{Value, json};
use support::{SHORT_LEASE, Stage};

const DRAIN: Duration = Duration::from_secs(10);

fn outcomes(job: &Job) -> Vec<Outcome> {
    job.attempts.iter().filter_map(|attempt| attempt.outcome).collect()
}

fn code(job: &Job) -> Option<Code> {
    job.error.as_ref().map(|error| error.code)
}

fn three_attempts() -> Value {
    json!({"retry": {"max_attempts": 3, "backoff_ms": 1}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_and_its_events_are_stored_and_the_delivery_is_acked() {
    let stage = Stage::set().await;
    let running = stage.worker(2, DRAIN).await;
    let spec = stage.submit(json!({"do": "chunks", "n": 1000}), json!({}), |_| {}).await;
    let job = stage.over(&spec).await;
    assert_eq!((job.state, job.result.clone().unwrap().text()), (JobState::Succeeded, "1000"));
    let expected: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(stage.chunks(&spec).await, expected);
    assert!(running.status.last_taken().is_some());
    stage.acked(running).await;
    assert_eq!(stage.metric("sortie_worker_attempts_total"), 1.0);
    assert_eq!(stage.metric("sortie_worker_attempt_seconds"), 1.0);
    assert_eq!(stage.metric("sortie_worker_events_total"), 1000.0);
    assert_eq!(stage.metric("sortie_worker_claims_total"), 1.0);
    assert_eq!(stage.metric("sortie_worker_running_attempts"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_as_the_policy_says_and_crashes_up_to_the_crash_limit() {
    let stage = Stage::set().await;
    let _running = stage.worker(4, DRAIN).await;
    for (what, version, state, ends) in [
        ("fail", json!({}), JobState::Failed, vec![Outcome::Failed]),
        ("fail", three_attempts(), JobState::Failed, vec![Outcome::Failed; 3]),
        ("fail_first", three_attempts(), JobState::Succeeded, vec![Outcome::Failed, Outcome::Succeeded]),
        (
            "crash_first",
            json!({"retry": {"backoff_ms": 1}}),
            JobState::Succeeded,
            vec![Outcome::Crashed, Outcome::Succeeded],
        ),
        ("crash", json!({"retry": {"backoff_ms": 1}}), JobState::Failed, vec![Outcome::Crashed; 2]),
    ] {
        let spec = stage.submit(json!({"do": what}), version, |_| {}).await;
        let job = stage.over(&spec).await;
        assert_eq!((job.state, outcomes(&job)), (state, ends), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_ends_at_its_timeout_or_the_deadline_whichever_comes_first() {
    let stage = Stage::set().await;
    let _running = stage.worker(4, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({"timeout_ms": 50}), |_| {}).await;
    let job = stage.over(&spec).await;
    assert_eq!((job.state, code(&job)), (JobState::Failed, Some(Code::HandlerTimedOut)));
    assert_eq!(outcomes(&job), [Outcome::TimedOut]);

    let soon =
        |spec: &mut protocol::job::JobSpec| spec.deadline = spec.created_at.plus(Duration::from_millis(150));
    // The machine may be busy for a moment: what is late by design is so every time.
    for last in [false, false, true] {
        let spec = stage.submit(json!({"do": "wait"}), json!({}), soon).await;
        let job = stage.over(&spec).await;
        assert_eq!((job.state, code(&job)), (JobState::Expired, Some(Code::DeadlineExceeded)));
        let late = job.finished_at.unwrap().since(spec.deadline);
        if late <= protocol::deadline::GRACE {
            break;
        }
        assert!(!last, "{late:?} after the deadline");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_stop_is_dropped_and_its_slot_is_free_again() {
    let stage = Stage::set().await;
    let running = stage.worker(1, DRAIN).await;
    let stubborn = stage.submit(json!({"do": "stubborn"}), json!({"timeout_ms": 20}), |_| {}).await;
    assert_eq!(code(&stage.over(&stubborn).await), Some(Code::HandlerTimedOut));
    let next = stage.submit(json!({"value": 1}), json!({}), |_| {}).await;
    assert_eq!(stage.over(&next).await.state, JobState::Succeeded);
    assert_eq!(stage.metric("sortie_worker_stuck_handlers_total"), 1.0);
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_deadline_never_starts() {
    let stage = Stage::set().await;
    let past =
        |spec: &mut protocol::job::JobSpec| spec.deadline = spec.created_at.plus(Duration::from_millis(1));
    let spec = stage.submit(json!({}), json!({}), past).await;
    stage.poll("the deadline", async || protocol::time::Timestamp::now() > spec.deadline).await;
    let running = stage.worker(1, DRAIN).await;
    stage.poll("the end", async || stage.job(&spec).await.state == JobState::Expired).await;
    assert!(stage.script.runs().is_empty());
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_cancelled_at_once() {
    let stage = Stage::set().await;
    let running = stage.worker(1, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    stage.real.store.cancel(&spec.tenant, spec.id).await.unwrap();
    let job = stage.over(&spec).await;
    assert_eq!((job.state, outcomes(&job)), (JobState::Cancelled, vec![Outcome::Cancelled]));
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_attempt_keeps_its_lease() {
    let stage = Stage::with_lease(SHORT_LEASE).await;
    let _running = stage.worker(2, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    let before = stage.faults.calls("store.renew");
    // Three leases long.
    stage
        .poll("renewals", async || {
            stage.sweep().await;
            stage.faults.calls("store.renew") >= before + 9
        })
        .await;
    stage.script.go.add_permits(1);
    let job = stage.over(&spec).await;
    assert_eq!((job.state, job.attempts.len()), (JobState::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_stops_the_attempt_and_the_next_one_gives_the_result() {
    let stage = Stage::with_lease(SHORT_LEASE).await;
    let running = stage.worker(2, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    stage.faults.set_away("store.renew", true);
    stage.until(&spec, |job| job.attempts.len() == 2).await;
    stage.faults.set_away("store.renew", false);
    stage.poll("losing", async || stage.metric("sortie_worker_lost_leases_total") == 1.0).await;
    stage.script.go.add_permits(1);
    let job = stage.over(&spec).await;
    assert_eq!(job.result.clone().unwrap().text(), r#"{"attempt":2}"#);
    assert_eq!(outcomes(&job), [Outcome::Crashed, Outcome::Succeeded]);
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_result_is_dropped_counted_and_acked() {
    let stage = Stage::with_lease(SHORT_LEASE).await;
    let running = stage.worker(1, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    stage.faults.set_away("store.renew", true);
    stage.faults.set_away("store.finish", true);
    stage.script.go.add_permits(1);
    stage.poll("finishing", async || stage.faults.calls("store.finish") > 0).await;
    stage.until(&spec, |job| job.state == JobState::Queued).await;
    stage.faults.set_away("store.renew", false);
    stage.faults.set_away("store.finish", false);
    stage.poll("the late result", async || stage.metric("sortie_worker_late_results_total") == 1.0).await;
    stage.script.go.add_permits(1);
    assert_eq!(stage.over(&spec).await.result.unwrap().text(), r#"{"attempt":2}"#);
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acked_before_the_result_is_stored() {
    let stage = Stage::set().await;
    let running = stage.worker(1, DRAIN).await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.until(&spec, |job| job.state == JobState::Running).await;
    stage.faults.set_away("store.finish", true);
    stage.faults.set_away("store.append", true);
    stage.script.go.add_permits(1);
    stage.poll("several tries", async || stage.faults.calls("store.finish") > 3).await;
    assert_eq!(running.status.free(), 1, "its slot takes the next job meanwhile");
    stage.faults.set_away("store", false);
    stage.faults.set_away("store.append", false);
    stage.faults.set_away("store.finish", false);
    let job = stage.over(&spec).await;
    assert_eq!((job.state, job.attempts.len()), (JobState::Succeeded, 1));
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_waits_while_store_or_registry_are_away() {
    let stage = Stage::set().await;
    let running = stage.worker(1, DRAIN).await;
    for (port, call) in [("store", "store.claim"), ("registry", "registry.content")] {
        let before = stage.faults.calls(call);
        stage.faults.set_away(port, true);
        // Another content, so that the cache doesn't know it.
        let spec = stage.submit(json!({"value": port}), json!({"description": port}), |_| {}).await;
        stage.poll("several tries", async || stage.faults.calls(call) > before + 2).await;
        assert_eq!(stage.job(&spec).await.state, JobState::Queued);
        assert!(match port {
            "store" => running.status.reach().await.store.is_err(),
            _ => running.status.reach().await.registry.is_err(),
        });
        stage.faults.set_away(port, false);
        assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    }
    assert!(running.status.reach().await.queue.is_ok());
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_double_neither_events_nor_results() {
    let stage = Stage::set().await;
    let running = stage.worker(1, DRAIN).await;
    stage.faults.lose_next("store.append", 3);
    stage.faults.lose_next("store.finish", 1);
    let spec = stage.submit(json!({"do": "chunks", "n": 2000}), json!({}), |_| {}).await;
    assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    assert_eq!(stage.chunks(&spec).await.len(), 2000);
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_delivered_twice_runs_once() {
    let stage = Stage::set().await;
    let spec = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    stage.publish(&spec).await;
    let running = stage.worker(2, DRAIN).await;
    stage.poll("both claims", async || stage.metric("sortie_worker_claims_total") == 2.0).await;
    stage.script.go.add_permits(2);
    assert_eq!(stage.over(&spec).await.state, JobState::Succeeded);
    assert_eq!(stage.script.runs(), [(spec.id, 1)]);
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_outputs_and_events_that_break_a_rule_fail_with_their_code() {
    let stage = Stage::set().await;
    let running = stage.worker(2, DRAIN).await;
    let gone =
        |spec: &mut protocol::job::JobSpec| spec.content_hash = ContentHash::new("0".repeat(64)).unwrap();
    let spec = stage.submit(json!({}), json!({}), gone).await;
    assert_eq!(code(&stage.over(&spec).await), Some(Code::VersionGone));

    let version = json!({"output_schema": {"type": "string"}});
    let spec = stage.submit(json!({"value": 7}), version, |_| {}).await;
    assert_eq!(code(&stage.over(&spec).await), Some(Code::OutputInvalid));

    let spec =
        stage.submit(json!({"do": "progress", "n": 10_001}), json!({"timeout_ms": 20_000}), |_| {}).await;
    assert_eq!(code(&stage.over(&spec).await), Some(Code::EventsTooMany));
    stage.acked(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_jobs_go_first() {
    let stage = Stage::set().await;
    let urgent = |priority| move |spec: &mut protocol::job::JobSpec| spec.priority = priority;
    let blocker = stage.submit(json!({"do": "wait"}), json!({}), |_| {}).await;
    let running = stage.worker(1, DRAIN).await;
    stage.until(&blocker, |job| job.state == JobState::Running).await;
    let low = stage.submit(json!({}), json!({}), urgent(Priority::Low)).await;
    let high = stage.submit(json!({}), json!({}), urgent(Priority::High)).await;
    stage.poll("both wait in the worker", async || stage.metric("sortie_worker_waiting_jobs") == 2.0).await;
    stage.script.go.add_permits(1);
    stage.over(&low).await;
    let order: Vec<_> = stage.script.runs().into_iter().map(|(job, _)| job).collect();
    assert_eq!(order, [blocker.id, high.id, low.id]);
    stage.acked(running).await;
}
