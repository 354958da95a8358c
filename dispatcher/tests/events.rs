//! Streams of events: whole, in order, resumable, for any number of readers.

use std::time::Duration;

use protocol::id::JobId;
use serde_json::json;

use crate::support::client::Stream;
use crate::support::{Wish, World, eventually};

async fn open(world: &World, id: JobId, after: u64) -> Stream {
    let call = world.call("GET", &format!("/v1/jobs/{id}/events"));
    let call = if after > 0 { call.header("last-event-id", &after.to_string()) } else { call };
    let stream = call.open().await;
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    stream
}

/// Reads to the `result` event, breaking off after `patience(n)` events of the n-th connection. Returns the
/// numbers seen and the values of the chunks.
async fn follow(world: &World, id: JobId, patience: impl Fn(u64) -> u64) -> (Vec<u64>, Vec<u64>) {
    let (mut numbers, mut chunks, mut connection) = (Vec::new(), Vec::new(), 0);
    loop {
        let mut stream = open(world, id, numbers.last().copied().unwrap_or(0)).await;
        connection += 1;
        for _ in 0..patience(connection) {
            let (number, event) = stream.event().await.expect("a stream ends with its result");
            assert_eq!(event["seq"], number);
            numbers.push(number);
            match event["type"].as_str().unwrap() {
                "chunk" => chunks.push(event["data"].as_u64().unwrap()),
                "result" => {
                    assert_eq!(stream.event().await, None, "nothing comes behind the result");
                    return (numbers, chunks);
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn readers_that_come_and_go_see_no_gap_and_no_repeat() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let write = async {
        let claimed = world.claim(id).await;
        for first in (1..=2_000).step_by(40) {
            world.chunks(&claimed, first, first + 40).await;
        }
        world.succeed(&claimed, json!(null)).await;
    };
    let (one, two, ()) = tokio::join!(
        follow(&world, id, |connection| connection * 37 % 211 + 1),
        follow(&world, id, |connection| connection * 101 % 17 + 1),
        write
    );
    let three = follow(&world, id, |_| 700).await;
    for (numbers, chunks) in [one, two, three] {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
        assert!(chunks.into_iter().eq(1..=2_000));
    }
    eventually("no reader is left", async || world.metric("sortie_dispatcher_event_readers", &[]) == 0.0)
        .await;
}

#[tokio::test]
async fn lines_of_json_are_the_same_events() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let claimed = world.claim(id).await;
    world.chunks(&claimed, 1, 4).await;
    world.succeed(&claimed, json!("done")).await;
    let call = world.call("GET", &format!("/v1/jobs/{id}/events?after=1"));
    let answer = call.header("accept", "application/x-ndjson").send().await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let events: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["seq"], 2);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["state", "chunk", "chunk", "chunk", "result"]);
    assert_eq!(events[4]["data"], json!({"state": "succeeded", "result": "done"}));
}

#[tokio::test]
async fn an_idle_stream_shows_that_it_is_alive_and_ends_when_the_dispatcher_stops() {
    let mut wish = Wish::default();
    wish.options.keep_alive = Duration::from_millis(50);
    let world = World::with(wish).await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let mut stream = open(&world, id, 0).await;
    assert_eq!(stream.event().await.unwrap().1["data"]["state"], "queued");
    assert_eq!(stream.line().await.as_deref(), Some(""));
    assert_eq!(stream.line().await.as_deref(), Some(":"));
    world.dispatcher.drain();
    while stream.line().await.is_some() {}
}

#[tokio::test]
async fn a_store_that_goes_away_for_a_while_makes_no_gap() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let claimed = world.claim(id).await;
    let mut stream = open(&world, id, 0).await;
    for expected in 1..=2 {
        assert_eq!(stream.event().await.unwrap().0, expected);
    }
    world.faults.fail_next("store.events", 2);
    world.chunks(&claimed, 1, 3).await;
    world.succeed(&claimed, json!(1)).await;
    for expected in 3..=5 {
        assert_eq!(stream.event().await.unwrap().0, expected);
    }
    assert_eq!(stream.event().await, None);
}

#[tokio::test]
async fn a_reader_needs_a_job_a_scope_and_a_number() {
    let world = World::start().await;
    world.publish("count").await;
    let id = world.submit("count", json!({})).await;
    let path = format!("/v1/jobs/{id}/events");
    world.get(&format!("/v1/jobs/{}/events", JobId::generate())).await.is_problem(404, "job_not_found", "-");
    world.get(&format!("{path}?after=x")).await.is_problem(400, "parameter_invalid", "-");
    let secret = world.key(json!({"scopes": ["jobs:write"]})).await;
    let call = crate::support::client::Call::new(world.address, "GET", &path);
    call.header("authorization", &format!("Bearer {secret}")).send().await.is_problem(
        403,
        "scope_missing",
        "-",
    );
}
