//! The registry: actions, their versions and contents, keys, and sealed secrets.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::action::{Action, Content, VersionInfo};
use protocol::id::{ActionName, ContentHash, KeyId, SecretName, TenantId};
use protocol::key::{Key, KeyHash};
use protocol::ports::{PortError, Published, PutSecret, Registry, SecretInfo};
use protocol::seal::Sealed;

use crate::connection::Database;
use crate::error::Failure;
use crate::writer::{Durability::Durable, Tx};

mod actions;
mod contents;
mod keys;
mod secrets;

/// The registry in the file.
pub(crate) struct Catalogue {
    database: Arc<Database>,
}

impl Catalogue {
    /// The registry of `database`.
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        self.database.write(operation, Durable, work).await
    }
}

#[async_trait]
impl Registry for Catalogue {
    async fn publish(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        content: &Content,
        enabled: Option<bool>,
    ) -> Result<Published, PortError> {
        let (tenant, name, content) = (tenant.clone(), name.clone(), content.clone());
        let publish = move |tx: &Tx<'_>| actions::publish(tx, &tenant, &name, &content, enabled);
        self.write("registry.publish", publish).await
    }

    async fn action(&self, tenant: &TenantId, name: &ActionName) -> Result<Option<Action>, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.database.look("registry.action", move |file| actions::one(file, &tenant, &name)).await
    }

    async fn actions(
        &self,
        tenant: &TenantId,
        after: Option<&ActionName>,
        limit: usize,
    ) -> Result<Vec<Action>, PortError> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        let query = move |file: &rusqlite::Connection| actions::all(file, &tenant, after.as_ref(), limit);
        self.database.read("registry.actions", query).await
    }

    async fn versions(&self, tenant: &TenantId, name: &ActionName) -> Result<Vec<VersionInfo>, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.database.read("registry.versions", move |file| actions::versions(file, &tenant, &name)).await
    }

    async fn version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        number: u32,
    ) -> Result<Option<VersionInfo>, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        let query = move |file: &rusqlite::Connection| actions::version(file, &tenant, &name, number);
        self.database.look("registry.version", query).await
    }

    async fn set_enabled(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Option<Action>, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        let change = move |tx: &Tx<'_>| actions::set_enabled(tx, &tenant, &name, enabled);
        self.write("registry.set_enabled", change).await
    }

    async fn delete_action(&self, tenant: &TenantId, name: &ActionName) -> Result<bool, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.write("registry.delete_action", move |tx| actions::delete(tx, &tenant, &name)).await
    }

    async fn put_draft(&self, tenant: &TenantId, content: &Content) -> Result<ContentHash, PortError> {
        let (tenant, content) = (tenant.clone(), content.clone());
        self.write("registry.put_draft", move |tx| contents::put_draft(tx, &tenant, &content)).await
    }

    async fn content(&self, tenant: &TenantId, hash: &ContentHash) -> Result<Option<Content>, PortError> {
        let (tenant, hash) = (tenant.clone(), hash.clone());
        self.database.look("registry.content", move |file| contents::get(file, &tenant, &hash)).await
    }

    async fn create_key(&self, key: &Key) -> Result<bool, PortError> {
        let key = key.clone();
        self.write("registry.create_key", move |tx| keys::create(tx, &key)).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>, PortError> {
        let hash = hash.clone();
        self.database.look("registry.key_by_hash", move |file| keys::by_hash(file, &hash)).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, PortError> {
        let tenant = tenant.clone();
        self.database.read("registry.keys", move |file| keys::all(file, &tenant)).await
    }

    async fn set_key_disabled(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Option<Key>, PortError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let change = move |tx: &Tx<'_>| keys::set_disabled(tx, &tenant, &id, disabled);
        self.write("registry.set_key_disabled", change).await
    }

    async fn delete_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, PortError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.write("registry.delete_key", move |tx| keys::delete(tx, &tenant, &id)).await
    }

    async fn put_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Option<PutSecret>, PortError> {
        let (tenant, name, sealed) = (tenant.clone(), name.clone(), sealed.clone());
        let put = move |tx: &Tx<'_>| secrets::put(tx, &tenant, &name, &sealed);
        self.write("registry.put_secret", put).await
    }

    async fn secret(&self, tenant: &TenantId, name: &SecretName) -> Result<Option<Sealed>, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.database.look("registry.secret", move |file| secrets::get(file, &tenant, &name)).await
    }

    async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, PortError> {
        let tenant = tenant.clone();
        self.database.read("registry.secrets", move |file| secrets::all(file, &tenant)).await
    }

    async fn delete_secret(&self, tenant: &TenantId, name: &SecretName) -> Result<bool, PortError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.write("registry.delete_secret", move |tx| secrets::delete(tx, &tenant, &name)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.database.ping("registry.ping").await
    }
}
