//! What every request asks of the registry and almost nobody changes: actions and API keys, kept in this process while a
//! subscription tells of every change.
//!
//! Whoever changes one says so on a channel in the same atomic step, and each process forgets all that it has. So what is
//! kept is as old as a message is under way (well below a millisecond), and nothing is kept while the subscription is
//! away, or may be: a connection that fell silent is found out after seven seconds (`crate::news`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use protocol::action::Action;
use protocol::id::{ActionName, TenantId};
use protocol::key::{Key, KeyHash};
use redis::Client;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::news::{Heard, listen};

/// Actions or keys that are kept; one more, and all are forgotten.
const MOST: usize = 10_000;

/// What is kept. Its subscription begins with the first question and ends when it is dropped.
pub(crate) struct Cache {
    client: Client,
    channel: String,
    runtime: Handle,
    kept: Arc<Mutex<Kept>>,
    listener: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Kept {
    /// True while every change is heard of.
    hears: bool,
    /// Counts what was heard.
    changes: u64,
    actions: HashMap<(TenantId, ActionName), Action>,
    keys: HashMap<KeyHash, Key>,
}

/// When something was asked for: what is then read may only be kept if nothing has changed since.
#[derive(Clone, Copy)]
pub(crate) struct Asked(u64);

impl Cache {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn new(client: Client, channel: String) -> Self {
        let (kept, listener) = (Arc::default(), OnceLock::new());
        Self { client, channel, runtime: Handle::current(), kept, listener }
    }

    pub(crate) fn action(&self, tenant: &TenantId, name: &ActionName) -> Result<Action, Asked> {
        self.find(|kept| kept.actions.get(&(tenant.clone(), name.clone())).cloned())
    }

    pub(crate) fn key(&self, hash: &KeyHash) -> Result<Key, Asked> {
        self.find(|kept| kept.keys.get(hash).cloned())
    }

    pub(crate) fn keep_action(&self, asked: Asked, action: &Action) {
        let place = (action.tenant.clone(), action.name.clone());
        self.keep(asked, |kept| insert(&mut kept.actions, place, action.clone()));
    }

    pub(crate) fn keep_key(&self, asked: Asked, key: &Key) {
        self.keep(asked, |kept| insert(&mut kept.keys, key.hash.clone(), key.clone()));
    }

    /// Forgets everything: this process has changed something, and need not wait until it is told so.
    pub(crate) fn forget(&self) {
        lock(&self.kept).forget();
    }

    fn find<T>(&self, get: impl FnOnce(&Kept) -> Option<T>) -> Result<T, Asked> {
        self.listener.get_or_init(|| {
            let kept = self.kept.clone();
            let hear = move |heard: Heard<'_>| {
                let mut kept = lock(&kept);
                kept.forget();
                kept.hears = !matches!(heard, Heard::Lost);
            };
            AbortOnDropHandle::new(self.runtime.spawn(listen(
                self.client.clone(),
                self.channel.clone(),
                hear,
            )))
        });
        let kept = lock(&self.kept);
        get(&kept).ok_or(Asked(kept.changes))
    }

    fn keep(&self, asked: Asked, put: impl FnOnce(&mut Kept)) {
        let mut kept = lock(&self.kept);
        if kept.hears && kept.changes == asked.0 {
            put(&mut kept);
        }
    }
}

impl Kept {
    fn forget(&mut self) {
        self.changes += 1;
        self.actions.clear();
        self.keys.clear();
    }
}

fn insert<K: Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
