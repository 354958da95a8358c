//! API keys.

use protocol::id::{KeyId, TenantId};
use protocol::key::{Key, KeyHash};
use rusqlite::{Connection, OptionalExtension};

use crate::error::Failure;
use crate::values::{Text, Written};
use crate::writer::Tx;

/// See `Registry::create_key`.
pub(super) fn create(tx: &Tx<'_>, key: &Key) -> Result<bool, Failure> {
    let made = tx
        .prepare_cached(
            "INSERT INTO keys (id, tenant, hash, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute((Text(&key.id), Text(&key.tenant), key.hash.as_str(), Written(key)))?;
    Ok(made > 0)
}

/// See `Registry::key_by_hash`.
pub(super) fn by_hash(file: &Connection, hash: &KeyHash) -> Result<Option<Key>, Failure> {
    let mut statement = file.prepare_cached("SELECT record FROM keys WHERE hash = ?1")?;
    let key = statement.query_row([hash.as_str()], |row| row.get(0)).optional()?;
    Ok(key.map(|Written(key)| key))
}

/// See `Registry::keys`.
pub(super) fn all(file: &Connection, tenant: &TenantId) -> Result<Vec<Key>, Failure> {
    let mut statement = file.prepare_cached("SELECT record FROM keys WHERE tenant = ?1 ORDER BY id")?;
    let keys = statement.query_map([Text(tenant)], |row| row.get(0).map(|Written(key)| key))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// See `Registry::set_key_disabled`.
pub(super) fn set_disabled(
    tx: &Tx<'_>,
    tenant: &TenantId,
    id: &KeyId,
    disabled: bool,
) -> Result<Option<Key>, Failure> {
    let mut statement = tx.prepare_cached("SELECT record FROM keys WHERE id = ?1 AND tenant = ?2")?;
    let found = statement.query_row((Text(id), Text(tenant)), |row| row.get(0)).optional()?;
    let Some(Written(mut key)) = found.map(|key: Written<Key>| key) else { return Ok(None) };
    key.disabled = disabled;
    tx.prepare_cached("UPDATE keys SET record = ?2 WHERE id = ?1")?.execute((Text(id), Written(&key)))?;
    Ok(Some(key))
}

/// See `Registry::delete_key`.
pub(super) fn delete(tx: &Tx<'_>, tenant: &TenantId, id: &KeyId) -> Result<bool, Failure> {
    let deleted = tx
        .prepare_cached("DELETE FROM keys WHERE id = ?1 AND tenant = ?2")?
        .execute((Text(id), Text(tenant)))?;
    Ok(deleted > 0)
}
