//! How many slots have the libraries loaded, and how many of them are wanted: how many are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::loaded::Loaded;

/// The count of all slots. Each holds what it counts for, so none is forgotten.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Held by each slot that has the libraries.
    had: Arc<()>,
    /// Held by each slot that is lent to a call that wants them, until it is ready for the next.
    wanted: Arc<()>,
    /// The most that were wanted at once since it was looked at last.
    most: AtomicUsize,
    /// How many were too many then, and still have them.
    surplus: AtomicUsize,
}

/// What a slot has loaded, and counts for.
#[derive(Debug)]
pub(super) struct Fitting {
    loaded: Loaded,
    _had: Option<Arc<()>>,
    wanted: Option<Arc<()>>,
}

impl Demand {
    /// For a slot with this loaded.
    pub(super) fn fit(&self, loaded: Loaded) -> Fitting {
        let had = (loaded == Loaded::Libraries).then(|| self.had.clone());
        Fitting { loaded, _had: had, wanted: None }
    }

    /// The slot is lent to a call that wants the libraries.
    pub(super) fn lend(&self, fitting: &mut Fitting) {
        fitting.wanted = Some(self.wanted.clone());
        self.most.fetch_max(holders(&self.wanted), Ordering::Relaxed);
    }

    /// Looks how many slots have them beyond those that were wanted at once since the last look; so many are to go. One is
    /// left in any case: whoever wants it now and then finds it.
    pub(super) fn look(&self) -> usize {
        let most = self.most.swap(holders(&self.wanted), Ordering::Relaxed);
        let surplus = holders(&self.had).saturating_sub(most.max(1));
        self.surplus.store(surplus, Ordering::Relaxed);
        surplus
    }

    /// True if this is a slot that is too many. It is to go then.
    pub(super) fn take_surplus(&self, fitting: &Fitting) -> bool {
        let less = |surplus: usize| surplus.checked_sub(1);
        fitting.loaded == Loaded::Libraries
            && self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Fitting {
    /// What is loaded.
    pub(super) const fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// The slot is ready for another call.
    pub(super) fn give_back(&mut self) {
        self.wanted = None;
    }
}

/// How many slots hold it.
fn holders(token: &Arc<()>) -> usize {
    Arc::strong_count(token) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_at_once_is_too_many_but_for_one() {
        let demand = Demand::default();
        let mut slots: Vec<_> = (0..4).map(|_| demand.fit(Loaded::Libraries)).collect();
        slots.push(demand.fit(Loaded::Core));
        let surplus = || demand.look();
        slots.iter_mut().take(3).for_each(|slot| demand.lend(slot));
        slots[0].give_back();
        assert_eq!(surplus(), 1, "three were wanted");
        slots[1].give_back();
        assert_eq!(surplus(), 2, "two still were when it was asked last");
        assert!(!demand.take_surplus(&slots[4]), "it has none");
        assert!(demand.take_surplus(&slots[2]) && demand.take_surplus(&slots[3]));
        assert!(!demand.take_surplus(&slots[1]) && demand.surplus.load(Ordering::Relaxed) == 0);
        slots.drain(2..4);
        assert_eq!(surplus(), 1, "one was wanted");
        slots.remove(0);
        assert_eq!(surplus(), 0, "the last one stays");
    }
}
