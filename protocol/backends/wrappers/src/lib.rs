//! Ports around ports: [`faulty`] fails on demand, [`metered`] measures. Both leave the meaning of what they
//! wrap as it is, and pass its conformance tests.
//!
//! A wrapper says once what happens around a call ([`Around`]); [`queue`], [`store`] and [`registry`] say once
//! how a port's operations go through it.

mod around;
pub mod faulty;
pub mod metered;
mod queue;
mod registry;
mod store;
