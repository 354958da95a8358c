//! Micro-benchmarks: what one step costs, without the fleet around it. `tests/bench/run micro` runs them with servers of their own.
//!
//! Run by `divan`; each module says what it measures. An operation of a port that fails ends the run: the time of a
//! failure is no figure.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a benchmark says that it measured nothing"
)]

mod envelope;
mod frames;
mod intake;
mod places;
mod queue;
mod schema;
mod store;

/// The codec is nobody's business outside of the worker. So its file is compiled here once more, and nothing becomes
/// public for the sake of a measurement.
#[expect(
    dead_code,
    reason = "a benchmark is built as a test is, so its tests are compiled, but nobody runs them here"
)]
#[path = "../../../worker/src/python/frame.rs"]
mod frame;

/// What that file knows by this name.
mod handler {
    pub(crate) use worker::handler::{Call, LogStream};
}

fn main() {
    divan::main();
    places::leave();
}
