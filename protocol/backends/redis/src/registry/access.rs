//! API keys. All share one slot: ids and hashes are unique in the whole installation, and writes are rare.

use protocol::id::{KeyId, TenantId};
use protocol::key::{Key, KeyHash};
use protocol::ports::PortError;

use super::{RedisRegistry, switch};
use crate::error::Unreadable;
use crate::fields::{Fields, json, read};

impl RedisRegistry {
    pub(super) async fn store_key(&self, key: &Key) -> Result<bool, PortError> {
        let hash = key.hash.as_str();
        let keys = [self.keys.key(hash), self.keys.key_ids(), self.keys.keys_of(&key.tenant)];
        let text = json(key);
        let arguments = [key.id.as_str(), hash, key.tenant.as_str(), &text, switch(key.disabled)];
        let (word, _) = self.run("registry.create_key", &self.scripts.key_create, &keys, &arguments).await?;
        Ok(word == "done")
    }

    pub(super) async fn find_key(&self, hash: &KeyHash) -> Result<Option<Key>, PortError> {
        const OPERATION: &str = "registry.key_by_hash";
        let asked = match self.cache.key(hash) {
            Ok(key) => return Ok(Some(key)),
            Err(asked) => asked,
        };
        let fields = self.fields(OPERATION, self.keys.key(hash.as_str())).await?;
        let found = key(&fields).map_err(|e| e.during(OPERATION))?;
        found.iter().for_each(|key| self.cache.keep_key(asked, key));
        Ok(found)
    }

    /// A key that is deleted between the steps is left out.
    pub(super) async fn list_keys(&self, tenant: &TenantId) -> Result<Vec<Key>, PortError> {
        const OPERATION: &str = "registry.keys";
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.keys.keys_of(tenant)).arg(0).arg(-1);
        let ids: Vec<String> = self.connection.run(OPERATION, &range).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(self.keys.key_ids()).arg(&ids);
        let hashes: Vec<Option<String>> = self.connection.run(OPERATION, &get).await?;
        let mut commands = redis::pipe();
        for hash in hashes.iter().flatten() {
            commands.cmd("HGETALL").arg(self.keys.key(hash));
        }
        let mut keys = Vec::with_capacity(ids.len());
        for answer in self.connection.run_all(OPERATION, &commands).await? {
            let fields: Fields = read(OPERATION, Some(answer))?;
            keys.extend(key(&fields).map_err(|e| e.during(OPERATION))?);
        }
        Ok(keys)
    }

    pub(super) async fn switch_key(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Option<Key>, PortError> {
        const OPERATION: &str = "registry.set_key_disabled";
        let Some(hash) = self.hash_of(OPERATION, id).await? else { return Ok(None) };
        let arguments = [id.as_str(), tenant.as_str(), switch(disabled)];
        let keys = [self.keys.key(&hash)];
        let (_, fields) = self.run(OPERATION, &self.scripts.key_disable, &keys, &arguments).await?;
        self.cache.forget();
        key(&fields).map_err(|e| e.during(OPERATION))
    }

    pub(super) async fn remove_key(&self, tenant: &TenantId, id: &KeyId) -> Result<bool, PortError> {
        const OPERATION: &str = "registry.delete_key";
        let Some(hash) = self.hash_of(OPERATION, id).await? else { return Ok(false) };
        let keys = [self.keys.key(&hash), self.keys.key_ids(), self.keys.keys_of(tenant)];
        let arguments = [id.as_str(), tenant.as_str()];
        let (word, _) = self.run(OPERATION, &self.scripts.key_delete, &keys, &arguments).await?;
        self.cache.forget();
        Ok(word == "done")
    }

    /// The hash of the key's secret: where the key is. The scripts check that it is still this key.
    async fn hash_of(&self, operation: &'static str, id: &KeyId) -> Result<Option<String>, PortError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys.key_ids()).arg(id.as_str());
        self.connection.run(operation, &get).await
    }
}

/// The key of a hash, if there is one.
fn key(fields: &Fields) -> Result<Option<Key>, Unreadable> {
    if fields.is_empty() {
        return Ok(None);
    }
    let key: Key = fields.must("key", |text| serde_json::from_str(text).ok())?;
    let disabled = fields.must("disabled", |text| Some(text == "1"))?;
    Ok(Some(Key { disabled, ..key }))
}
