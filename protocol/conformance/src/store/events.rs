//! A job's events: numbered without a gap, added once, and only by the newest attempt.
//! Workers send a batch again when its answer was lost; readers must not notice.

use protocol::event::{EventBatch, EventKind, NewEvent};
use protocol::ports::Appended::{Lost, Stored};
use serde_json::json;

use super::Fixture;
use crate::sample::{UNICODE, chunks, json, requeue};
use crate::wait::race;

pub async fn events_are_numbered_on_across_attempts(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [10, 11]).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 3, [12]).await, Stored);
    store.end(&spec, 1, &requeue()).await;
    store.start(&spec).await;
    // Ordinals start anew with every attempt.
    assert_eq!(store.add_chunks(&spec, 2, 1, [20, 21]).await, Stored);
    assert_eq!(
        store.story(&spec).await,
        [
            "0 queued awaiting_worker",
            "1 running",
            "1 chunk 10",
            "1 chunk 11",
            "1 chunk 12",
            "1 queued worker_stopped",
            "2 running",
            "2 chunk 20",
            "2 chunk 21",
        ]
    );
}

pub async fn every_kind_of_event_is_kept_to_the_letter(store: Fixture) {
    let spec = store.running().await;
    let texts = [
        (EventKind::Chunk, json(r#"{ "a" : 1.50, "b":[null, 1e400 ,"\u0000"] }"#)),
        (EventKind::Log, json!({"stream": "stdout", "text": UNICODE}).into()),
        (EventKind::Progress, json(r#"{"fraction":0.1}"#)),
        (EventKind::Chunk, json("null")),
        (EventKind::Chunk, json(r#""""#)),
    ];
    let events = texts.iter().map(|(kind, data)| NewEvent { kind: *kind, data: data.clone() }).collect();
    assert_eq!(store.append(&spec, 1, &EventBatch { first: 1, events }).await.unwrap(), Stored);
    store.story(&spec).await;
    let kept: Vec<_> =
        store.stream(&spec).await.split_off(2).into_iter().map(|event| (event.kind, event.data)).collect();
    assert_eq!(kept, texts);
}

pub async fn a_batch_that_is_sent_again_adds_nothing(store: Fixture) {
    let spec = store.running().await;
    for _ in 0..3 {
        assert_eq!(store.add_chunks(&spec, 1, 1, 1..=5).await, Stored);
    }
    assert_eq!(store.story(&spec).await.len(), 2 + 5);
}

pub async fn a_batch_that_overlaps_adds_only_what_is_new(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.add_chunks(&spec, 1, 1, 1..=3).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 2, 2..=5).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 4, 4..=6).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 1, 1..=2).await, Stored);
    let told: Vec<_> = (1..=6).map(|number| format!("1 chunk {number}")).collect();
    assert_eq!(store.story(&spec).await[2..], told);
}

pub async fn a_batch_sent_by_ten_at_once_is_added_once(store: Fixture) {
    let spec = store.running().await;
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    race(10, move |n| {
        let (store, spec) = (if n % 2 == 0 { one.clone() } else { other.clone() }, racing.clone());
        async move { assert_eq!(store.add_chunks(&spec, 1, 1, 1..=20).await, Stored) }
    })
    .await;
    let told: Vec<_> = (1..=20).map(|number| format!("1 chunk {number}")).collect();
    assert_eq!(store.story(&spec).await[2..], told);
}

/// The store lost its newest writes, and the worker goes on where it was.
pub async fn ordinals_that_never_came_leave_no_gap(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 5, [5, 6]).await, Stored);
    assert_eq!(store.add_chunks(&spec, 1, 6, [6, 7]).await, Stored);
    let told = ["1 chunk 1", "1 chunk 5", "1 chunk 6", "1 chunk 7"];
    assert_eq!(store.story(&spec).await[2..], told);
}

pub async fn an_empty_batch_adds_nothing(store: Fixture) {
    let spec = store.running().await;
    let before = store.read(&spec).await;
    for first in [0, 1, 7] {
        assert_eq!(store.append(&spec, 1, &chunks(first, [])).await.unwrap(), Stored);
    }
    assert_eq!(store.read(&spec).await, before);
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Stored);
    assert_eq!(store.story(&spec).await[2..], ["1 chunk 1"]);
}

pub async fn an_older_attempt_adds_nothing(store: Fixture) {
    let spec = store.running().await;
    store.end(&spec, 1, &requeue()).await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Lost, "given back");
    store.start(&spec).await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Lost);
    assert_eq!(store.add_chunks(&spec, 2, 1, [2]).await, Stored);
    let told = ["1 running", "1 queued worker_stopped", "2 running", "2 chunk 2"];
    assert_eq!(store.story(&spec).await[1..], told);
}

pub async fn a_job_that_is_over_takes_no_events(store: Fixture) {
    let spec = store.done().await;
    let story = store.story(&spec).await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Lost);
    assert_eq!(store.add_chunks(&spec, 2, 1, [1]).await, Lost);
    assert_eq!(store.story(&spec).await, story);
}

pub async fn a_request_to_cancel_does_not_stop_events(store: Fixture) {
    let spec = store.running().await;
    store.cancel(&spec.tenant, spec.id).await.unwrap();
    assert_eq!(store.add_chunks(&spec, 1, 1, [1]).await, Stored);
}

pub async fn ten_thousand_events_come_back_in_order(store: Fixture) {
    let spec = store.running().await;
    for first in (1..=10_000).step_by(500) {
        assert_eq!(store.add_chunks(&spec, 1, first, first..first + 500).await, Stored);
    }
    assert_eq!(store.read(&spec).await.last_seq, 10_002);
    let mut after = 2;
    while after < 10_002 {
        let page = store.events(&spec.tenant, spec.id, after, 999).await.unwrap().unwrap();
        assert!(!page.events.is_empty() && page.events.len() <= 999 && !page.ended);
        for event in page.events {
            after += 1;
            assert_eq!((event.seq, event.data.text()), (after, (after - 2).to_string().as_str()));
        }
    }
}

pub async fn large_events_come_back_to_the_letter(store: Fixture) {
    let spec = store.running().await;
    let text = UNICODE.repeat(protocol::limits::CHUNK_BYTES / UNICODE.len() / 2);
    let large = NewEvent { kind: EventKind::Chunk, data: json!(text).into() };
    let batch = EventBatch { first: 1, events: vec![large.clone(); 4] };
    assert_eq!(store.append(&spec, 1, &batch).await.unwrap(), Stored);
    let events = store.stream(&spec).await.split_off(2);
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.data == large.data));
}

pub async fn events_survive_a_restart(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.add_chunks(&spec, 1, 1, 1..=3).await, Stored);
    let before = store.stream(&spec).await;
    let store = store.reopened().await;
    assert_eq!(store.stream(&spec).await, before);
    assert_eq!(store.add_chunks(&spec, 1, 3, 3..=4).await, Stored);
    assert_eq!(store.story(&spec).await.len(), 2 + 4);
}
