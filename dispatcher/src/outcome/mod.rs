//! What became of a job: now, when it is finished, as it happens; and ending it.

mod cancel;
mod events;
mod get;
mod list;
mod room;
mod wait;
mod wait_batch;

pub(crate) use cancel::cancel;
pub use events::EventReader;
pub(crate) use get::{get, no_job};
pub(crate) use list::list;
pub(crate) use room::Room;
pub(crate) use wait::{await_accepted, wait};
pub(crate) use wait_batch::await_batch;
