//! RabbitMQ or Redis away, at the start and in the middle: readiness says so, accepted jobs wait, requests
//! get 503 with Retry-After, and everything goes on by itself when they are back.

use std::time::Duration;

use serde_json::json;

use crate::own_servers::OwnServers;
use crate::support::{Answer, Client, Dir, Sortie, free_port, until};

const ECHO: &str =
    "import time\ndef handle_event(data):\n    time.sleep(data.get('sleep', 0))\n    return data\n";

#[tokio::test(flavor = "multi_thread")]
async fn servers_may_be_away_at_the_start_and_in_the_middle() {
    let own = OwnServers::up().await;
    let dir = Dir::new();
    own.tell("stop", "rabbitmq").await;
    own.tell("stop", "redis").await;
    let dispatcher = Sortie::launch("dispatcher", &dir, Some(&own.servers), free_port(), &[]);
    let worker = Sortie::launch("worker", &dir, Some(&own.servers), free_port(), &["--slots", "1"]);
    let client = dispatcher.client.clone();

    // Away at the start: alive, not ready, and it says why.
    readiness(&client, 503, &["queue", "store"]).await;
    assert_eq!(client.status("/healthz").await, Some(200));
    own.tell("start", "redis").await;
    own.tell("start", "rabbitmq").await;
    dispatcher.until_ready().await;
    worker.until_ready().await;
    client.publish("echo", ECHO, json!({"deadline_ms": 300_000, "timeout_ms": 60_000})).await;
    assert_eq!(client.run("echo", json!({})).await["state"], "succeeded");

    // Redis first: RabbitMQ writes a new queue's name down after half a second, and a queue that it is killed before
    // that comes back without a leader for ever (rabbitmq-server, issue 15725).
    for what in ["redis", "rabbitmq"] {
        // One job runs and one waits while the server goes away.
        let running = client.post("/v1/jobs", json!({"action": "echo", "input": {"sleep": 4}})).await.id();
        until("the first job runs", Duration::from_secs(20), || async {
            (client.get(&format!("/v1/jobs/{running}")).await.body["state"] == "running").then_some(())
        })
        .await;
        let waiting = client.post("/v1/jobs", json!({"action": "echo", "input": {"waits": what}})).await.id();
        own.tell("stop", what).await;
        let part = if what == "rabbitmq" { "queue" } else { "store" };
        readiness(&client, 503, &[part]).await;
        let refused = until("requests are refused", Duration::from_secs(20), || async {
            let answer = client.post("/v1/jobs", json!({"action": "echo", "input": {}})).await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        assert_eq!(refused.code(), format!("{part}_unavailable"), "{refused:?}");
        assert!(refused.headers.contains_key("retry-after"));
        own.tell("start", what).await;
        dispatcher.until_ready().await;
        worker.until_ready().await;
        for id in [&running, &waiting] {
            let job = client.finished(id).await;
            assert_eq!(job["state"], "succeeded", "{what}: {job}");
            assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{what}: {job}");
        }
        println!("{what} was away: both jobs finished in their first attempt");
    }
}

/// Waits until `/readyz` answers with this status and names these parts as the trouble.
async fn readiness(client: &Client, status: u16, parts: &[&str]) -> Answer {
    until(&format!("/readyz answers {status} and names {parts:?}"), Duration::from_secs(30), || async {
        let answer = client.try_send("GET", "/readyz", &[], None).await.ok()?;
        let named = parts.iter().all(|part| answer.body["parts"][part]["ok"] == json!(false));
        (answer.status == status && named).then_some(answer)
    })
    .await
}
