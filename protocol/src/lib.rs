//! What dispatcher and worker agree on.
//!
//! Words ([`id`], [`action`], [`job`], [`event`], [`key`]), rules ([`state`], [`deadline`], [`retry`],
//! [`outcome`], [`egress`], [`limits`]), the public error codes ([`error`]), the envelope on the queue ([`wire`]),
//! how secrets are sealed ([`seal`]), how long calls take ([`pace`]) and the ports that a backend implements ([`ports`]). This crate imports no other crate of the workspace
//! and does no I/O.

pub mod action;
pub mod deadline;
pub mod egress;
pub mod error;
pub mod event;
pub mod http_template;
pub mod hub;
pub mod id;
pub mod isolation;
pub mod job;
pub mod json;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod outcome;
pub mod pace;
pub mod ports;
pub mod retry;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod state;
pub mod time;
pub mod wire;
