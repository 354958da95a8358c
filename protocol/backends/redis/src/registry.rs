//! The registry: actions are in `registry/actions.rs`, API keys in `registry/access.rs`, sealed secrets in
//! `registry/secrets.rs`; here they are put together as the port.

mod access;
mod actions;
mod cache;
mod secrets;

use std::sync::Arc;

use async_trait::async_trait;
use protocol::action::{Action, Content, VersionInfo};
use protocol::id::{ActionName, ContentHash, KeyId, SecretName, TenantId};
use protocol::key::{Key, KeyHash};
use protocol::ports::{PortError, Published, PutSecret, Registry, SecretInfo};
use protocol::seal::Sealed;
use redis::{Client, Script};

use crate::connection::{Connection, evaluate};
use crate::fields::{Fields, quoted};
use crate::keys::Keys;
use cache::Cache;

/// Actions, API keys and sealed secrets on Redis.
pub(crate) struct RedisRegistry {
    connection: Arc<Connection>,
    keys: Keys,
    scripts: Scripts,
    cache: Cache,
}

struct Scripts {
    publish: Script,
    enable: Script,
    delete: Script,
    draft: Script,
    key_create: Script,
    key_disable: Script,
    key_delete: Script,
    secret_put: Script,
}

impl RedisRegistry {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn new(connection: Arc<Connection>, client: Client, keys: Keys) -> Self {
        let channel = keys.changed();
        // What these change others keep (`cache`): they are told in the same step.
        let tells = format!("local function changed() redis.call('PUBLISH', {}, '') end\n", quoted(&channel));
        let telling = |own: &str| Script::new(&format!("{tells}{own}"));
        let scripts = Scripts {
            publish: telling(include_str!("../scripts/publish.lua")),
            enable: telling(include_str!("../scripts/enable.lua")),
            delete: telling(include_str!("../scripts/delete.lua")),
            draft: Script::new(include_str!("../scripts/draft.lua")),
            key_create: Script::new(include_str!("../scripts/key_create.lua")),
            key_disable: telling(include_str!("../scripts/key_disable.lua")),
            key_delete: telling(include_str!("../scripts/key_delete.lua")),
            secret_put: Script::new(include_str!("../scripts/secret_put.lua")),
        };
        Self { connection, keys, scripts, cache: Cache::new(client, channel) }
    }

    /// Runs a script: the word that says what it did, and the fields that follow it.
    async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &[String],
        arguments: &[&str],
    ) -> Result<(String, Fields), PortError> {
        let mut call = evaluate(script, keys.len());
        call.arg(keys).arg(arguments);
        let words: Vec<String> = self.connection.script(operation, script, &call).await?;
        let word = words.first().cloned().unwrap_or_default();
        Ok((word, Fields::of_answer(words)))
    }

    /// All fields of a hash; none if there is no such key.
    async fn fields(&self, operation: &'static str, key: String) -> Result<Fields, PortError> {
        self.connection.run(operation, redis::cmd("HGETALL").arg(key)).await
    }
}

/// A switch as scripts take it.
fn switch(on: bool) -> &'static str {
    if on { "1" } else { "0" }
}

#[async_trait]
impl Registry for RedisRegistry {
    async fn publish(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        content: &Content,
        enabled: Option<bool>,
    ) -> Result<Published, PortError> {
        self.publish_version(tenant, name, content, enabled).await
    }

    async fn action(&self, tenant: &TenantId, name: &ActionName) -> Result<Option<Action>, PortError> {
        self.read_action(tenant, name).await
    }

    async fn actions(
        &self,
        tenant: &TenantId,
        after: Option<&ActionName>,
        limit: usize,
    ) -> Result<Vec<Action>, PortError> {
        self.list_actions(tenant, after, limit).await
    }

    async fn versions(&self, tenant: &TenantId, name: &ActionName) -> Result<Vec<VersionInfo>, PortError> {
        self.list_versions(tenant, name).await
    }

    async fn version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        number: u32,
    ) -> Result<Option<VersionInfo>, PortError> {
        self.read_version(tenant, name, number).await
    }

    async fn set_enabled(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Option<Action>, PortError> {
        self.enable_action(tenant, name, enabled).await
    }

    async fn delete_action(&self, tenant: &TenantId, name: &ActionName) -> Result<bool, PortError> {
        self.remove_action(tenant, name).await
    }

    async fn put_draft(&self, tenant: &TenantId, content: &Content) -> Result<ContentHash, PortError> {
        self.keep_draft(tenant, content).await
    }

    async fn content(&self, tenant: &TenantId, hash: &ContentHash) -> Result<Option<Content>, PortError> {
        self.read_content(tenant, hash).await
    }

    async fn create_key(&self, key: &Key) -> Result<bool, PortError> {
        self.store_key(key).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<Key>, PortError> {
        self.find_key(hash).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, PortError> {
        self.list_keys(tenant).await
    }

    async fn set_key_disabled(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Option<Key>, PortError> {
        self.switch_key(tenant, id, disabled).await
    }

    async fn delete_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, PortError> {
        self.remove_key(tenant, id).await
    }

    async fn put_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Option<PutSecret>, PortError> {
        self.store_secret(tenant, name, sealed).await
    }

    async fn secret(&self, tenant: &TenantId, name: &SecretName) -> Result<Option<Sealed>, PortError> {
        self.read_secret(tenant, name).await
    }

    async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, PortError> {
        self.list_secrets(tenant).await
    }

    async fn delete_secret(&self, tenant: &TenantId, name: &SecretName) -> Result<bool, PortError> {
        self.remove_secret(tenant, name).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.connection.ping("registry.ping", &self.keys.ping()).await
    }
}
