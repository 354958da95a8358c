//! Actions and their versions.

use protocol::action::{Action, Content, VersionInfo};
use protocol::id::{ActionName, ContentHash, TenantId};
use protocol::ports::Published;
use rusqlite::{Connection, OptionalExtension, Row};

use super::contents;
use crate::error::Failure;
use crate::values::{At, Text, rows};
use crate::writer::Tx;

/// An action with its latest version; the row of a deleted one has no version.
const SELECT: &str = "SELECT a.tenant, a.name, a.enabled, a.created_at, a.updated_at, v.number,
     v.content_hash, v.created_at
     FROM actions a JOIN versions v ON v.tenant = a.tenant AND v.name = a.name AND v.number = a.latest
     WHERE a.deleted = 0 AND a.tenant = ?1";

/// See `Registry::publish`.
pub(super) fn publish(
    tx: &Tx<'_>,
    tenant: &TenantId,
    name: &ActionName,
    content: &Content,
    enabled: Option<bool>,
) -> Result<Published, Failure> {
    let hash = content.hash();
    let before = one(tx, tenant, name)?;
    let created = before.as_ref().is_none_or(|action| action.latest.content_hash != hash);
    if created {
        contents::put_version(tx, tenant, &hash, content)?;
        add_version(tx, tenant, name, &hash, before.is_none())?;
    }
    if let Some(enabled) = enabled
        && let Some(action) = set_enabled(tx, tenant, name, enabled)?
    {
        return Ok(Published { action, created });
    }
    let action = one(tx, tenant, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Published { action, created })
}

/// Gives the next number. An action that is new, or was deleted, starts enabled and of this instant.
fn add_version(
    tx: &Tx<'_>,
    tenant: &TenantId,
    name: &ActionName,
    hash: &ContentHash,
    fresh: bool,
) -> Result<(), Failure> {
    let number: u32 = tx
        .prepare_cached(
            "INSERT INTO actions (tenant, name, enabled, latest, created_at, updated_at)
             VALUES (?1, ?2, 1, 1, ?3, ?3)
             ON CONFLICT (tenant, name) DO UPDATE SET latest = latest + 1, updated_at = ?3, deleted = 0,
             enabled = CASE ?4 WHEN 1 THEN 1 ELSE enabled END,
             created_at = CASE ?4 WHEN 1 THEN ?3 ELSE created_at END
             RETURNING latest",
        )?
        .query_row((Text(tenant), Text(name), At(tx.now), fresh), |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT INTO versions (tenant, name, number, content_hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((Text(tenant), Text(name), number, Text(hash), At(tx.now)))?;
    Ok(())
}

/// See `Registry::action`.
pub(super) fn one(
    file: &Connection,
    tenant: &TenantId,
    name: &ActionName,
) -> Result<Option<Action>, Failure> {
    let mut statement = file.prepare_cached(&format!("{SELECT} AND a.name = ?2"))?;
    Ok(statement.query_row((Text(tenant), Text(name)), action).optional()?)
}

/// See `Registry::actions`.
pub(super) fn all(
    file: &Connection,
    tenant: &TenantId,
    after: Option<&ActionName>,
    limit: usize,
) -> Result<Vec<Action>, Failure> {
    let mut statement = file.prepare_cached(&format!("{SELECT} AND a.name > ?2 ORDER BY a.name LIMIT ?3"))?;
    // Every name is behind the empty text.
    let after = after.map_or("", ActionName::as_str);
    let actions = statement.query_map((Text(tenant), after, rows(limit)), action)?;
    Ok(actions.collect::<Result<_, _>>()?)
}

/// See `Registry::versions`.
pub(super) fn versions(
    file: &Connection,
    tenant: &TenantId,
    name: &ActionName,
) -> Result<Vec<VersionInfo>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT number, content_hash, created_at FROM versions WHERE tenant = ?1 AND name = ?2
         ORDER BY number DESC",
    )?;
    let versions = statement.query_map((Text(tenant), Text(name)), |row| info(row, 0))?;
    Ok(versions.collect::<Result<_, _>>()?)
}

/// See `Registry::version`.
pub(super) fn version(
    file: &Connection,
    tenant: &TenantId,
    name: &ActionName,
    number: u32,
) -> Result<Option<VersionInfo>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT number, content_hash, created_at FROM versions WHERE tenant = ?1 AND name = ?2
         AND number = ?3",
    )?;
    Ok(statement.query_row((Text(tenant), Text(name), number), |row| info(row, 0)).optional()?)
}

/// See `Registry::set_enabled`.
pub(super) fn set_enabled(
    tx: &Tx<'_>,
    tenant: &TenantId,
    name: &ActionName,
    enabled: bool,
) -> Result<Option<Action>, Failure> {
    // A switch that is there already changes nothing, the time of the last change included.
    tx.prepare_cached(
        "UPDATE actions SET enabled = ?3, updated_at = ?4
         WHERE tenant = ?1 AND name = ?2 AND deleted = 0 AND enabled <> ?3",
    )?
    .execute((Text(tenant), Text(name), enabled, At(tx.now)))?;
    one(tx, tenant, name)
}

/// See `Registry::delete_action`. The row stays and keeps the last number.
pub(super) fn delete(tx: &Tx<'_>, tenant: &TenantId, name: &ActionName) -> Result<bool, Failure> {
    let key = (Text(tenant), Text(name));
    tx.prepare_cached("DELETE FROM versions WHERE tenant = ?1 AND name = ?2")?.execute(key)?;
    let deleted = tx
        .prepare_cached(
            "UPDATE actions SET deleted = 1, updated_at = ?3 WHERE tenant = ?1 AND name = ?2 AND deleted = 0",
        )?
        .execute((Text(tenant), Text(name), At(tx.now)))?;
    Ok(deleted > 0)
}

fn action(row: &Row<'_>) -> rusqlite::Result<Action> {
    let (Text(tenant), Text(name)) = (row.get(0)?, row.get(1)?);
    let (At(created_at), At(updated_at)) = (row.get(3)?, row.get(4)?);
    Ok(Action { tenant, name, enabled: row.get(2)?, latest: info(row, 5)?, created_at, updated_at })
}

/// The version in three columns from `first` on.
fn info(row: &Row<'_>, first: usize) -> rusqlite::Result<VersionInfo> {
    let (Text(content_hash), At(created_at)) = (row.get(first + 1)?, row.get(first + 2)?);
    Ok(VersionInfo { number: row.get(first)?, content_hash, created_at })
}
