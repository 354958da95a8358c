//! Takes jobs from the queue and runs their handlers.
//!
//! The way of a job: [`worker`](Worker) takes a delivery (`choose` says which), `attempt` carries it through
//! its steps, a [`handler`] runs it, `decide` says what the ending means, `report` tells the store and acks.
//! Beside them: `ahead` says how many jobs are begun before a slot is free, `lease` holds what runs, `contents` keeps
//! versions, `secrets` opens what they name, [`egress`] guards the network.

mod ahead;
mod attempt;
mod backoff;
mod choose;
mod contents;
mod decide;
pub mod egress;
mod error;
mod events;
pub mod handler;
mod lease;
mod metrics;
mod offered;
mod options;
mod output;
mod patience;
pub mod python;
mod report;
mod secrets;
mod status;
mod worker;

pub use error::Error;
pub use metrics::Metrics;
pub use options::{Handlers, Options, Ports};
pub use status::{Reach, Status};
pub use worker::Worker;
