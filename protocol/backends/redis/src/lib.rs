//! The store and the registry on Redis 7.0 or later, or Valkey.
//!
//! Every change of a job is one Lua script on one hash slot, because it compares before it sets; README.md
//! lists the keys. All calls share one pipelined connection, which is made when it is first needed and made
//! anew whenever it broke. Pub/sub only wakes who waits: data is always read again.

mod connection;
mod error;
mod fields;
mod keys;
mod news;
mod options;
mod registry;
mod store;

use std::sync::Arc;

use protocol::ports::{PortError, Registry, Store};

use connection::Connection;
use keys::Keys;
use registry::RedisRegistry;
use store::RedisStore;

pub use options::{Options, OptionsError};

/// The ports that Redis carries. Cheap to clone; all clones share one connection. What runs in the background
/// ends when the last clone and the last port are dropped.
#[derive(Clone)]
pub struct RedisBackend {
    store: Arc<RedisStore>,
    registry: Arc<RedisRegistry>,
    connection: Arc<Connection>,
}

/// Prepares a backend inside a Tokio runtime. It connects when it is first used, so a server that is away is
/// no error here.
pub fn connect(options: Options) -> Result<RedisBackend, OptionsError> {
    let client = options.client()?;
    let keys = Keys::new(&options.prefix);
    let connection = Arc::new(Connection::new(client.clone()));
    Ok(RedisBackend {
        store: Arc::new(RedisStore::new(connection.clone(), client.clone(), keys.clone(), options.store)),
        registry: Arc::new(RedisRegistry::new(connection.clone(), client, keys)),
        connection,
    })
}

impl RedisBackend {
    /// Jobs and their events.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Actions and keys.
    pub fn registry(&self) -> Arc<dyn Registry> {
        self.registry.clone()
    }

    /// What the server says about itself (`INFO`): for people who look for trouble, not for decisions.
    pub async fn info(&self) -> Result<String, PortError> {
        self.connection.run("redis.info", &redis::cmd("INFO")).await
    }
}
