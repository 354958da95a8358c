//! Ports: what Sortie needs from the systems that carry it, in its own words.
//!
//! A *backend* implements one or more of them. What a port promises stands in its documentation and,
//! rule by rule, in the `conformance` crate; no rule depends on which backend it is. Where backends
//! differ in what they can tell, a [`Capabilities`] field says so.

mod error;
mod inbox;
mod queue;
mod registry;
mod store;

pub use error::{Kind, PortError, Retry};
pub use inbox::{Inbox, Receipt as InboxReceipt, Reply, Request};
pub use queue::{Capabilities, Consumer, Delivery, Depth, Queue, Receipt};
pub use registry::{Published, PutSecret, Registry, SecretInfo};
pub use store::{
    Appended, Cancelled, Claim, Confirmed, Created, EventsPage, Finish, Finished, Idempotency, JobFilter,
    JobsPage, NewJob, Offers, Renewal, Store, StoreOptions,
};
