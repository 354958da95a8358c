//! Sealed secrets.

use protocol::id::{SecretName, TenantId};
use protocol::limits;
use protocol::ports::{PutSecret, SecretInfo};
use protocol::seal::Sealed;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::Failure;
use crate::values::{At, Text};
use crate::writer::Tx;

/// See `Registry::put_secret`.
pub(super) fn put(
    tx: &Tx<'_>,
    tenant: &TenantId,
    name: &SecretName,
    sealed: &Sealed,
) -> Result<Option<PutSecret>, Failure> {
    let created = get(tx, tenant, name)?.is_none();
    if created && count(tx, tenant)? >= limits::TENANT_SECRETS {
        return Ok(None);
    }
    let info = tx
        .prepare_cached(
            "INSERT INTO secrets (tenant, name, sealed, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (tenant, name) DO UPDATE SET sealed = ?3, updated_at = ?4
             RETURNING name, sealed, created_at, updated_at",
        )?
        .query_row((Text(tenant), Text(name), Text(sealed), At(tx.now)), info)?;
    Ok(Some(PutSecret { info, created }))
}

fn count(file: &Connection, tenant: &TenantId) -> Result<usize, Failure> {
    let mut statement = file.prepare_cached("SELECT count(*) FROM secrets WHERE tenant = ?1")?;
    Ok(statement.query_row([Text(tenant)], |row| row.get(0))?)
}

/// See `Registry::secret`.
pub(super) fn get(
    file: &Connection,
    tenant: &TenantId,
    name: &SecretName,
) -> Result<Option<Sealed>, Failure> {
    let mut statement = file.prepare_cached("SELECT sealed FROM secrets WHERE tenant = ?1 AND name = ?2")?;
    let sealed = statement.query_row((Text(tenant), Text(name)), |row| row.get(0)).optional()?;
    Ok(sealed.map(|Text(sealed)| sealed))
}

/// See `Registry::secrets`.
pub(super) fn all(file: &Connection, tenant: &TenantId) -> Result<Vec<SecretInfo>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT name, sealed, created_at, updated_at FROM secrets WHERE tenant = ?1 ORDER BY name",
    )?;
    let secrets = statement.query_map([Text(tenant)], info)?;
    Ok(secrets.collect::<Result<_, _>>()?)
}

/// See `Registry::delete_secret`.
pub(super) fn delete(tx: &Tx<'_>, tenant: &TenantId, name: &SecretName) -> Result<bool, Failure> {
    let deleted = tx
        .prepare_cached("DELETE FROM secrets WHERE tenant = ?1 AND name = ?2")?
        .execute((Text(tenant), Text(name)))?;
    Ok(deleted > 0)
}

fn info(row: &Row<'_>) -> rusqlite::Result<SecretInfo> {
    let (Text(name), Text(sealed)): (_, Text<Sealed>) = (row.get(0)?, row.get(1)?);
    let (At(created_at), At(updated_at)) = (row.get(2)?, row.get(3)?);
    Ok(SecretInfo { name, master_key: sealed.master_key().to_owned(), created_at, updated_at })
}
