//! What is known of a handler's source, so that not every call reads it again: above all what the interpreter compiled.
//!
//! A process tells the code before anything of its handler has run, so it is the interpreter's word; nobody but calls of the
//! same tenant and version ever gets it. It lives as long as the worker, whose interpreter no other reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::json::Json;

use super::loaded::Loaded;
use super::slot::Key;

/// How much is kept, as text. What came first goes first.
const BYTES: usize = 16 * 1024 * 1024;

/// What is known of a version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Its code, as the runner packed it.
    pub(super) code: Json,
    /// What it wants to be loaded.
    pub(super) wanted: Loaded,
}

/// What is known of versions.
#[derive(Debug, Default)]
pub(super) struct Codes {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    codes: HashMap<Key, Known>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Codes {
    /// What is known of a version.
    pub(super) fn get(&self, version: &Key) -> Option<Known> {
        self.lock().codes.get(version).cloned()
    }

    /// Keeps it.
    pub(super) fn put(&self, version: &Key, known: Known) {
        let mut kept = self.lock();
        let size = known.code.text().len();
        if size > BYTES || kept.codes.contains_key(version) {
            return;
        }
        kept.bytes += size;
        kept.order.push_back(version.clone());
        kept.codes.insert(version.clone(), known);
        while kept.bytes > BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.bytes -= kept.codes.remove(&oldest).map_or(0, |known| known.code.text().len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that came without its code, and is to tell it first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learn<'a> {
    pub(super) codes: &'a Codes,
    pub(super) version: &'a Key,
    pub(super) wanted: Loaded,
}

impl Learn<'_> {
    /// Takes what was told; nothing if it is too much to be kept.
    pub(super) fn keep(self, code: Json) {
        if code != Json::null() {
            self.codes.put(self.version, Known { code, wanted: self.wanted });
        }
    }
}

#[cfg(test)]
mod tests {
    use conformance::sample;
    use protocol::action::Content;

    use super::*;

    #[test]
    fn what_came_first_goes_first_when_it_is_too_much() {
        let codes = Codes::default();
        let version = |number: usize| {
            let source = format!("def handle_event(data): return {number}");
            let content = serde_json::json!({"handler": {"kind": "python", "source": source}});
            let content: Content = serde_json::from_value(content).unwrap();
            Key { tenant: sample::job().tenant, content: content.hash() }
        };
        let known = |code: Json| Known { code, wanted: Loaded::Core };
        let large = known(Json::of(&"0".repeat(BYTES / 4)).unwrap());
        for number in 0..4 {
            codes.put(&version(number), large.clone());
        }
        let kept = |numbers: std::ops::Range<usize>| numbers.map(|n| codes.get(&version(n)).is_some());
        assert_eq!(kept(0..4).collect::<Vec<_>>(), [false, true, true, true], "quotes are too much");
        codes.put(&version(1), known(Json::of(&1).unwrap()));
        assert_eq!(codes.get(&version(1)), Some(large), "the first one stays");
        codes.put(&version(5), known(Json::of(&"0".repeat(BYTES)).unwrap()));
        assert_eq!(codes.get(&version(5)), None);
    }
}
