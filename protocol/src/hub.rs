//! Waking those who wait for a job to change, inside one process.
//!
//! A wake-up carries no data: who is woken reads the store again. So a lost or a needless wake-up does
//! no harm, and a backend may wake everybody after it was disconnected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::id::JobId;

/// The waiting places, by job. Cheap to clone; all clones are one hub.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    places: Arc<Mutex<HashMap<JobId, Weak<Place>>>>,
}

#[derive(Debug)]
struct Place {
    job: JobId,
    // A counter that each watch compares: unlike a notification, it can't be missed between two looks.
    changes: tokio::sync::watch::Sender<u64>,
    hub: Hub,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.hub.lock();
        // A new place for the same job may have been made in the meantime.
        if places.get(&self.job).is_some_and(|place| place.strong_count() == 0) {
            places.remove(&self.job);
        }
    }
}

impl Hub {
    /// A watch on `job`. Changes from now on wake it; read the store after making it, not before.
    pub fn watch(&self, job: JobId) -> Watch {
        let mut places = self.lock();
        let place = places.get(&job).and_then(Weak::upgrade).unwrap_or_else(|| {
            let changes = tokio::sync::watch::Sender::new(0);
            let place = Arc::new(Place { job, changes, hub: self.clone() });
            places.insert(job, Arc::downgrade(&place));
            place
        });
        let changes = place.changes.subscribe();
        Watch { _place: place, changes }
    }

    /// Wakes everyone who watches `job`.
    pub fn wake(&self, job: JobId) {
        let place = self.lock().get(&job).and_then(Weak::upgrade);
        if let Some(place) = place {
            place.changes.send_modify(|count| *count += 1);
        }
    }

    /// Wakes everyone: after news may have been missed.
    pub fn wake_all(&self) {
        let places: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for place in places {
            place.changes.send_modify(|count| *count += 1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Weak<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting place of one reader.
#[derive(Debug)]
pub struct Watch {
    _place: Arc<Place>,
    changes: tokio::sync::watch::Receiver<u64>,
}

impl Watch {
    /// Returns once the job changed since the watch was made or since the last call returned.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender lives as long as this watch does; without it nothing can change any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_two_looks_is_never_missed() {
        let (hub, job) = (Hub::default(), JobId::generate());
        let mut watch = hub.watch(job);
        hub.wake(job);
        watch.changed().await;
        hub.wake_all();
        watch.changed().await;
    }

    #[tokio::test]
    async fn the_last_watch_leaves_nothing_behind() {
        let (hub, job) = (Hub::default(), JobId::generate());
        let (one, two) = (hub.watch(job), hub.watch(job));
        drop(one);
        assert_eq!(hub.lock().len(), 1);
        drop(two);
        assert_eq!(hub.lock().len(), 0);
        hub.wake(job);
    }
}
