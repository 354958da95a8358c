//! Which content runs: finds the action's version, and what intake must know of it.
//!
//! What a version says never changes, so its terms (with the compiled input schema) are kept by content
//! hash; whether an action exists and is enabled is asked every time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::action::Content;
use protocol::error::{Code, Problem};
use protocol::id::{ActionName, ContentHash, Lane, TenantId};
use protocol::ports::Registry;
use protocol::retry::RetryPolicy;
use protocol::schema::Schema;

use crate::trouble;

/// How many contents are kept compiled.
const KEPT: usize = 256;

/// What will run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) action: ActionName,
    /// `None` for an unsaved draft.
    pub(crate) version: Option<u32>,
    pub(crate) content_hash: ContentHash,
    pub(crate) terms: Arc<Terms>,
}

/// What intake must know of a content.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) input: Schema,
    pub(crate) lane: Lane,
    pub(crate) timeout_ms: u64,
    pub(crate) deadline_ms: u64,
    pub(crate) retry: RetryPolicy,
}

impl Terms {
    /// The terms of `content`, whose schema (below the pointer `root`) is compiled for that.
    pub(crate) fn of(root: &str, content: &Content) -> Result<Self, Problem> {
        Ok(Self {
            input: Schema::compile(&content.input_schema, &format!("{root}/input_schema"))?,
            lane: content.lane.clone(),
            timeout_ms: content.timeout_ms,
            deadline_ms: content.deadline_ms,
            retry: content.retry.clone(),
        })
    }
}

/// Terms that were needed lately.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    terms: HashMap<ContentHash, Arc<Terms>>,
    oldest_first: VecDeque<ContentHash>,
}

impl Known {
    fn get(&self, hash: &ContentHash) -> Option<Arc<Terms>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).terms.get(hash).cloned()
    }

    /// Keeps the terms, in the place of the oldest ones if there is no room.
    pub(crate) fn keep(&self, hash: &ContentHash, terms: Terms) -> Arc<Terms> {
        let terms = Arc::new(terms);
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.terms.insert(hash.clone(), Arc::clone(&terms)).is_none() {
            shelf.oldest_first.push_back(hash.clone());
        }
        if shelf.oldest_first.len() > KEPT
            && let Some(oldest) = shelf.oldest_first.pop_front()
        {
            shelf.terms.remove(&oldest);
        }
        terms
    }
}

/// The asked version of a published action, or its latest. `disabled_too` is for tests, which an action
/// must pass before it is enabled.
pub(crate) async fn published(
    registry: &dyn Registry,
    known: &Known,
    tenant: &TenantId,
    name: &ActionName,
    version: Option<u32>,
    disabled_too: bool,
) -> Result<Run, Problem> {
    let action = registry.action(tenant, name).await.map_err(trouble::problem)?;
    let action = action.ok_or_else(|| no_action(name))?;
    if !action.enabled && !disabled_too {
        return Err(Problem::new(Code::ActionDisabled, format!("the action {name} is disabled")));
    }
    let info = match version {
        Some(number) if number != action.latest.number => registry
            .version(tenant, name, number)
            .await
            .map_err(trouble::problem)?
            .ok_or_else(|| no_version(name, number, action.latest.number))?,
        _ => action.latest,
    };
    let terms = match known.get(&info.content_hash) {
        Some(terms) => terms,
        None => {
            let content = registry.content(tenant, &info.content_hash).await.map_err(trouble::problem)?;
            let content = content.ok_or_else(|| gone(name, info.number))?;
            known.keep(&info.content_hash, Terms::of("", &content)?)
        }
    };
    Ok(Run { action: name.clone(), version: Some(info.number), content_hash: info.content_hash, terms })
}

/// There is no such action.
pub(crate) fn no_action(name: impl std::fmt::Display) -> Problem {
    Problem::new(Code::ActionNotFound, format!("there is no action {name}"))
}

/// The action has no such version.
pub(crate) fn no_version(name: &ActionName, number: u32, latest: u32) -> Problem {
    let detail = format!("the action {name} has no version {number}; the latest is {latest}");
    Problem::new(Code::VersionNotFound, detail)
}

/// The version is there, its content is not.
pub(crate) fn gone(name: &ActionName, number: u32) -> Problem {
    Problem::new(Code::VersionGone, format!("the content of {name} version {number} is no longer stored"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_contents_are_kept() {
        let content: Content = serde_json::from_str(r#"{"handler":{"kind":"python","source":"x"}}"#).unwrap();
        let known = Known::default();
        let hash = |number: usize| ContentHash::new(format!("{number:064x}")).unwrap();
        for number in 0..KEPT + 1 {
            known.keep(&hash(number), Terms::of("", &content).unwrap());
            known.keep(&hash(number), Terms::of("", &content).unwrap());
        }
        assert!(known.get(&hash(0)).is_none());
        assert!(known.get(&hash(KEPT)).is_some());
        assert_eq!(known.0.lock().unwrap().terms.len(), KEPT);
    }
}
