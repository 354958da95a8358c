//! Prints what a call costs. Nothing is asserted: durations are measured, not tested.

use std::time::{Duration, Instant};

use protocol::action::Reuse;
use serde_json::json;

use super::support::{Pool, call};

const CALLS: usize = 500;

#[tokio::test]
async fn the_time_of_a_call_is_printed() {
    let source = include_str!("../../../tests/fixtures/handlers/noop.py");
    let pool = Pool::start(2).await;
    for reuse in [Reuse::Fresh, Reuse::Warm] {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let call = call(source, json!({}), reuse);
            let began = Instant::now();
            pool.call(call, Duration::from_secs(30)).await.value();
            times.push(began.elapsed());
        }
        times.sort();
        let (p50, p99) = (times[CALLS / 2], times[CALLS * 99 / 100]);
        println!("{reuse:?}: p50 {p50:?}, p99 {p99:?} over {CALLS} calls");
    }
}
