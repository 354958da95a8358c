//! Batches: each request is answered as if it had come alone.

use std::time::{Duration, Instant};

use protocol::id::JobId;
use protocol::limits;
use serde_json::{Value, json};

use crate::support::client::{Answer, Call};
use crate::support::{World, ask, content, eventually};

fn batch(world: &World, jobs: &[Value]) -> Call {
    world.call("POST", "/v1/jobs/batch").json(&json!({ "jobs": jobs }))
}

fn count(n: i64) -> Value {
    json!({"action": "count", "input": {"n": n}})
}

/// The status of each answer, with its code where it was refused.
fn told(answer: &Answer) -> Vec<(u64, String)> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answers = answer.json()["answers"].as_array().unwrap().clone();
    answers
        .iter()
        .map(|item| {
            let code = item["problem"]["code"].as_str().unwrap_or_default();
            assert_eq!(item.get("job").is_some(), code.is_empty(), "either a job or a problem: {item}");
            (item["status"].as_u64().unwrap(), code.to_owned())
        })
        .collect()
}

fn ids(answer: &Answer) -> Vec<JobId> {
    let answers = answer.json()["answers"].as_array().unwrap().clone();
    answers.iter().filter_map(|item| item["job"]["id"].as_str()?.parse().ok()).collect()
}

#[tokio::test]
async fn each_request_of_a_batch_is_accepted_or_refused_by_itself_and_in_order() {
    let world = World::start().await;
    let schema = json!({"input_schema": {"properties": {"n": {"type": "integer"}}}});
    assert_eq!(world.put("/v1/actions/count", &content(schema)).await.status, 201);
    let later = json!({"action": "count", "run_at": "2100-01-01T00:00:00Z"});
    let deep = (0..64).fold(json!(1), |inside, _| json!([inside]));
    let deep = json!({"action": "count", "input": {"n": deep}});
    let jobs = [
        count(1),
        json!({"action": "nothing"}),
        json!({"action": "count", "input": {"n": "one"}}),
        json!({"action": "count", "inputs": {}}),
        json!(7),
        deep,
        later,
        json!({"action": "count", "input": {"n": 2}, "priority": "high", "labels": {"team": "travel"}}),
    ];
    let answer = batch(&world, &jobs).send().await;
    let expected = [
        (202, ""),
        (404, "action_not_found"),
        (422, "input_invalid"),
        (422, "field_unknown"),
        (422, "field_invalid"),
        (400, "body_too_deep"),
        (422, "field_invalid"),
        (202, ""),
    ];
    assert_eq!(told(&answer), expected.map(|(status, code)| (status, code.to_owned())));
    let answers = &answer.json()["answers"];
    assert_eq!(answers[2]["problem"]["errors"][0]["pointer"], "/n");
    assert_eq!(answers[3]["problem"]["errors"][0]["pointer"], "/inputs");
    assert!(answers[0]["job"].get("input").is_none(), "the caller has the input: {answers}");
    assert_eq!(
        (&answers[7]["job"]["priority"], &answers[7]["job"]["state"]),
        (&json!("high"), &json!("queued"))
    );
    assert_eq!(world.job(ids(&answer)[1]).await.spec.input.value(), json!({"n": 2}));
    assert_eq!(world.metric("sortie_dispatcher_jobs_accepted_total", &[]), 2.0);
    assert_eq!(world.metric("sortie_dispatcher_jobs_refused_total", &["input_invalid"]), 1.0);
}

