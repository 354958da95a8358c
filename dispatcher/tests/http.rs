//! The manners of the HTTP API: keys, bodies, routes, waiting, lists.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::id::JobId;
use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::{World, eventually};

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let world = World::start().await;
    world.get("/v1/nothing").await.is_problem(404, "route_not_found", "-");
    let answer = world.call("DELETE", "/v1/jobs").send().await;
    answer.is_problem(405, "method_not_allowed", "-");
    assert!(answer.header("allow").unwrap().contains("POST"), "{answer:?}");
    world.get("/v1/jobs/not-an-id").await.is_problem(404, "job_not_found", "-");
    world.get(&format!("/v1/jobs/{}", JobId::generate())).await.is_problem(404, "job_not_found", "-");
    world.get("/v1/actions/%ff").await.is_problem(404, "action_not_found", "-");
    world.get("/v1/jobs?limit=0").await.is_problem(400, "parameter_invalid", "-");
    world.get("/v1/jobs?limt=1").await.is_problem(400, "parameter_invalid", "-");
}

/// Method and path of every route of this crate, as its source has them.
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../src/http/mod.rs");
    let routes = source.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let methods = |line: &str| {
        let found = ["get", "put", "post", "delete"]
            .into_iter()
            .filter(|method| line.contains(&format!("{method}(")));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    routes
        .flat_map(|line| {
            let (path, handlers) = line.split_once('"').unwrap();
            methods(handlers).into_iter().map(|method| (method, path.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn the_description_needs_no_key_and_names_exactly_the_routes() {
    let world = World::start().await;
    let answer = Call::new(world.address, "GET", "/openapi.json").send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let description = answer.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, calls)| {
            calls.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
        })
        // The program around this crate adds these.
        .filter(|(_, path)| !["/healthz", "/readyz", "/metrics"].contains(&path.as_str()))
        .collect();
    assert_eq!(described, routes());
}

#[tokio::test]
async fn who_has_no_working_key_hears_why() {
    let world = World::start().await;
    let ask = async |header: Option<&str>| {
        let call = Call::new(world.address, "GET", "/v1/jobs");
        let call = header.map_or_else(
            || Call::new(world.address, "GET", "/v1/jobs"),
            |text| call.header("authorization", text),
        );
        call.send().await
    };
    let answer = ask(None).await;
    answer.is_problem(401, "key_missing", "-");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    ask(Some("Bearer sk_wrong")).await.is_problem(401, "key_invalid", "-");
    ask(Some(&format!("Bearer {}", "x".repeat(2_000)))).await.is_problem(401, "key_invalid", "-");
    assert_eq!(ask(Some("bearer sk_admin")).await.status, 200);
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json_in_utf8() {
    let world = World::start().await;
    let post = || world.call("POST", "/v1/jobs");
    post().body("{").send().await.is_problem(400, "body_not_json", "-");
    post().body("").send().await.is_problem(400, "body_not_json", "-");
    post().body(b"\"\xff\"".to_vec()).send().await.is_problem(400, "body_not_utf8", "-");
    post().body("[".repeat(1_000)).send().await.is_problem(400, "body_too_deep", "-");
    let form = post().header("content-type", "application/x-www-form-urlencoded").body("a=b");
    form.send().await.is_problem(415, "media_type_unsupported", "-");
    // Refused before it arrives: this body never does.
    post().announce(1 << 40).send().await.is_problem(413, "body_too_large", "-");
    let chunked = Call::raw(
        world.address,
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_admin\r\ntransfer-encoding: chunked\r\n\r\n",
        [b"100000\r\n".to_vec(), vec![b' '; 0x0010_0000], b"\r\n".to_vec()].concat(),
    );
    assert_eq!(chunked.open().await.status, 413);
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_the_job_is_finished() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let path = format!("/v1/jobs/{id}?wait=30");
    let start = Instant::now();
    let (answer, ()) = tokio::join!(world.get(&path), async {
        eventually("someone waits", async || world.metric("sortie_dispatcher_waiters", &[]) == 1.0).await;
        let claimed = world.claim(id).await;
        world.succeed(&claimed, json!({"ok": true})).await;
    });
    assert!(start.elapsed() < Duration::from_secs(10));
    let job = answer.json();
    assert_eq!((&job["state"], &job["result"]["ok"]), (&json!("succeeded"), &json!(true)));
    assert_eq!(job["attempts"][0]["outcome"], "succeeded");
    assert_eq!(world.metric("sortie_dispatcher_waiters", &[]), 0.0);
    assert_eq!(world.get(&path).await.status, 200);
}

#[tokio::test]
async fn who_waits_for_the_result_does_not_wait_for_the_queue_as_well() {
    let world = World::start().await;
    world.publish("count").await;
    world.faults.delay("queue.publish", Duration::from_secs(60));
    let body = json!({"action": "count", "input": {"n": 1}});
    let asking = world.call("POST", "/v1/jobs").header("prefer", "wait=30").json(&body).send();
    let working = async {
        let first = async || world.get("/v1/jobs").await.json()["jobs"][0]["id"].clone();
        eventually("the job is recorded", async || first().await.is_string()).await;
        let claimed = world.claim(first().await.as_str().unwrap().parse().unwrap()).await;
        world.succeed(&claimed, json!(7)).await;
    };
    let (answer, ()) = tokio::join!(asking, working);
    assert_eq!((answer.status, &answer.json()["result"]), (200, &json!(7)), "{answer:?}");
    world.faults.delay("queue.publish", Duration::ZERO);
}

#[tokio::test]
async fn prefer_wait_answers_200_when_finished_and_202_when_the_time_is_over() {
    let world = World::start().await;
    world.publish("count").await;
    let body = json!({"action": "count", "input": {"n": 1}});
    let post = |wait: &str| world.call("POST", "/v1/jobs").header("prefer", wait).json(&body);
    let answer = post("wait=1").send().await;
    assert_eq!((answer.status, answer.header("preference-applied")), (202, Some("wait=1")));
    assert_eq!(answer.json()["state"], "queued");
    world
        .ports
        .store
        .cancel(&protocol::id::TenantId::standard(), answer.json()["id"].as_str().unwrap().parse().unwrap())
        .await
        .unwrap();

    let (answer, ()) = tokio::join!(post("wait=30").send(), async {
        eventually("the job is there", async || queued(&world).await.is_some()).await;
        let claimed = world.claim(queued(&world).await.unwrap()).await;
        world.succeed(&claimed, json!(7)).await;
    });
    assert_eq!((answer.status, &answer.json()["result"]), (200, &json!(7)));
    assert!(answer.header("location").is_some());
    post("wait=soon").send().await.is_problem(400, "parameter_invalid", "-");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let waiting = tokio::spawn(world.call("GET", &format!("/v1/jobs/{id}?wait=60")).send());
    eventually("someone waits", async || world.metric("sortie_dispatcher_waiters", &[]) == 1.0).await;
    waiting.abort();
    eventually("nobody waits", async || world.metric("sortie_dispatcher_waiters", &[]) == 0.0).await;
}

#[tokio::test]
async fn cancelling_ends_a_waiting_job_and_asks_a_running_one() {
    let world = World::start().await;
    world.publish("count").await;
    let (one, two) = (world.submit("count", json!({})).await, world.submit("count", json!({})).await);
    let cancel = async |id| world.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    let answer = cancel(one).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("cancelled")));
    assert_eq!(answer.json()["error"]["code"], "job_cancelled");
    world.claim(two).await;
    let answer = cancel(two).await;
    assert_eq!((answer.status, &answer.json()["cancel_requested"]), (202, &json!(true)));
    assert_eq!(cancel(one).await.status, 200);
    cancel(JobId::generate()).await.is_problem(404, "job_not_found", "-");
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages_newest_first() {
    let world = World::start().await;
    world.publish("count").await;
    world.publish("other").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.submit("count", json!({"labels": {"n": n.to_string()}})).await.to_string());
    }
    let other = world.submit("other", json!({})).await.to_string();
    world.post(&format!("/v1/jobs/{other}/cancel"), &json!({})).await;

    let list = async |query: &str| {
        let page = world.get(&format!("/v1/jobs?{query}")).await.json();
        let ids: Vec<String> =
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().into()).collect();
        (ids, page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("action=other").await.0, std::slice::from_ref(&other));
    assert_eq!(list("state=cancelled").await.0, [other]);
    assert_eq!(list("label=n:3").await.0, [ids[3].clone()]);
    assert_eq!(list("dead_letter=true").await.0, [] as [String; 0]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(&format!("action=count&limit=2{cursor}")).await;
        seen.extend(page);
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids);
    let first = &world.get("/v1/jobs").await.json()["jobs"][0];
    assert!(first.get("input").is_none(), "lists are small: {first}");
}

#[tokio::test]
async fn the_trace_of_a_request_is_carried() {
    let world = World::start().await;
    world.publish("count").await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = world.call("POST", "/v1/jobs").header("traceparent", trace);
    let answer = call.json(&json!({"action": "count", "input": {"n": 1}})).send().await;
    let job = world.job(answer.json()["id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(job.spec.traceparent.as_deref(), Some(trace));
    assert_eq!(job.spec.key.unwrap().as_str(), "admin");
}

async fn queued(world: &World) -> Option<JobId> {
    let page: Value = world.get("/v1/jobs?state=queued").await.json();
    page["jobs"][0]["id"].as_str().map(|id| id.parse().unwrap())
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending_and_leaves_its_connection_usable() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::start().await;
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    // Without a key, with a wrong one, and too large: refused at the head, long before the body has come.
    let body = vec![b'x'; 4 * 1024 * 1024];
    for (key, status) in [("", 401), ("Bearer sk_wrong", 401), ("", 413)] {
        let key = if status == 413 { format!("Bearer {}", crate::support::ADMIN) } else { key.to_owned() };
        let head = format!(
            "POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(
                stream.read_buf(&mut answer).await.unwrap() > 0,
                "the connection closed without the answer"
            );
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    }
}
