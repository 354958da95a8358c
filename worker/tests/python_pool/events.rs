//! Chunks, logs and progress: in order, bounded, with back-pressure.

use std::time::Duration;

use protocol::action::Reuse;
use protocol::limits;
use protocol::outcome::Ending;
use serde_json::{Value, json};

use super::support::{Pool, UNIVERSAL, call};

#[tokio::test]
async fn chunks_logs_and_progress_keep_their_order() {
    let pool = Pool::start(1).await;
    let ran = pool.run(json!({"do": "stream", "count": 2, "result": "end"})).await;
    assert_eq!(ran.value(), "end");
    let expected: Vec<(&str, Value)> = vec![
        ("log", json!({"stream": "stdout", "text": "before 0\n"})),
        ("chunk", json!({"number": 0})),
        ("progress", json!({"fraction": 0.5, "message": "done 0"})),
        ("log", json!({"stream": "stdout", "text": "before 1\n"})),
        ("chunk", json!({"number": 1})),
        ("progress", json!({"fraction": 1.0, "message": "done 1"})),
    ];
    assert_eq!(ran.events, expected);
}

#[tokio::test]
async fn a_generator_without_a_result_returns_its_chunks() {
    let pool = Pool::start(1).await;
    let ran = pool.run(json!({"do": "stream", "count": 2})).await;
    assert_eq!(ran.value(), json!([{"number": 0}, {"number": 1}]));
    let ran = pool.run(json!({"do": "async_stream", "count": 3})).await;
    assert_eq!(ran.value(), json!([0, 1, 2]));
    assert_eq!(ran.of_kind("chunk").len(), 3);
}

#[tokio::test]
async fn what_is_printed_in_any_way_is_logged_and_never_part_of_the_result() {
    let pool = Pool::start(1).await;
    let ran = pool.run(json!({"do": "print"})).await;
    assert_eq!(ran.value(), "printed");
    assert_eq!(ran.text("stderr"), "to stderr\n");
    assert_eq!(ran.text("log"), "WARNING mine: to the log\n");
    let stdout = ran.text("stdout");
    for line in ["to stdout\n", "raw\n", "from a subprocess\n"] {
        assert!(stdout.contains(line), "{stdout:?} lacks {line:?}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_once_and_the_result_still_comes() {
    let pool = Pool::start(1).await;
    for name in ["flood", "raw_flood"] {
        let ran = pool.run(json!({"do": name})).await;
        assert_eq!(ran.value(), "flooded", "{name}");
        let text = ran.text("stdout");
        assert!(text.len() >= limits::LOG_BYTES && text.len() < limits::LOG_BYTES + 100, "{}", text.len());
        assert_eq!(text.matches("[cut").count(), 1, "{name}");
    }
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn an_endless_stream_waits_for_its_reader_and_dies_when_stopped() {
    let pool = Pool::start(1).await;
    let call = call(UNIVERSAL, json!({"do": "forever"}), Reuse::Fresh);
    let ran = pool.call(call, Duration::from_secs(3)).await;
    assert_eq!(ran.ending, Ending::Interrupted);
    // Nobody takes the events of this sink: it holds what fits, and the handler waits.
    let numbers: Vec<_> = ran.of_kind("chunk").into_iter().filter_map(Value::as_u64).collect();
    assert!(!numbers.is_empty());
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    assert!((numbers.len() as u64) < limits::EVENTS);
    pool.assert_unharmed().await;
}
