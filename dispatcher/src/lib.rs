//! Takes requests, makes jobs of them, and hands out their results.
//!
//! [`Dispatcher`] is the list of verbs: everything that can be asked for. Every API is a client of it: the
//! HTTP one in [`http`], the AMQP inbox in [`background`]. A request passes [`access`] (who asks),
//! [`intake`] (a job is accepted) and is answered by [`outcome`]; [`catalog`] keeps actions, [`keys`]
//! API keys and [`secrets`] secrets. [`background`] ends what is late, publishes what waited and answers what asked for a reply.

pub mod access;
pub mod background;
pub mod catalog;
mod dispatcher;
pub mod http;
pub mod intake;
pub mod keys;
mod metrics;
mod options;
pub mod outcome;
pub mod secrets;
mod trouble;
pub mod view;

pub use dispatcher::{Dispatcher, Ports};
pub use metrics::Metrics;
pub use options::Options;
