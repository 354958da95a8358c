//! The envelope of a job on the queue: written once by the dispatcher, read once by a worker. For the ordinary job and
//! for one with something in every field.

use conformance::sample;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use protocol::job::JobSpec;
use protocol::wire;

const JOBS: [&str; 3] = ["ordinary", "elaborate", "large"];

fn job(kind: &str) -> JobSpec {
    match kind {
        "elaborate" => sample::elaborate_job(),
        "large" => JobSpec {
            input: sample::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000))),
            ..sample::job()
        },
        _ => sample::job(),
    }
}

#[divan::bench(args = JOBS)]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let job = job(kind);
    let bytes = wire::encode(&job).unwrap().len();
    bencher.counter(BytesCount::new(bytes)).bench(|| wire::encode(black_box(&job)).unwrap());
}

#[divan::bench(args = JOBS)]
fn decode(bencher: Bencher<'_, '_>, kind: &str) {
    let message = wire::encode(&job(kind)).unwrap();
    bencher.counter(BytesCount::of_slice(&message)).bench(|| wire::decode(black_box(&message)).unwrap());
}
