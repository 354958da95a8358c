//! All three ports in one SQLite file: one process, no server.
//!
//! [`open`] takes a folder for this process alone and gives an [`Embedded`], which hands out the ports.
//! They share one writer thread (`writer.rs`), a few reader threads and one file (`connection.rs`).

mod connection;
mod crew;
mod error;
mod index;
mod options;
mod queue;
mod registry;
mod store;
mod sync;
mod values;
mod writer;

use std::sync::Arc;

use protocol::ports::{Queue, Registry, Store};

use connection::Database;
pub use error::OpenError;
pub use options::{Options, Sync};

/// An open file. Dropping it and every port, consumer and delivery of it closes the file too, but blocks
/// for a moment; [`Embedded::close`] is the polite way.
pub struct Embedded {
    database: Arc<Database>,
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    registry: Arc<dyn Registry>,
}

/// Opens the file in `options.dir`, makes it where it is missing, and brings its layout up to date.
/// Returns [`OpenError::InUse`] while another process (or another [`Embedded`]) has the folder.
pub async fn open(options: Options) -> Result<Embedded, OpenError> {
    let (database, waiting) = Database::open(&options)?;
    let database = Arc::new(database);
    Ok(Embedded {
        queue: Arc::new(queue::Messages::new(Arc::clone(&database), waiting)),
        store: Arc::new(store::Jobs::new(Arc::clone(&database), options.store)),
        registry: Arc::new(registry::Catalogue::new(Arc::clone(&database))),
        database,
    })
}

impl Embedded {
    /// The queue.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.queue)
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The registry.
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.registry)
    }

    /// Writes what was accepted, closes the file and frees the folder. Ports that are still around answer
    /// everything with `Unavailable` from then on.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.database.close());
        if let Err(error) = closing.await {
            tracing::warn!(%error, "the embedded file was not closed in order; nothing is lost");
        }
    }
}
