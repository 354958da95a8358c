//! Waking those who wait for a job to change, inside one process.
//!
//! A wake-up carries no data: who is woken reads the store again. So a lost or a needless wake-up does
//! no harm, and a backend may wake everybody after it was disconnected. Only what a backend was told of an end, which never
//! changes, may be kept with it, so that the backend needn't read it for those who wait.

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
    // Counters that each watch compares: unlike a notification, they can't be missed between two looks.
    news: tokio::sync::watch::Sender<Count>,
    hub: Hub,
}

#[derive(Debug, Default)]
struct Count {
    changes: u64,
    ends: u64,
    end: Option<Arc<str>>,
}

/// What happened to a job, as far as whoever wakes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It changed, and isn't over.
    Change,
    /// It is over, or may be.
    End,
}

impl Place {
    fn tell(&self, news: News, end: Option<&str>) {
        self.news.send_modify(|count| {
            count.changes += 1;
            count.ends += u64::from(news == News::End);
            count.end = end.map(Arc::from).or(count.end.take());
        });
    }
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
            let news = tokio::sync::watch::Sender::default();
            let place = Arc::new(Place { job, news, hub: self.clone() });
            places.insert(job, Arc::downgrade(&place));
            place
        });
        let news = place.news.subscribe();
        let ends = news.borrow().ends;
        Watch { _place: place, news, ends }
    }

    /// Wakes those who watch `job` for such news.
    pub fn wake(&self, job: JobId, news: News) {
        if let Some(place) = self.place(job) {
            place.tell(news, None);
        }
    }

    /// Wakes those who watch `job` for its end, and keeps what was told of it as long as somebody does.
    pub fn wake_for_end(&self, job: JobId, told: &str) {
        if let Some(place) = self.place(job) {
            place.tell(News::End, Some(told));
        }
    }

    /// What was told of the job's end, if somebody watches it who was woken for that.
    pub fn told(&self, job: JobId) -> Option<Arc<str>> {
        self.place(job)?.news.borrow().end.clone()
    }

    /// Wakes everyone: after news may have been missed.
    pub fn wake_all(&self) {
        let places: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for place in places {
            place.tell(News::End, None);
        }
    }

    fn place(&self, job: JobId) -> Option<Arc<Place>> {
        self.lock().get(&job).and_then(Weak::upgrade)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Weak<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting place of one reader.
#[derive(Debug)]
pub struct Watch {
    _place: Arc<Place>,
    news: tokio::sync::watch::Receiver<Count>,
    ends: u64,
}

impl Watch {
    /// Returns once the job changed since the watch was made or since the last call returned.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            // The sender lives as long as this watch does; without it nothing can change any more.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the job may have ended since the watch was made or since the last call returned: for who wants
    /// its end alone, and needn't look at each of its changes.
    pub async fn ended(&mut self) {
        loop {
            let ends = self.news.borrow_and_update().ends;
            if ends != self.ends {
                self.ends = ends;
                return;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_change_between_two_looks_is_never_missed() {
        let (hub, job) = (Hub::default(), JobId::generate());
        let mut watch = hub.watch(job);
        hub.wake(job, News::Change);
        watch.changed().await;
        hub.wake_all();
        watch.changed().await;
        watch.ended().await;
    }

    #[tokio::test]
    async fn who_waits_for_the_end_sleeps_through_changes() {
        let (hub, job) = (Hub::default(), JobId::generate());
        let mut watch = hub.watch(job);
        hub.wake(job, News::Change);
        assert!(sleeps(&mut watch).await);
        hub.wake(job, News::End);
        hub.wake(job, News::Change);
        watch.ended().await;
        assert!(sleeps(&mut watch).await);
    }

    #[tokio::test]
    async fn what_was_told_of_an_end_stays_as_long_as_the_job_is_watched() {
        let (hub, job) = (Hub::default(), JobId::generate());
        hub.wake_for_end(job, "nobody hears it");
        assert_eq!(hub.told(job), None);
        let mut watch = hub.watch(job);
        hub.wake_for_end(job, "it");
        hub.wake_all();
        watch.ended().await;
        assert_eq!(hub.told(job).as_deref(), Some("it"));
        drop(watch);
        assert_eq!(hub.told(job), None);
    }

    async fn sleeps(watch: &mut Watch) -> bool {
        let mut ended = pin!(watch.ended());
        poll_fn(|context| Poll::Ready(ended.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn the_last_watch_leaves_nothing_behind() {
        let (hub, job) = (Hub::default(), JobId::generate());
        let (one, two) = (hub.watch(job), hub.watch(job));
        drop(one);
        assert_eq!(hub.lock().len(), 1);
        drop(two);
        assert_eq!(hub.lock().len(), 0);
        hub.wake(job, News::End);
    }
}
