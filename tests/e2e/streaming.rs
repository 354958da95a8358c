//! Streams: any reader, at any time, sees every event once.

use protocol::event::{Event, EventKind};
use serde_json::json;

use crate::support::Client;
use crate::{Installation, journeys};

journeys!(readers_that_disconnect_see_every_event_once, a_stream_ends_after_its_result_and_reads_as_ndjson,);

const CHUNKS: usize = 2_000;

const COUNT: &str = r#"
import time

def handle_event(data):
    for number in range(data["count"]):
        yield number
        if number % 100 == 0:
            time.sleep(0.01)
    return {"counted": data["count"]}
"#;

async fn readers_that_disconnect_see_every_event_once(sortie: &Installation) {
    sortie.client.publish("count", COUNT, json!({"timeout_ms": 60_000, "deadline_ms": 120_000})).await;
    let id =
        sortie.client.post("/v1/jobs", json!({"action": "count", "input": {"count": CHUNKS}})).await.id();
    let (one, two) = tokio::join!(
        read_with_disconnects(&sortie.client, &id, 7),
        read_with_disconnects(&sortie.client, &id, 113),
    );
    // The third comes only after the end.
    assert_eq!(sortie.client.finished(&id).await["state"], "succeeded");
    let three = read_with_disconnects(&sortie.client, &id, 401).await;
    for (events, name) in [(&one, "first"), (&two, "second"), (&three, "late")] {
        let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(
            numbers,
            (1..=events.len() as u64).collect::<Vec<_>>(),
            "{name} reader: a gap or a repeat"
        );
        let chunks: Vec<u64> = events
            .iter()
            .filter(|event| event.kind == EventKind::Chunk)
            .map(|event| event.data.value().as_u64().unwrap())
            .collect();
        assert_eq!(chunks, (0..CHUNKS as u64).collect::<Vec<_>>(), "{name} reader");
        assert_eq!(events.last().unwrap().kind, EventKind::Result);
        println!("{name} reader: {} events", events.len());
    }
    assert_eq!(one, two);
    assert_eq!(one, three);
}

/// Reads a stream to its end, hanging up again and again after a pseudo-random number of events.
async fn read_with_disconnects(client: &Client, id: &str, seed: u64) -> Vec<Event> {
    let (mut events, mut random, mut connections) = (Vec::<Event>::new(), seed, 0);
    loop {
        let mut stream = client.stream(id, events.last().map_or(0, |event| event.seq)).await;
        connections += 1;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let patience = 1 + (random >> 33) % 300;
        for _ in 0..patience {
            match stream.next().await {
                Some(event) => events.push(event),
                None => {
                    println!("{connections} connections");
                    return events;
                }
            }
        }
    }
}

async fn a_stream_ends_after_its_result_and_reads_as_ndjson(sortie: &Installation) {
    sortie.client.publish("count", COUNT, json!({})).await;
    let id = sortie.client.post("/v1/jobs", json!({"action": "count", "input": {"count": 3}})).await.id();
    let events = sortie.client.events(&id).await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["state", "state", "chunk", "chunk", "chunk", "result"]);
    assert_eq!(events[5].data.value(), json!({"state": "succeeded", "result": {"counted": 3}}));

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = http
        .get(format!("{}/v1/jobs/{id}/events?after=4", sortie.client.url))
        .header("authorization", format!("Bearer {}", crate::support::ADMIN_KEY))
        .header("accept", "application/x-ndjson")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let lines: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, events[4..]);
}
