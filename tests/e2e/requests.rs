//! Requests: idempotency, waiting, keys, and every way to be wrong, each with its own code and place.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Answer;
use crate::{Installation, journeys};

journeys!(
    the_same_idempotency_key_gives_the_same_job,
    prefer_wait_answers_with_the_finished_job,
    a_batch_answers_with_all_its_finished_jobs,
    a_wrong_job_is_refused_with_its_code_and_place_and_makes_nothing,
    a_wrong_action_is_refused_with_its_code_and_place_and_makes_nothing,
    keys_open_what_their_scopes_say_and_nothing_else,
    a_draft_is_tested_without_being_published,
    versions_are_immutable_and_numbered,
);

const ECHO: &str = "def handle_event(data):\n    return data\n";

async fn the_same_idempotency_key_gives_the_same_job(sortie: &Installation) {
    sortie.client.publish("echo", ECHO, json!({})).await;
    let submit = async |number: u32| {
        let body = json!({"action": "echo", "input": {"number": number}});
        sortie.client.send("POST", "/v1/jobs", &[("idempotency-key", "order-1")], Some(body)).await
    };
    let first = submit(1).await;
    sortie.client.finished(&first.id()).await;
    let again = submit(1).await;
    assert_eq!(again.id(), first.id());
    assert_eq!(again.body["attempts"].as_array().unwrap().len(), 1, "{again:?}");
    let other = submit(2).await;
    assert_eq!((other.status, other.code()), (409, "idempotency_conflict"));
}

async fn prefer_wait_answers_with_the_finished_job(sortie: &Installation) {
    sortie.client.publish("echo", ECHO, json!({})).await;
    let body = json!({"action": "echo", "input": "hello", "labels": {"team": "travel"}});
    let answer = sortie.client.send("POST", "/v1/jobs", &[("prefer", "wait=20")], Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["result"], "hello");
    let listed = sortie.client.get("/v1/jobs?label=team:travel&state=succeeded").await;
    assert_eq!(listed.body["jobs"][0]["id"], answer.body["id"], "{listed:?}");
    let none = sortie.client.get("/v1/jobs?label=team:other").await;
    assert_eq!(none.body["jobs"], json!([]));
}

async fn a_batch_answers_with_all_its_finished_jobs(sortie: &Installation) {
    sortie.client.publish("echo", ECHO, json!({"reuse": "warm"})).await;
    let mut jobs: Vec<Value> = (0..100).map(|n| json!({"action": "echo", "input": {"n": n}})).collect();
    jobs.push(json!({"action": "nowhere"}));
    let headers = [("prefer", "wait=30"), ("idempotency-key", "night")];
    let send =
        async || sortie.client.send("POST", "/v1/jobs/batch", &headers, Some(json!({ "jobs": jobs }))).await;
    let answer = send().await;
    let answers = answer.body["answers"].as_array().unwrap();
    for (n, item) in answers[..100].iter().enumerate() {
        assert_eq!((&item["status"], &item["job"]["result"]["n"]), (&json!(200), &json!(n)), "{item}");
    }
    assert_eq!((answers.len(), &answers[100]["problem"]["code"]), (101, &json!("action_not_found")));
    let ids = |answer: &Answer| {
        answer.body["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["job"]["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&send().await), ids(&answer), "the same batch again is the same jobs");
}

/// The number of jobs that exist.
async fn jobs(sortie: &Installation) -> usize {
    sortie.client.get("/v1/jobs").await.body["jobs"].as_array().unwrap().len()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str, pointer: &str, what: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{what}: {answer:?}");
    assert!(!answer.body["detail"].as_str().unwrap_or("").is_empty(), "{what}: no detail");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    if !pointer.is_empty() {
        assert_eq!(answer.pointer(), pointer, "{what}: {answer:?}");
    }
}

