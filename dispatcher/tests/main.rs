//! A dispatcher over the embedded backend, asked over real HTTP. Workers are played by the tests, through
//! the same ports that a real one uses.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod background;
mod batch;
mod catalog;
mod events;
mod http;
mod inbox;
mod intake;
mod keys;
mod secrets;
mod support;
