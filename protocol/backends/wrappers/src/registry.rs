//! The operations of a wrapped registry.

use async_trait::async_trait;
use protocol::action::{Action, Content, VersionInfo};
use protocol::id::{ActionName, ContentHash, KeyId, SecretName, TenantId};
use protocol::key::{Key, KeyHash};
use protocol::ports::{PortError, Published, PutSecret, Registry, SecretInfo};
use protocol::seal::Sealed;

use crate::around::{Around, Wrapped};

#[async_trait]
impl<A: Around> Registry for Wrapped<dyn Registry, A> {
    async fn publish(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        content: &Content,
        enabled: Option<bool>,
    ) -> Result<Published, PortError> {
        self.around.call("registry.publish", self.inner.publish(tenant, name, content, enabled)).await
    }

    async fn action(&self, tenant: &TenantId, name: &ActionName) -> Result<Option<Action>, PortError> {
        self.around.call("registry.action", self.inner.action(tenant, name)).await
    }

    async fn actions(
        &self,
        tenant: &TenantId,
        after: Option<&ActionName>,
        limit: usize,
    ) -> Result<Vec<Action>, PortError> {
        self.around.call("registry.actions", self.inner.actions(tenant, after, limit)).await
    }

    async fn versions(&self, tenant: &TenantId, name: &ActionName) -> Result<Vec<VersionInfo>, PortError> {
        self.around.call("registry.versions", self.inner.versions(tenant, name)).await
    }

    async fn version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        number: u32,
    ) -> Result<Option<VersionInfo>, PortError> {
        self.around.call("registry.version", self.inner.version(tenant, name, number)).await
    }

    async fn set_enabled(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Option<Action>, PortError> {
        self.around.call("registry.set_enabled", self.inner.set_enabled(tenant, name, enabled)).await
    }

    async fn delete_action(&self, tenant: &TenantId, name: &ActionName) -> Result<bool, PortError> {
        self.around.call("registry.delete_action", self.inner.delete_action(tenant, name)).await
    }

    async fn put_draft(&self, tenant: &TenantId, content: &Content) -> Result<ContentHash, PortError> {
        self.around.call("registry.put_draft", self.inner.put_draft(tenant, content)).await
    }

    async fn content(&self, tenant: &TenantId, hash: &ContentHash) -> Result<Option<Content>, PortError> {
        self.around.call("registry.content", self.inner.content(tenant, hash)).await
    }

    async fn create_key(&self, key: &Key) -> Result<bool, PortError> {
        self.around.call("registry.create_key", self.inner.create_key(key)).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>, PortError> {
        self.around.call("registry.key_by_hash", self.inner.key_by_hash(hash)).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, PortError> {
        self.around.call("registry.keys", self.inner.keys(tenant)).await
    }

    async fn set_key_disabled(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Option<Key>, PortError> {
        self.around.call("registry.set_key_disabled", self.inner.set_key_disabled(tenant, id, disabled)).await
    }

    async fn delete_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, PortError> {
        self.around.call("registry.delete_key", self.inner.delete_key(tenant, id)).await
    }

    async fn put_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Option<PutSecret>, PortError> {
        self.around.call("registry.put_secret", self.inner.put_secret(tenant, name, sealed)).await
    }

    async fn secret(&self, tenant: &TenantId, name: &SecretName) -> Result<Option<Sealed>, PortError> {
        self.around.call("registry.secret", self.inner.secret(tenant, name)).await
    }

    async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, PortError> {
        self.around.call("registry.secrets", self.inner.secrets(tenant)).await
    }

    async fn delete_secret(&self, tenant: &TenantId, name: &SecretName) -> Result<bool, PortError> {
        self.around.call("registry.delete_secret", self.inner.delete_secret(tenant, name)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.around.call("registry.ping", self.inner.ping()).await
    }
}
