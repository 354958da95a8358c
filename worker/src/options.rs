//! What a worker is given: its ports, its options, and what runs its handlers.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::{Lane, WorkerId};
use protocol::ports::{Queue, Registry, Store};
use protocol::seal::MasterKeys;

use crate::egress;
use crate::handler::Handler;
use crate::{Error, python};

/// The systems that carry the work.
#[derive(Clone)]
pub struct Ports {
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Who says what runs.
    pub store: Arc<dyn Store>,
    /// Where the content of versions is.
    pub registry: Arc<dyn Registry>,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, unique for its lifetime.
    pub id: WorkerId,
    /// The lanes that it serves.
    pub lanes: Vec<Lane>,
    /// Attempts that run at the same time.
    pub slots: usize,
    /// How long running attempts may go on after the worker was told to stop.
    pub drain: Duration,
    /// The store's lease (`StoreOptions::lease`): it is renewed every third of it.
    pub lease: Duration,
    /// Address ranges that are denied to handlers by default and that the operator opens.
    pub egress_allow: Vec<egress::Range>,
    /// The fleet's own servers, which are denied to handlers whatever is opened.
    pub egress_own: Vec<egress::Own>,
    /// What opens the secrets of tenants; without, attempts that need one fail.
    pub master_keys: Option<Arc<MasterKeys>>,
    /// The Python side.
    pub python: python::Options,
}

impl Options {
    /// Slots and ceiling of deliveries, if the options make sense.
    pub(crate) fn check(&self) -> Result<u16, Error> {
        if self.lanes.is_empty() {
            return Err(Error::Options("it must serve at least one lane"));
        }
        if self.lease < Duration::from_millis(30) {
            return Err(Error::Options("the lease must be at least 30 ms"));
        }
        match u16::try_from(self.slots) {
            Ok(slots) if slots > 0 => Ok(slots),
            _ => Err(Error::Options("it must have 1 to 65,535 slots")),
        }
    }
}

/// What runs each kind of handler.
#[derive(Clone)]
pub struct Handlers {
    /// Runs `python` versions.
    pub python: Arc<dyn Handler>,
    /// Runs `http` versions.
    pub http: Arc<dyn Handler>,
}

impl Handlers {
    /// The one for this kind of content.
    pub(crate) fn of(&self, handler: &protocol::action::Handler) -> &dyn Handler {
        match handler {
            protocol::action::Handler::Python { .. } => &*self.python,
            protocol::action::Handler::Http(_) => &*self.http,
        }
    }
}
