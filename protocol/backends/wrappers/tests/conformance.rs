//! The wrappers keep every rule of what they wrap: `faulty` without orders, and `metered`.
//! What they wrap is the embedded backend, which keeps the rules by itself.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use async_trait::async_trait;
use backend_embedded::{Embedded, Options, open};
use backend_wrappers::faulty::Faults;
use backend_wrappers::metered::Metrics;
use backend_wrappers::{faulty, metered};
use conformance::{Folder, Place, Ports};
use protocol::ports::StoreOptions;

/// A folder of its own, the process that has it open, and what its ports are wrapped in.
struct Wrapped {
    folder: Folder,
    running: Option<Embedded>,
    wrap: fn(&Embedded) -> Ports,
}

impl Wrapped {
    fn new(wrap: fn(&Embedded) -> Ports) -> Self {
        Self { folder: Folder::new(), running: None, wrap }
    }
}

#[async_trait]
impl Place for Wrapped {
    async fn open(&mut self, store: StoreOptions) -> Ports {
        let embedded = open(Options { store, ..Options::new(self.folder.path()) }).await.unwrap();
        (self.wrap)(self.running.insert(embedded))
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

mod faulty_ports {
    use super::*;

    fn place() -> Wrapped {
        Wrapped::new(|embedded| {
            let faults = Faults::default();
            Ports {
                queue: Some(faulty::queue(embedded.queue(), &faults)),
                store: Some(faulty::store(embedded.store(), &faults)),
                registry: Some(faulty::registry(embedded.registry(), &faults)),
            }
        })
    }

    conformance::queue_rules!(place);
    conformance::store_rules!(place);
    conformance::registry_rules!(place);
}

mod metered_ports {
    use super::*;

    fn place() -> Wrapped {
        Wrapped::new(|embedded| {
            let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
            Ports {
                queue: Some(metered::queue(embedded.queue(), &metrics)),
                store: Some(metered::store(embedded.store(), &metrics)),
                registry: Some(metered::registry(embedded.registry(), &metrics)),
            }
        })
    }

    conformance::queue_rules!(place);
    conformance::store_rules!(place);
    conformance::registry_rules!(place);
}