#[tokio::test]
async fn a_batch_is_read_as_a_whole_and_bounded() {
    let world = World::start().await;
    world.publish("count").await;
    batch(&world, &[]).send().await.is_problem(422, "field_invalid", "/jobs");
    let many = vec![count(1); limits::BATCH + 1];
    batch(&world, &many).send().await.is_problem(422, "field_invalid", "/jobs");
    let call = || world.call("POST", "/v1/jobs/batch");
    call().body(r#"{"jobs":[{"action":"count"},]}"#).send().await.is_problem(400, "body_not_json", "-");
    call().announce(limits::BATCH_BYTES + 1).send().await.is_problem(413, "body_too_large", "-");
    let reader = world.key(json!({"scopes": ["jobs:read"]})).await;
    let refused = ask(&world, &reader, "POST", "/v1/jobs/batch", json!({"jobs": [count(1)]})).await;
    refused.is_problem(403, "scope_missing", "-");

    let full = batch(&world, &many[1..]).send().await;
    assert!(told(&full).iter().all(|(status, _)| *status == 202));
    assert_eq!(ids(&full).into_iter().collect::<std::collections::BTreeSet<_>>().len(), limits::BATCH);
}

#[tokio::test]
async fn a_key_that_is_limited_to_actions_submits_only_those() {
    let world = World::start().await;
    world.publish("count").await;
    world.publish("other").await;
    let limited = world.key(json!({"scopes": ["jobs:write"], "actions": ["count"]})).await;
    let jobs = json!({"jobs": [count(1), {"action": "other"}]});
    let answer = ask(&world, &limited, "POST", "/v1/jobs/batch", jobs).await;
    assert_eq!(told(&answer), [(202, String::new()), (403, "action_not_allowed".into())]);
}

#[tokio::test]
async fn one_idempotency_key_is_one_batch_and_another_request_in_it_is_a_conflict() {
    let world = World::start().await;
    world.publish("count").await;
    let send = async |jobs: &[Value]| batch(&world, jobs).header("idempotency-key", "night").send().await;
    let first = send(&[count(1), count(1), count(3)]).await;
    let again = send(&[count(1), count(1), count(3)]).await;
    assert_eq!(ids(&first), ids(&again));
    // The same request in two places is two jobs.
    assert_ne!(ids(&first)[0], ids(&first)[1]);
    let other = send(&[count(1), count(2), count(3), count(4)]).await;
    let conflict = (409, "idempotency_conflict".into());
    assert_eq!(told(&other), [(202, String::new()), conflict, (202, String::new()), (202, String::new())]);
    assert_eq!(ids(&other)[..2], [ids(&first)[0], ids(&first)[2]]);
}

#[tokio::test]
async fn waiting_for_a_batch_answers_when_all_are_finished_or_the_time_is_over() {
    let world = World::start().await;
    world.publish("count").await;
    let jobs = [count(1), json!({"action": "nothing"}), count(2)];
    let send = || batch(&world, &jobs).header("prefer", "wait=30").header("idempotency-key", "k").send();
    let (answer, ()) = tokio::join!(send(), async {
        let queued = async || {
            let page = world.get("/v1/jobs?state=queued").await.json();
            let jobs = page["jobs"].as_array().unwrap().clone();
            jobs.iter().map(|job| job["id"].as_str().unwrap().parse().unwrap()).collect::<Vec<JobId>>()
        };
        eventually("both are there", async || queued().await.len() == 2).await;
        // Newest first: the last one ends before the one that is waited for.
        for id in queued().await {
            let claimed = world.claim(id).await;
            let n = claimed.0.input.value()["n"].clone();
            world.succeed(&claimed, n).await;
        }
    });
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(told(&answer), [(200, String::new()), (404, "action_not_found".into()), (200, String::new())]);
    let answers = &answer.json()["answers"];
    assert_eq!((&answers[0]["job"]["result"], &answers[2]["job"]["result"]), (&json!(1), &json!(2)));

    let begun = Instant::now();
    assert_eq!(ids(&send().await), ids(&answer), "jobs that ended before they were waited for");
    assert!(begun.elapsed() < Duration::from_secs(10));

    let over = batch(&world, &[count(3)]).header("prefer", "wait=1").send().await;
    assert_eq!(told(&over), [(202, String::new())]);
}

#[tokio::test]
async fn results_that_find_no_room_are_left_out_and_marked() {
    let world = World::start().await;
    world.publish("count").await;
    let full = limits::BATCH_RESULT_BYTES / limits::RESULT_BYTES;
    let jobs: Vec<_> = (0..=full).map(|_| count(1)).collect();
    let send = |wait: &str| batch(&world, &jobs).header("idempotency-key", "k").header("prefer", wait).send();
    let large = json!("x".repeat(limits::RESULT_BYTES - 2));
    for id in ids(&send("wait=0").await) {
        let claimed = world.claim(id).await;
        world.succeed(&claimed, large.clone()).await;
    }
    for wait in ["wait=0", "wait=30"] {
        let answer = send(wait).await;
        assert!(told(&answer).iter().all(|(status, _)| *status == 200));
        let answers = answer.json()["answers"].as_array().unwrap().clone();
        let omitted = |item: &Value| item["result_omitted"] == true && item["job"].get("result").is_none();
        assert_eq!(answers.iter().filter(|item| omitted(item)).count(), 1, "{wait}");
        assert!(omitted(&answers[full]) && answers[0]["job"]["result"] == large, "{wait}");
    }
}

#[tokio::test]
async fn what_may_be_tried_again_says_when() {
    let world = World::start().await;
    world.publish("count").await;
    world.faults.lose_next("store.create", 1);
    let answer = batch(&world, &[count(1)]).header("idempotency-key", "k").send().await;
    assert_eq!(told(&answer), [(503, "store_unavailable".into())]);
    assert_eq!(answer.json()["answers"][0]["retry_after_ms"], 1_000);
    let again = batch(&world, &[count(1)]).header("idempotency-key", "k").send().await;
    assert_eq!(told(&again), [(202, String::new())]);
}
