//! How a request becomes a job, or is refused without a trace.

use std::time::Duration;

use protocol::id::Lane;
use protocol::ports::Depth;
use protocol::state::JobState;
use serde_json::{Value, json};

use crate::support::{World, content, eventually};

async fn ready(world: &World) -> u64 {
    let Depth { ready, .. } = world.ports.queue.depth(&Lane::standard()).await.unwrap();
    ready
}

async fn jobs(world: &World) -> usize {
    world.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_accepted_job_is_recorded_and_on_the_queue() {
    let world = World::start().await;
    world.publish("count").await;
    let body = json!({"action": "count", "input": {"n": 1}, "priority": "high", "labels": {"team": "a"}, "deadline_ms": 9_000});
    let answer = world.post("/v1/jobs", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let job = answer.json();
    assert_eq!(answer.header("location").unwrap(), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!(
        (&job["state"], &job["version"], &job["labels"]["team"]),
        (&json!("queued"), &json!(1), &json!("a"))
    );
    assert_eq!(ready(&world).await, 1);
    eventually("the outbox mark is cleared", async || world.faults.calls("store.published") == 1).await;
    assert_eq!(world.ports.store.outbox(Duration::ZERO, 10).await.unwrap(), []);
    let stored = world.job(job["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(stored.spec.input.text(), r#"{"n":1}"#);
    assert_eq!(stored.spec.deadline.since(stored.spec.created_at), Duration::from_secs(9));
    assert_eq!(world.metric("sortie_dispatcher_jobs_accepted_total", &[]), 1.0);
}

#[tokio::test]
async fn every_wrong_request_has_its_code_and_leaves_nothing_behind() {
    let world = World::start().await;
    world.publish("count").await;
    world.publish("off").await;
    world.post("/v1/actions/off/disable", &json!({})).await;
    let ok = json!({"n": 1});
    let checks: Vec<(Value, u16, &str, &str)> = vec![
        (json!({"input": ok}), 422, "field_missing", "/action"),
        (json!({"action": "count", "inputs": ok}), 422, "field_unknown", "/inputs"),
        (json!({"action": 1}), 422, "field_invalid", "/action"),
        (json!({"action": "no.such"}), 404, "action_not_found", "-"),
        (json!({"action": "off", "input": ok}), 409, "action_disabled", "-"),
        (json!({"action": "count", "input": ok, "version": 7}), 404, "version_not_found", "-"),
        (json!({"action": "count", "input": {"n": "x"}}), 422, "input_invalid", "/n"),
        (json!({"action": "count"}), 422, "input_invalid", ""),
        (
            json!({"action": "count", "input": {"n": 1, "pad": "x".repeat(262_144)}}),
            413,
            "input_too_large",
            "-",
        ),
        (json!({"action": "count", "input": ok, "deadline_ms": 0}), 422, "deadline_past", "/deadline_ms"),
        (json!({"action": "count", "input": ok, "deadline_ms": -1}), 422, "deadline_past", "/deadline_ms"),
        (
            json!({"action": "count", "input": ok, "deadline_ms": 86_400_001}),
            422,
            "deadline_too_far",
            "/deadline_ms",
        ),
        (
            json!({"action": "count", "input": ok, "run_at": "2199-01-01T00:00:00Z"}),
            422,
            "field_invalid",
            "/run_at",
        ),
        (json!({"action": "count", "input": ok, "lane": "A"}), 422, "field_invalid", "/lane"),
        (json!({"action": "count", "input": ok, "labels": {"": "x"}}), 422, "field_invalid", "/labels/"),
        (json!({"action": "count", "input": ok, "callback": "http://x/"}), 422, "field_unknown", "/callback"),
    ];
    for (body, status, code, pointer) in checks {
        world.post("/v1/jobs", &body).await.is_problem(status, code, pointer);
    }
    // JSON that scans but can't be a value: half a surrogate pair, and a number beyond every range.
    for input in [r#"{"n":"\ud800"}"#, r#"{"n":1e999}"#] {
        let body = format!(r#"{{"action":"count","input":{input}}}"#);
        world.call("POST", "/v1/jobs").body(body).send().await.is_problem(422, "field_invalid", "/input");
    }
    assert_eq!((jobs(&world).await, ready(&world).await), (0, 0));
    assert_eq!(world.metric("sortie_dispatcher_jobs_refused_total", &["deadline_past"]), 2.0);
}

#[tokio::test]
async fn an_asked_version_runs_and_the_latest_otherwise() {
    let world = World::start().await;
    world.publish("count").await;
    let second = content(json!({"lane": "gpu", "timeout_ms": 7}));
    assert_eq!(world.put("/v1/actions/count", &second).await.status, 201);
    let latest = world.submit("count", json!({})).await;
    let first = world.submit("count", json!({"version": 1, "lane": "eu"})).await;
    let (latest, first) = (world.job(latest).await.spec, world.job(first).await.spec);
    assert_eq!((latest.version, latest.lane.as_str(), latest.timeout_ms), (Some(2), "gpu", 7));
    assert_eq!((first.version, first.lane.as_str(), first.timeout_ms), (Some(1), "eu", 5_000));
}

#[tokio::test]
async fn one_idempotency_key_is_one_job_however_often_and_however_spelt() {
    let world = World::start().await;
    world.publish("count").await;
    let send = async |body: &str| {
        let call = world.call("POST", "/v1/jobs").header("idempotency-key", "order-1");
        call.header("content-type", "application/json").body(body).send().await
    };
    let body = r#"{"action":"count","input":{"n":1}}"#;
    let many = futures_util::future::join_all((0..20).map(|_| send(body))).await;
    let ids: std::collections::BTreeSet<_> =
        many.iter().map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let again = send(r#"{ "input" : {"n": 1}, "action": "count" }"#).await;
    assert_eq!((again.status, again.json()["id"].to_string()), (202, ids.first().unwrap().clone()));
    send(r#"{"action":"count","input":{"n":2}}"#).await.is_problem(409, "idempotency_conflict", "-");
    assert_eq!(jobs(&world).await, 1);

    let claimed = world.claim(again.json()["id"].as_str().unwrap().parse().unwrap()).await;
    world.succeed(&claimed, json!(1)).await;
    let finished = send(body).await;
    assert_eq!((finished.status, &finished.json()["result"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_a_lost_answer_makes_no_second_job() {
    let world = World::start().await;
    world.publish("count").await;
    let body = json!({"action": "count", "input": {"n": 1}});
    for port in ["store", "registry"] {
        world.faults.set_away(port, true);
        let answer = world.post("/v1/jobs", &body).await;
        answer.is_problem(503, "store_unavailable", "-");
        assert_eq!(answer.header("retry-after"), Some("1"));
        world.faults.set_away(port, false);
    }
    assert_eq!(jobs(&world).await, 0);

    world.faults.lose_next("store.create", 1);
    let send =
        async || world.call("POST", "/v1/jobs").header("idempotency-key", "k").json(&body).send().await;
    send().await.is_problem(503, "store_unavailable", "-");
    assert_eq!(send().await.status, 202);
    assert_eq!(jobs(&world).await, 1);
}

#[tokio::test]
async fn a_failed_publish_only_delays_and_then_requests_are_refused_until_the_queue_is_back() {
    let world = World::busy().await;
    world.publish("count").await;
    world.faults.set_away("queue", true);
    // Recorded, so accepted: or the look at the queue came first.
    let answer = world.post("/v1/jobs", &json!({"action": "count", "input": {"n": 1}})).await;
    let accepted = usize::from(answer.status == 202);
    let refused = world.post("/v1/jobs", &json!({"action": "count", "input": {"n": 2}})).await;
    refused.is_problem(503, "queue_unavailable", "-");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(jobs(&world).await, accepted);

    world.faults.set_away("queue", false);
    eventually("jobs are accepted again", async || {
        world.post("/v1/jobs", &json!({"action": "count", "input": {"n": 3}})).await.status == 202
    })
    .await;
    eventually("the outbox published the first job", async || ready(&world).await == accepted as u64 + 1)
        .await;
    world.stop().await;
}

#[tokio::test]
async fn an_accepted_job_whose_publish_failed_is_answered_202_and_published_later() {
    let world = World::busy().await;
    world.publish("count").await;
    world.faults.fail_next("queue.publish", 1);
    let id = world.submit("count", json!({})).await;
    assert_eq!(ready(&world).await, 0);
    eventually("the outbox published it", async || ready(&world).await == 1).await;
    assert_eq!(world.job(id).await.state, JobState::Queued);
    world.stop().await;
}

#[tokio::test]
async fn a_job_for_later_is_scheduled_and_its_deadline_counts_from_then() {
    let world = World::start().await;
    world.publish("count").await;
    let at = protocol::time::Timestamp::now().plus(Duration::from_secs(600));
    let id = world.submit("count", json!({"run_at": at, "deadline_ms": 1_000})).await;
    let job = world.job(id).await;
    assert_eq!((job.state, ready(&world).await), (JobState::Scheduled, 0));
    assert_eq!(job.spec.deadline, at.plus(Duration::from_secs(1)));
    // A time that has passed means at once.
    let id = world.submit("count", json!({"run_at": "2020-01-01T00:00:00Z"})).await;
    assert_eq!((world.job(id).await.state, ready(&world).await), (JobState::Queued, 1));
}

#[tokio::test]
async fn a_stopping_dispatcher_takes_no_job_but_still_answers() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    world.dispatcher.drain();
    let answer = world.post("/v1/jobs", &json!({"action": "count", "input": {"n": 1}})).await;
    answer.is_problem(503, "draining", "-");
    assert_eq!(world.get(&format!("/v1/jobs/{id}")).await.status, 200);
}

#[tokio::test]
async fn a_schema_that_takes_for_ever_holds_up_nobody() {
    let world = World::start().await;
    world.publish("count").await;
    // It asks for itself twice on each level of the value: millions of checks of one number.
    let level = json!({"items": {"$ref": "#"}});
    let evil = content(json!({"input_schema": {"allOf": [level, level]}}));
    assert_eq!(world.put("/v1/actions/evil", &evil).await.status, 201);
    let input = (0..22).fold(json!(1), |inner, _| json!([inner]));
    let body = json!({"action": "evil", "input": input});
    let (slow, id) = tokio::join!(world.post("/v1/jobs", &body), world.submit("count", json!({})));
    slow.is_problem(422, "schema_too_complex", "-");
    assert_eq!(world.job(id).await.state, JobState::Queued);
}
