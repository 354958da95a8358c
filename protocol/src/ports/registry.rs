//! The registry: what can be run, and by whom. Tenants never see each other's entries.

use async_trait::async_trait;

use super::PortError;
use crate::action::{Action, Content, VersionInfo};
use crate::id::{ActionName, ContentHash, KeyId, SecretName, TenantId};
use crate::key::{Key, KeyHash};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// Where actions, keys and sealed secrets are kept. Every method is one atomic step.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Publishes `content` as the next version of `name` and makes it the latest. The content that the
    /// latest version has already makes no new version. `enabled` sets the switch; `None` leaves it (a new
    /// action is enabled). Numbers are never given twice, not even after a deletion.
    async fn publish(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        content: &Content,
        enabled: Option<bool>,
    ) -> Result<Published, PortError>;

    /// The action of that name, unless it is deleted.
    async fn action(&self, tenant: &TenantId, name: &ActionName) -> Result<Option<Action>, PortError>;

    /// Actions by name, those behind `after`, at most `limit`.
    async fn actions(
        &self,
        tenant: &TenantId,
        after: Option<&ActionName>,
        limit: usize,
    ) -> Result<Vec<Action>, PortError>;

    /// The versions of an action that isn't deleted, newest first; empty if there is no such action.
    async fn versions(&self, tenant: &TenantId, name: &ActionName) -> Result<Vec<VersionInfo>, PortError>;

    /// One version of an action that isn't deleted.
    async fn version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        number: u32,
    ) -> Result<Option<VersionInfo>, PortError>;

    /// Flips the switch. `None` if there is no such action.
    async fn set_enabled(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Option<Action>, PortError>;

    /// Deletes an action: it takes no new jobs and is found no more. Jobs that were accepted still run:
    /// the contents of its versions stay readable. False if there is no such action.
    async fn delete_action(&self, tenant: &TenantId, name: &ActionName) -> Result<bool, PortError>;

    /// Keeps the content of an unsaved draft readable for at least a day.
    async fn put_draft(&self, tenant: &TenantId, content: &Content) -> Result<ContentHash, PortError>;

    /// The content of that hash, as a version or a draft of this tenant.
    async fn content(&self, tenant: &TenantId, hash: &ContentHash) -> Result<Option<Content>, PortError>;

    /// Stores a key. False if its id or hash is taken.
    async fn create_key(&self, key: &Key) -> Result<bool, PortError>;

    /// The key with that secret's hash, whatever its tenant, and whether it is disabled or expired or not.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>, PortError>;

    /// The keys of a tenant, by id.
    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, PortError>;

    /// Disables or enables a key. `None` if there is no such key.
    async fn set_key_disabled(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Option<Key>, PortError>;

    /// Deletes a key. False if there is no such key.
    async fn delete_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, PortError>;

    /// Stores a sealed secret, or replaces the one of that name. `None` if it would be one more than
    /// [`limits::TENANT_SECRETS`](crate::limits::TENANT_SECRETS) of the tenant. No port ever sees one open.
    async fn put_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Option<PutSecret>, PortError>;

    /// The sealed secret of that name.
    async fn secret(&self, tenant: &TenantId, name: &SecretName) -> Result<Option<Sealed>, PortError>;

    /// What there is to know about the secrets of a tenant, by name.
    async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, PortError>;

    /// Deletes a secret. False if there is no such secret.
    async fn delete_secret(&self, tenant: &TenantId, name: &SecretName) -> Result<bool, PortError>;

    /// Whether reading and writing would work now: an answer within two seconds.
    async fn ping(&self) -> Result<(), PortError>;
}

/// What publishing made.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The action with its latest version.
    pub action: Action,
    /// True if a version was made; false if the latest one had this content already.
    pub created: bool,
}

/// What is known about a secret besides its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name, unique within the tenant.
    pub name: SecretName,
    /// The id of the master key that it is sealed with.
    pub master_key: String,
    /// When the name was first set.
    pub created_at: Timestamp,
    /// When its value was set last.
    pub updated_at: Timestamp,
}

/// What storing a secret did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutSecret {
    /// The secret as it is now.
    pub info: SecretInfo,
    /// True if there was none of that name before.
    pub created: bool,
}
