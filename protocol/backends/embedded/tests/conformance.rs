//! The embedded backend keeps every rule of the three ports.
//! One folder is one process, so a restart means closing and opening it again.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use async_trait::async_trait;
use backend_embedded::{Embedded, Options, open};
use conformance::{Folder, Place, Ports};
use protocol::ports::StoreOptions;

/// A folder of its own, and the process that has it open.
#[derive(Default)]
struct Embedding {
    folder: Folder,
    running: Option<Embedded>,
}

#[async_trait]
impl Place for Embedding {
    async fn open(&mut self, store: StoreOptions) -> Ports {
        let embedded = open(Options { store, ..Options::new(self.folder.path()) }).await.unwrap();
        let running = self.running.insert(embedded);
        Ports {
            queue: Some(running.queue()),
            store: Some(running.store()),
            registry: Some(running.registry()),
        }
    }

    async fn close(&mut self) {
        if let Some(running) = self.running.take() {
            running.close().await;
        }
    }

    async fn remove(&mut self) {
        self.close().await;
    }

    fn shared(&self) -> bool {
        false
    }
}

conformance::queue_rules!(Embedding::default);
conformance::store_rules!(Embedding::default);
conformance::registry_rules!(Embedding::default);
