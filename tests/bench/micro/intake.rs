//! Intake, which every request passes: reading the body of `POST /v1/jobs`, checking the input against the action's
//! compiled schema, and the whole verb on the embedded backend (whose answer survives `kill -9`, not a power cut:
//! what the disk adds, `store` shows).

use dispatcher::intake::{Origin, Submit};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use futures_util::future::join_all;
use protocol::schema::Schema;
use serde_json::{Value, json};

use crate::places::{self, RUNTIME};
use crate::schema::TOOL;

/// Bytes of the request's text.
const SIZES: [usize; 3] = [100, 4_000, 100_000];
/// Requests that are under way at the same time.
const AT_ONCE: [usize; 2] = [1, 64];

/// What the schema `TOOL` takes, with a text of so many bytes.
fn input(bytes: usize) -> Value {
    json!({"query": "x".repeat(bytes), "limit": 20, "language": "en", "filters": [{"field": "year", "from": 1990.5}]})
}

#[divan::bench(args = SIZES)]
fn parse(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = json!({"action": "search.web", "input": input(bytes), "deadline_ms": 10_000, "labels": {"team": "a"}});
    let body = body.to_string();
    bencher.counter(BytesCount::of_str(&body)).bench(|| Submit::parse(black_box(body.as_bytes())).unwrap());
}

/// As intake does it: the text that was only scanned so far becomes a value, which is then checked.
#[divan::bench(args = SIZES)]
fn check(bencher: Bencher<'_, '_>, bytes: usize) {
    let schema = Schema::compile(&serde_json::from_str(TOOL).unwrap(), "/input_schema").unwrap();
    let text = input(bytes).to_string();
    bencher.counter(BytesCount::of_str(&text)).bench(|| {
        let value: Value = serde_json::from_str(black_box(&text)).unwrap();
        let faults = schema.faults(&value, text.len());
        assert!(faults.is_empty(), "{faults:?}");
    });
}

#[divan::bench(args = AT_ONCE, sample_size = 1, max_time = 2)]
fn submit(bencher: Bencher<'_, '_>, at_once: usize) {
    let (dispatcher, caller) = places::dispatcher(TOOL);
    let body = json!({"action": places::ACTION, "input": input(100)}).to_string();
    let requests =
        || -> Vec<Submit> { (0..at_once).map(|_| Submit::parse(body.as_bytes()).unwrap()).collect() };
    bencher.counter(ItemsCount::new(at_once)).with_inputs(requests).bench_local_values(|requests| {
        let submits = requests.into_iter().map(|one| dispatcher.submit(&caller, one, Origin::default()));
        for job in RUNTIME.block_on(join_all(submits)) {
            black_box(job.unwrap());
        }
    });
}
