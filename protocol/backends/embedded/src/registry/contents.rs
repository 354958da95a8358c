//! Contents of versions and drafts, by hash. Versions' contents stay for ever, drafts' for two days.

use std::time::Duration;

use protocol::action::Content;
use protocol::id::{ContentHash, TenantId};
use rusqlite::{Connection, OptionalExtension};

use crate::error::Failure;
use crate::values::{At, Text, Written};
use crate::writer::Tx;

/// How long a draft is kept: the port's day, and as much again for jobs that were accepted late in it.
const DRAFT: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Stores the content of a version; one that was a draft is a draft no more.
pub(super) fn put_version(
    tx: &Tx<'_>,
    tenant: &TenantId,
    hash: &ContentHash,
    content: &Content,
) -> Result<(), Failure> {
    tx.prepare_cached(
        "INSERT INTO contents (tenant, hash, content) VALUES (?1, ?2, ?3)
         ON CONFLICT (tenant, hash) DO UPDATE SET draft_until = NULL",
    )?
    .execute((Text(tenant), Text(hash), Written(content)))?;
    Ok(())
}

/// See `Registry::put_draft`. Removes a few old drafts on the way.
pub(super) fn put_draft(tx: &Tx<'_>, tenant: &TenantId, content: &Content) -> Result<ContentHash, Failure> {
    let hash = content.hash();
    tx.prepare_cached(
        "DELETE FROM contents WHERE rowid IN (SELECT rowid FROM contents WHERE draft_until <= ?1 LIMIT 10)",
    )?
    .execute([At(tx.now)])?;
    tx.prepare_cached(
        "INSERT INTO contents (tenant, hash, content, draft_until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant, hash) DO UPDATE SET draft_until = ?4 WHERE draft_until IS NOT NULL",
    )?
    .execute((Text(tenant), Text(&hash), Written(content), At(tx.now.plus(DRAFT))))?;
    Ok(hash)
}

/// See `Registry::content`.
pub(super) fn get(
    file: &Connection,
    tenant: &TenantId,
    hash: &ContentHash,
) -> Result<Option<Content>, Failure> {
    let mut statement =
        file.prepare_cached("SELECT content FROM contents WHERE tenant = ?1 AND hash = ?2")?;
    let content = statement.query_row((Text(tenant), Text(hash)), |row| row.get(0)).optional()?;
    Ok(content.map(|Written(content)| content))
}