async fn a_wrong_job_is_refused_with_its_code_and_place_and_makes_nothing(sortie: &Installation) {
    let schema = json!({"input_schema": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}});
    sortie.client.publish("weather", ECHO, schema).await;
    sortie.client.publish("off", ECHO, json!({"enabled": false})).await;
    let cases: &[(Value, u16, &str, &str)] = &[
        (json!({"input": {}}), 422, "field_missing", "/action"),
        (json!({"action": "weather", "inputs": {}}), 422, "field_unknown", "/inputs"),
        (json!({"action": 7}), 422, "field_invalid", "/action"),
        (json!({"action": "a b"}), 422, "field_invalid", "/action"),
        (json!({"action": "nowhere", "input": {}}), 404, "action_not_found", ""),
        (json!({"action": "off", "input": {}}), 409, "action_disabled", ""),
        (json!({"action": "weather", "version": 9, "input": {"city": "Oslo"}}), 404, "version_not_found", ""),
        (json!({"action": "weather", "input": {"city": 7}}), 422, "input_invalid", "/city"),
        (json!({"action": "weather", "input": {}}), 422, "input_invalid", ""),
        (json!({"action": "weather", "input": {"city": "x".repeat(262_144)}}), 413, "input_too_large", ""),
        (json!({"action": "weather", "input": {"city": "x".repeat(2_000_000)}}), 413, "body_too_large", ""),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "deadline_ms": 0}),
            422,
            "deadline_past",
            "/deadline_ms",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "deadline_ms": -5}),
            422,
            "deadline_past",
            "/deadline_ms",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "deadline_ms": 90_000_000}),
            422,
            "deadline_too_far",
            "/deadline_ms",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "deadline_ms": "soon"}),
            422,
            "field_invalid",
            "/deadline_ms",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "priority": "urgent"}),
            422,
            "field_invalid",
            "/priority",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "lane": "Über"}),
            422,
            "field_invalid",
            "/lane",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "run_at": "tomorrow"}),
            422,
            "field_invalid",
            "/run_at",
        ),
        (
            json!({"action": "weather", "input": {"city": "Oslo"}, "labels": {"n": 1}}),
            422,
            "field_invalid",
            "/labels/n",
        ),
        (json!([1]), 422, "field_invalid", ""),
    ];
    for (body, status, code, pointer) in cases {
        let mut what = body.to_string();
        what.truncate(100);
        assert_refused(&sortie.client.post("/v1/jobs", body.clone()).await, *status, code, pointer, &what);
    }
    let raw: &[(&[u8], u16, &str)] = &[
        (b"", 400, "body_not_json"),
        (b"{\"action\":", 400, "body_not_json"),
        (b"{\"action\":\"\xff\xfe\"}", 400, "body_not_utf8"),
    ];
    let deep = format!("{{\"action\":\"weather\",\"input\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for (body, status, code) in raw.iter().chain(&[(deep.as_bytes(), 400, "body_too_deep")]) {
        let answer = sortie.client.try_send("POST", "/v1/jobs", &[], Some(body.to_vec())).await.unwrap();
        assert_refused(&answer, *status, code, "", code);
    }
    let text = [("content-type", "text/plain")];
    let answer = sortie.client.try_send("POST", "/v1/jobs", &text, Some(b"{}".to_vec())).await.unwrap();
    assert_refused(&answer, 415, "media_type_unsupported", "", "text/plain");
    assert_refused(&sortie.client.get("/v1/jobs/nonsense").await, 404, "job_not_found", "", "job id");
    assert_refused(&sortie.client.get("/v1/nowhere").await, 404, "route_not_found", "", "route");
    assert_refused(&sortie.client.put("/v1/jobs", json!({})).await, 405, "method_not_allowed", "", "method");
    assert_refused(&sortie.client.get("/v1/jobs?state=happy").await, 400, "parameter_invalid", "", "state");
    assert_eq!(jobs(sortie).await, 0, "a refused request made a job");
}

async fn a_wrong_action_is_refused_with_its_code_and_place_and_makes_nothing(sortie: &Installation) {
    let python = json!({"kind": "python", "source": ECHO});
    let with = |field: &str, value: Value| {
        let mut body = json!({"handler": python});
        body[field] = value;
        body
    };
    let http = |url: &str| json!({"handler": {"kind": "http", "url": url}});
    let cases: Vec<(Value, u16, &str, &str)> = vec![
        (json!({}), 422, "field_missing", "/handler"),
        (json!({"handler": {"kind": "ruby"}}), 422, "field_invalid", "/handler/kind"),
        (json!({"handler": {"kind": "python"}}), 422, "field_missing", "/handler/source"),
        (with("colour", json!(1)), 422, "field_unknown", "/colour"),
        (with("input_schema", json!({"type": "strin"})), 422, "schema_invalid", ""),
        (
            with("input_schema", json!({"$ref": "file:///etc/passwd"})),
            422,
            "schema_reference",
            "/input_schema/$ref",
        ),
        (
            with("input_schema", json!({"properties": {"a": {"$ref": "http://127.0.0.1/x"}}})),
            422,
            "schema_reference",
            "/input_schema/properties/a/$ref",
        ),
        (with("output_schema", json!({"type": 1})), 422, "schema_invalid", ""),
        (with("timeout_ms", json!(0)), 422, "field_invalid", "/timeout_ms"),
        (with("timeout_ms", json!(10_000_000)), 422, "field_invalid", "/timeout_ms"),
        (with("memory_mb", json!(1)), 422, "field_invalid", "/memory_mb"),
        (with("retry", json!({"max_attempts": 0})), 422, "field_invalid", "/retry/max_attempts"),
        (http("ftp://x/"), 422, "field_invalid", "/handler/url"),
        (http("https://{host}/"), 422, "field_invalid", "/handler/url"),
    ];
    for (body, status, code, pointer) in cases {
        let what = body.to_string();
        assert_refused(&sortie.client.put("/v1/actions/wrong", body).await, status, code, pointer, &what);
    }
    assert_eq!(sortie.client.get("/v1/actions/wrong").await.code(), "action_not_found");
}

