//! The Redis backend keeps every rule of the store and the registry.
//! Every rule has a prefix of its own on the server in SORTIE_TEST_REDIS_URL.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use async_trait::async_trait;
use backend_redis::{Options, connect};
use conformance::{Place, Ports};
use protocol::ports::StoreOptions;
use protocol::secret::Secret;

/// A prefix of its own on the server.
struct Prefix(String);

impl Prefix {
    fn new() -> Self {
        Self(conformance::unique())
    }
}

fn url() -> String {
    conformance::server("SORTIE_TEST_REDIS_URL")
}

#[async_trait]
impl Place for Prefix {
    async fn open(&mut self, store: StoreOptions) -> Ports {
        let options = Options { url: Secret::new(url()), prefix: self.0.clone(), store };
        let redis = connect(options).unwrap();
        Ports { store: Some(redis.store()), registry: Some(redis.registry()), ..Ports::default() }
    }

    /// Nothing to end: a client ends with its last port.
    async fn close(&mut self) {}

    async fn remove(&mut self) {
        let mut connection =
            redis::Client::open(url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.0)).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await.unwrap();
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec_async(&mut connection).await.unwrap();
            }
            if next == 0 {
                return;
            }
            cursor = next;
        }
    }

    fn shared(&self) -> bool {
        true
    }
}

conformance::store_rules!(Prefix::new);
conformance::registry_rules!(Prefix::new);
