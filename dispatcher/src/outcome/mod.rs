//! What became of a job: now, when it is finished, as it happens; and ending it.

mod cancel;
mod events;
mod get;
mod list;
mod room;
mod wait;
mod wait_all;

pub(crate) use cancel::cancel;
pub use events::EventReader;
pub(crate) use get::{get, no_job};
pub(crate) use list::list;
pub(crate) use room::Room;
pub(crate) use wait::{await_accepted, wait};
pub(crate) use wait_all::await_all_accepted;
