//! Fault runs: everything is killed while jobs flow, and a checker says what became of each.
//!
//! They own their RabbitMQ and Redis (`tests/servers`), because they kill them. A few minutes; run by
//! `make test`, or alone: `tests/run --features fault-runs --test faults -- --nocapture`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and figures are printed"
)]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod checker;
mod outages;
mod own_servers;
