//! Holding what runs: one task renews the leases of all running attempts in one call, every third of a lease,
//! and tells each attempt that must stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::job::JobSpec;
use protocol::ports::{Renewal, Store};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The leases of all attempts that run in this worker.
pub(crate) struct Leases {
    store: Arc<dyn Store>,
    every: Duration,
    held: Mutex<HashMap<u64, Held>>,
    next: AtomicU64,
}

struct Held {
    job: Arc<JobSpec>,
    attempt: u32,
    since: Instant,
    news: watch::Sender<Renewal>,
}

impl Leases {
    pub(crate) fn new(store: Arc<dyn Store>, lease: Duration) -> Self {
        Self { store, every: lease / 3, held: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Holds the lease of an attempt that was just claimed, until the hold is dropped.
    pub(crate) fn hold(self: &Arc<Self>, job: Arc<JobSpec>, attempt: u32) -> Hold {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, news) = watch::channel(Renewal::Held);
        self.lock().insert(id, Held { job, attempt, since: Instant::now(), news: sender });
        Hold { leases: self.clone(), id, news }
    }

    /// Renews for ever.
    pub(crate) async fn keep(&self) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // An attempt younger than half a period still has more than half of its lease at the next tick.
            let young = self.every / 2;
            self.renew(|_, held| held.since.elapsed() >= young).await;
        }
    }

    async fn renew(&self, which: impl Fn(u64, &Held) -> bool) {
        let due: Vec<_> = self
            .lock()
            .iter()
            .filter(|(id, held)| which(**id, held))
            .map(|(id, held)| (*id, held.job.clone(), held.attempt))
            .collect();
        if due.is_empty() {
            return;
        }
        let attempts: Vec<_> = due.iter().map(|(_, job, attempt)| (&**job, *attempt)).collect();
        match self.store.renew(&attempts).await {
            Ok(answers) => {
                let held = self.lock();
                for ((id, ..), answer) in due.iter().zip(answers) {
                    if let Some(held) = held.get(id) {
                        held.news.send_if_modified(|news| news_of(news, answer));
                    }
                }
            }
            // Whether the lease lapsed meanwhile, only the store can say: the attempt goes on.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "leases could not be renewed");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes an answer; true if it says something new. What was lost stays lost, and nobody takes back a wish to
/// cancel.
fn news_of(news: &mut Renewal, answer: Renewal) -> bool {
    let new = match (*news, answer) {
        (Renewal::Held, answer) => answer != Renewal::Held,
        (Renewal::CancelRequested, answer) => answer == Renewal::Lost,
        (Renewal::Lost, _) => false,
    };
    if new {
        *news = answer;
    }
    new
}

/// The held lease of one attempt.
pub(crate) struct Hold {
    leases: Arc<Leases>,
    id: u64,
    news: watch::Receiver<Renewal>,
}

impl Hold {
    /// Waits until the attempt must stop, and says why: anything but `Held`.
    pub(crate) async fn ended(&self) -> Renewal {
        let mut news = self.news.clone();
        let answer = news.wait_for(|answer| *answer != Renewal::Held).await.map(|answer| *answer);
        match answer {
            Ok(answer) => answer,
            // The sender goes when this hold does.
            Err(_) => std::future::pending().await,
        }
    }

    /// Renews this lease now, to learn at once what changed.
    pub(crate) async fn renew(&self) {
        self.leases.renew(|id, _| id == self.id).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_only_get_worse() {
        use Renewal::{CancelRequested, Held, Lost};
        for (old, answer, new) in [
            (Held, Held, Held),
            (Held, CancelRequested, CancelRequested),
            (CancelRequested, Held, CancelRequested),
            (CancelRequested, Lost, Lost),
            (Lost, Held, Lost),
        ] {
            let mut news = old;
            assert_eq!(news_of(&mut news, answer), old != new);
            assert_eq!(news, new);
        }
    }
}