async fn keys_open_what_their_scopes_say_and_nothing_else(sortie: &Installation) {
    sortie.client.publish("echo", ECHO, json!({})).await;
    sortie.client.publish("other", ECHO, json!({})).await;
    let make = async |body: Value| {
        let answer = sortie.client.post("/v1/keys", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        (answer.body["id"].as_str().unwrap().to_owned(), answer.body["secret"].as_str().unwrap().to_owned())
    };
    let job = |action: &str| json!({"action": action, "input": 1});
    let (id, secret) = make(json!({"name": "limited", "scopes": ["jobs:write"], "actions": ["echo"]})).await;
    let limited = sortie.client.with_key(&secret);
    assert_eq!(limited.post("/v1/jobs", job("echo")).await.status, 202);
    assert_refused(
        &limited.post("/v1/jobs", job("other")).await,
        403,
        "action_not_allowed",
        "",
        "other action",
    );
    assert_refused(&limited.get("/v1/jobs").await, 403, "scope_missing", "", "reading");
    assert_refused(&limited.put("/v1/actions/x", json!({})).await, 403, "scope_missing", "", "publishing");
    sortie.client.post(&format!("/v1/keys/{id}/disable"), json!({})).await;
    assert_refused(&limited.post("/v1/jobs", job("echo")).await, 401, "key_disabled", "", "disabled");

    let soon = protocol::time::Timestamp::now().plus(Duration::from_secs(3));
    let (_, secret) = make(json!({"name": "short", "scopes": ["jobs:write"], "expires_at": soon})).await;
    let short = sortie.client.with_key(&secret);
    let expired = crate::support::until("the key has expired", Duration::from_secs(20), || async {
        let answer = short.post("/v1/jobs", job("echo")).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    assert_refused(&expired, 401, "key_expired", "", "expired");
    assert_refused(
        &sortie.client.with_key("sk_nonsense").get("/v1/jobs").await,
        401,
        "key_invalid",
        "",
        "unknown",
    );
    assert_refused(&sortie.client.with_key("").get("/v1/jobs").await, 401, "key_missing", "", "none");
}

async fn a_draft_is_tested_without_being_published(sortie: &Installation) {
    let body = json!({"draft": {"handler": {"kind": "python", "source": ECHO}}, "input": [1]});
    let answer =
        sortie.client.send("POST", "/v1/actions/draft/test", &[("prefer", "wait=20")], Some(body)).await;
    assert_eq!((answer.status, &answer.body["result"]), (200, &json!([1])), "{answer:?}");
    assert_eq!(answer.body["version"], Value::Null);
    assert_eq!(sortie.client.get("/v1/actions/draft").await.code(), "action_not_found");
}

async fn versions_are_immutable_and_numbered(sortie: &Installation) {
    let first = sortie.client.publish("answer", "def handle_event(data):\n    return 1\n", json!({})).await;
    assert_eq!((first.status, &first.body["version"]), (201, &json!(1)), "{first:?}");
    let same = sortie.client.publish("answer", "def handle_event(data):\n    return 1\n", json!({})).await;
    assert_eq!((same.status, &same.body["version"]), (200, &json!(1)));
    let second = sortie.client.publish("answer", "def handle_event(data):\n    return 2\n", json!({})).await;
    assert_eq!((second.status, &second.body["version"]), (201, &json!(2)));
    assert_eq!(sortie.client.run("answer", json!({})).await["result"], 2);
    let old = sortie.client.post("/v1/jobs", json!({"action": "answer", "version": 1})).await;
    assert_eq!(sortie.client.finished(&old.id()).await["result"], 1);
    assert_eq!(sortie.client.send("DELETE", "/v1/actions/answer", &[], None).await.status, 204);
    let gone = sortie.client.post("/v1/jobs", json!({"action": "answer"})).await;
    assert_refused(&gone, 404, "action_not_found", "", "deleted");
}
