//! The contents of versions that this worker used lately, by hash. A version never changes, so what is here
//! is right for ever; it is bounded, and the least recently used goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::action::Content;
use protocol::id::{ContentHash, TenantId};
use protocol::ports::{PortError, Registry};
use protocol::schema::Schema;

/// Bytes of JSON that all kept contents have together.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// Contents that are kept.
const KEPT: usize = 1024;

/// A version, ready to be run.
#[derive(Debug)]
pub(crate) struct Version {
    /// What to run.
    pub(crate) content: Arc<Content>,
    /// What its results must look like; the error says why the schema can't be used.
    pub(crate) output: Option<Result<Schema, String>>,
}

impl Version {
    pub(crate) fn new(content: Content) -> Self {
        let compile = |schema| Schema::compile(schema, "/output_schema").map_err(|problem| problem.detail);
        let output = content.output_schema.as_ref().map(compile);
        Self { content: Arc::new(content), output }
    }
}

/// The cache in front of the registry.
pub(crate) struct Contents {
    registry: Arc<dyn Registry>,
    kept: Mutex<Kept>,
}

impl Contents {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, kept: Mutex::default() }
    }

    /// The version of that hash, or `None` if its content is gone or isn't what the hash says.
    pub(crate) async fn get(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
    ) -> Result<Option<Arc<Version>>, PortError> {
        let key = (tenant.clone(), hash.clone());
        if let Some(version) = self.lock().get(&key) {
            return Ok(Some(version));
        }
        let Some(content) = self.registry.content(tenant, hash).await? else { return Ok(None) };
        if content.hash() != *hash {
            tracing::error!(%hash, "the registry's content has another hash than its name says");
            return Ok(None);
        }
        let bytes = serde_json::to_vec(&content).map_or(KEPT_BYTES, |text| text.len());
        let version = Arc::new(Version::new(content));
        self.lock().put(key, version.clone(), bytes);
        Ok(Some(version))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant sees only what it published itself, even where another has the same content.
type Key = (TenantId, ContentHash);

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    version: Arc<Version>,
    bytes: usize,
    used: u64,
}

impl Kept {
    fn get(&mut self, key: &Key) -> Option<Arc<Version>> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.version.clone())
    }

    fn put(&mut self, key: Key, version: Arc<Version>, bytes: usize) {
        self.uses += 1;
        self.bytes += bytes;
        if let Some(old) = self.entries.insert(key, Entry { version, bytes, used: self.uses }) {
            self.bytes -= old.bytes;
        }
        while self.bytes > KEPT_BYTES || self.entries.len() > KEPT {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) else { break };
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        (TenantId::standard(), ContentHash::new(format!("{n:064x}")).unwrap())
    }

    fn version() -> Arc<Version> {
        let text = r#"{"handler":{"kind":"python","source":""}}"#;
        Arc::new(Version::new(serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut kept = Kept::default();
        for n in 0..KEPT {
            kept.put(key(n), version(), 1);
        }
        assert!(kept.get(&key(0)).is_some());
        kept.put(key(KEPT), version(), 1);
        assert!(kept.get(&key(0)).is_some());
        assert!(kept.get(&key(1)).is_none());
        assert_eq!((kept.entries.len(), kept.bytes), (KEPT, KEPT));
    }

    #[test]
    fn large_contents_push_out_many() {
        let mut kept = Kept::default();
        for n in 0..10 {
            kept.put(key(n), version(), KEPT_BYTES / 10);
        }
        kept.put(key(10), version(), KEPT_BYTES / 2);
        assert!(kept.bytes <= KEPT_BYTES);
        assert!(kept.get(&key(10)).is_some());
        kept.put(key(10), version(), 1);
        assert!(kept.bytes <= KEPT_BYTES / 2);
    }
}
