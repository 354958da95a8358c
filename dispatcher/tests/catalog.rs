//! Actions over HTTP: published completely checked, read, switched, deleted, tried.

use serde_json::{Value, json};

use crate::support::{World, content};

#[tokio::test]
async fn the_same_content_is_the_same_version_and_another_the_next() {
    let world = World::start().await;
    let one = world.put("/v1/actions/weather.get", &content(json!({}))).await;
    assert_eq!((one.status, &one.json()["version"], &one.json()["enabled"]), (201, &json!(1), &json!(true)));
    let same = world.put("/v1/actions/weather.get", &content(json!({"timeout_ms": 5_000}))).await;
    assert_eq!((same.status, same.json()["content_hash"].clone()), (200, one.json()["content_hash"].clone()));
    let two =
        world.put("/v1/actions/weather.get", &content(json!({"timeout_ms": 6_000, "enabled": false}))).await;
    assert_eq!((two.status, &two.json()["version"], &two.json()["enabled"]), (201, &json!(2), &json!(false)));

    let action = world.get("/v1/actions/weather.get").await.json();
    assert_eq!((&action["version"], &action["content"]["timeout_ms"]), (&json!(2), &json!(6_000)));
    let versions = world.get("/v1/actions/weather.get/versions").await.json();
    let numbers: Vec<_> =
        versions["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(1)]);
    let first = world.get("/v1/actions/weather.get/versions/1").await.json();
    assert_eq!(first["content"]["timeout_ms"], 5_000);
    world.get("/v1/actions/weather.get/versions/9").await.is_problem(404, "version_not_found", "-");
    world.get("/v1/actions/none/versions/1").await.is_problem(404, "action_not_found", "-");
    world.get("/v1/actions/none/versions").await.is_problem(404, "action_not_found", "-");
}

#[tokio::test]
async fn wrong_contents_are_refused_at_their_place_and_publish_nothing() {
    let world = World::start().await;
    let http = |more: Value| {
        let mut handler = json!({"kind": "http", "url": "https://api.example.com/{n}"});
        handler.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"handler": handler})
    };
    let checks = [
        (json!({"timeout_ms": 900_001}), 422, "field_invalid", "/timeout_ms"),
        (json!({"memory_mb": 1}), 422, "field_invalid", "/memory_mb"),
        (json!({"retry": {"max_attempts": 0}}), 422, "field_invalid", "/retry/max_attempts"),
        (json!({"handler": {"kind": "python", "source": " "}}), 422, "field_invalid", "/handler/source"),
        (json!({"handler": {"kind": "perl"}}), 422, "field_invalid", "/handler/kind"),
        (json!({"input_schema": {"type": "strin"}}), 422, "schema_invalid", "/input_schema/type"),
        (json!({"input_schema": {"$ref": "http://x/"}}), 422, "schema_reference", "/input_schema/$ref"),
        (json!({"output_schema": {"pattern": "("}}), 422, "schema_invalid", "/output_schema/pattern"),
        (http(json!({"method": "FETCH"})), 422, "field_invalid", "/handler/method"),
        (http(json!({"url": "ftp://x/"})), 422, "field_invalid", "/handler/url"),
        (http(json!({"result": "data"})), 422, "field_invalid", "/handler/result"),
        (json!({"description": "x".repeat(1_048_577)}), 413, "body_too_large", "-"),
    ];
    for (more, status, code, pointer) in checks {
        world.put("/v1/actions/a", &content(more)).await.is_problem(status, code, pointer);
    }
    world.put("/v1/actions/a%20b", &content(json!({}))).await.is_problem(400, "parameter_invalid", "-");
    world.get("/v1/actions/a").await.is_problem(404, "action_not_found", "-");
    assert_eq!(world.put("/v1/actions/a", &content(http(json!({})))).await.status, 201);
}

#[tokio::test]
async fn actions_are_listed_in_pages_switched_and_deleted() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        world.publish(name).await;
    }
    let page = world.get("/v1/actions?limit=2").await.json();
    assert_eq!((&page["actions"][1]["name"], &page["next"]), (&json!("b"), &json!("b")));
    let page = world.get("/v1/actions?limit=2&cursor=b").await.json();
    assert_eq!((&page["actions"][0]["name"], page.get("next")), (&json!("c"), None));

    let answer = world.post("/v1/actions/a/disable", &json!({})).await;
    assert_eq!((answer.status, &answer.json()["enabled"]), (200, &json!(false)));
    assert_eq!(world.post("/v1/actions/a/enable", &json!({})).await.json()["enabled"], true);
    let id = world.submit("a", json!({})).await;
    assert_eq!(world.call("DELETE", "/v1/actions/a").send().await.status, 204);
    world.call("DELETE", "/v1/actions/a").send().await.is_problem(404, "action_not_found", "-");
    world.post("/v1/actions/a/enable", &json!({})).await.is_problem(404, "action_not_found", "-");
    // What was accepted still runs.
    let claimed = world.claim(id).await;
    let content = world.ports.registry.content(&claimed.0.tenant, &claimed.0.content_hash).await.unwrap();
    assert!(content.is_some());
}

#[tokio::test]
async fn a_draft_runs_without_being_published() {
    let world = World::start().await;
    let draft = content(json!({"timeout_ms": 77}));
    let answer = world.post("/v1/actions/new.one/test", &json!({"draft": draft, "input": {"n": 1}})).await;
    assert_eq!((answer.status, &answer.json()["version"]), (202, &Value::Null));
    let job = world.job(answer.json()["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!((job.spec.timeout_ms, job.spec.action.as_str()), (77, "new.one"));
    let stored = world.ports.registry.content(&job.spec.tenant, &job.spec.content_hash).await.unwrap();
    assert_eq!(stored.unwrap().timeout_ms, 77);
    world.get("/v1/actions/new.one").await.is_problem(404, "action_not_found", "-");

    let test = async |body: Value| world.post("/v1/actions/new.one/test", &body).await;
    let wrong = content(json!({"input_schema": {"type": "strin"}}));
    test(json!({"draft": wrong})).await.is_problem(422, "schema_invalid", "/draft/input_schema/type");
    let wrong = content(json!({"enabled": true}));
    test(json!({"draft": wrong})).await.is_problem(422, "field_unknown", "/draft/enabled");
    test(json!({"draft": draft, "input": {"n": "x"}})).await.is_problem(422, "input_invalid", "/n");
    test(json!({"input": {"n": 1}})).await.is_problem(404, "action_not_found", "-");
}

#[tokio::test]
async fn without_a_draft_the_latest_version_is_tried_even_while_disabled() {
    let world = World::start().await;
    world.publish("a").await;
    world.post("/v1/actions/a/disable", &json!({})).await;
    let answer = world.post("/v1/actions/a/test", &json!({"input": {"n": 1}, "deadline_ms": 500})).await;
    assert_eq!((answer.status, &answer.json()["version"]), (202, &json!(1)));
}
