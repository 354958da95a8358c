//! The frames between the worker and the process of a call: the one that starts a call (cold with its source, warm
//! without), and those that come back.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use conformance::sample;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use protocol::deadline::Limit;
use worker::handler::{Call, Secrets};

use crate::frame;

const LEFT: Duration = Duration::from_secs(5);

const FRAMES: [&str; 4] = ["chunk", "log", "result", "large result"];

/// As the runner writes it.
fn told(kind: &str) -> Vec<u8> {
    let body = match kind {
        "chunk" => r#"{"kind":"chunk","value":{"text":"and so on","index":17}}"#.to_owned(),
        "log" => r#"{"kind":"log","stream":"stdout","text":"looking up Oslo\n"}"#.to_owned(),
        "result" => {
            r#"{"kind":"result","call":1,"value":{"city":"Oslo","celsius":-3.5},"reusable":true}"#.to_owned()
        }
        _ => format!(r#"{{"kind":"result","call":1,"value":"{}","reusable":true}}"#, "x".repeat(100_000)),
    };
    let mut frame = Vec::new();
    frame.put_u32(u32::try_from(body.len()).unwrap());
    frame.put_slice(body.as_bytes());
    frame
}

#[divan::bench(args = ["cold", "warm"])]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let source = "def handle_event(data):\n    return {'city': data['city']}\n".repeat(20);
    let call = Call {
        spec: Arc::new(sample::job()),
        attempt: 1,
        content: Arc::new(sample::content(&source)),
        secrets: Secrets::default(),
        limit: Limit::Timeout(LEFT),
    };
    // The code of forty lines.
    let code = protocol::json::Json::of(&"0d".repeat(1_500)).unwrap();
    let source = (kind == "cold").then_some(frame::Source { text: &source, code: Some(&code) });
    bencher.bench(|| frame::encode_call(black_box(&call), LEFT, 1, black_box(source), true));
}

#[divan::bench(args = FRAMES)]
fn take(bencher: Bencher<'_, '_>, kind: &str) {
    let frame = told(kind);
    bencher
        .counter(BytesCount::of_slice(&frame))
        .with_inputs(|| BytesMut::from(&frame[..]))
        .bench_local_refs(|buffer| frame::take(black_box(buffer)).unwrap().unwrap());
}
