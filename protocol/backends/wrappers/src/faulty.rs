//! Ports that fail on demand, for tests of what the rest does then. Without orders they do nothing.
//!
//! Orders name an operation (`store.finish`) or a whole port (`store`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ports::{Kind, PortError, Queue, Registry, Store};
use tokio::sync::Notify;

use crate::around::{Around, Wrapped};

/// A queue that fails as `faults` says.
pub fn queue(inner: Arc<dyn Queue>, faults: &Faults) -> Arc<dyn Queue> {
    Arc::new(Wrapped { inner, around: faults.clone() })
}

/// A store that fails as `faults` says.
pub fn store(inner: Arc<dyn Store>, faults: &Faults) -> Arc<dyn Store> {
    Arc::new(Wrapped { inner, around: faults.clone() })
}

/// A registry that fails as `faults` says.
pub fn registry(inner: Arc<dyn Registry>, faults: &Faults) -> Arc<dyn Registry> {
    Arc::new(Wrapped { inner, around: faults.clone() })
}

/// The faults to come. Cheap to clone; all clones give orders to the same ports.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<HashMap<&'static str, Orders>>,
    changed: Notify,
}

/// What is ordered for one operation or port.
#[derive(Debug, Clone, Default)]
struct Orders {
    fail: u32,
    lose: u32,
    away: bool,
    delay: Duration,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call never reaches the backend.
    Before,
    /// The call is made, and its answer gets lost.
    After,
}

impl Faults {
    /// The next `times` calls of `what` fail as unavailable, and the backend hears nothing of them.
    pub fn fail_next(&self, what: &'static str, times: u32) {
        self.order(what, |orders| orders.fail = times);
    }

    /// The answers of the next `times` calls of `what` get lost: they look timed out. One that fails by
    /// itself fails as it would.
    pub fn lose_next(&self, what: &'static str, times: u32) {
        self.order(what, |orders| orders.lose = times);
    }

    /// While set, every call of `what` fails as unavailable. Consumers of a queue that is away just wait.
    pub fn set_away(&self, what: &'static str, away: bool) {
        self.order(what, |orders| orders.away = away);
    }

    /// Every call of `what` waits so long before anything else; zero ends that.
    pub fn delay(&self, what: &'static str, delay: Duration) {
        self.order(what, |orders| orders.delay = delay);
    }

    /// How many calls of `what` there were so far, failed ones included.
    pub fn calls(&self, what: &'static str) -> u64 {
        self.lock().get(what).map_or(0, |orders| orders.calls)
    }

    fn order(&self, what: &'static str, change: impl FnOnce(&mut Orders)) {
        change(self.lock().entry(what).or_default());
        self.shared.changed.notify_waiters();
    }

    /// What happens to this call of `operation`: an order for the operation goes before one for its port.
    fn next(&self, operation: &'static str) -> (Duration, Option<Fault>) {
        let mut all = self.lock();
        let (mut delay, mut fault) = (Duration::ZERO, None);
        for what in [operation, port(operation)] {
            let orders = all.entry(what).or_default();
            orders.calls += 1;
            delay = delay.max(orders.delay);
            if fault.is_none() {
                fault = orders.take();
            }
        }
        (delay, fault)
    }

    fn is_away(&self, operation: &'static str) -> bool {
        let all = self.lock();
        [operation, port(operation)].iter().any(|what| all.get(what).is_some_and(|orders| orders.away))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Orders>> {
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    fn take(&mut self) -> Option<Fault> {
        if self.away {
            Some(Fault::Before)
        } else if self.fail > 0 {
            self.fail -= 1;
            Some(Fault::Before)
        } else if self.lose > 0 {
            self.lose -= 1;
            Some(Fault::After)
        } else {
            None
        }
    }
}

/// `store` of `store.finish`.
fn port(operation: &'static str) -> &'static str {
    operation.split_once('.').map_or(operation, |(port, _)| port)
}

impl Around for Faults {
    async fn call<T: Send>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, PortError>> + Send,
    ) -> Result<T, PortError> {
        let (delay, fault) = self.next(operation);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            None => call.await,
            Some(Fault::Before) => {
                Err(PortError::new(Kind::Unavailable, operation).because("ordered to fail"))
            }
            Some(Fault::After) => {
                call.await?;
                Err(PortError::new(Kind::Timeout, operation).because("ordered to lose the answer"))
            }
        }
    }

    async fn before_next(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if !self.is_away("queue.next") {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "store.finish";
    const OTHER: &str = "store.claim";

    async fn call(faults: &Faults, operation: &'static str, done: &mut u32) -> Result<(), Kind> {
        let work = async {
            *done += 1;
            Ok(())
        };
        faults.call(operation, work).await.map_err(|error: PortError| error.kind)
    }

    #[tokio::test]
    async fn so_many_calls_of_one_operation_fail_and_no_other() {
        let (faults, mut done) = (Faults::default(), 0);
        faults.fail_next(ONE, 2);
        assert_eq!(call(&faults, OTHER, &mut done).await, Ok(()));
        for _ in 0..2 {
            assert_eq!(call(&faults, ONE, &mut done).await, Err(Kind::Unavailable));
        }
        assert_eq!((call(&faults, ONE, &mut done).await, done), (Ok(()), 2));
        assert_eq!((faults.calls(ONE), faults.calls("store")), (3, 4));
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_work_done() {
        let (faults, mut done) = (Faults::default(), 0);
        faults.lose_next(ONE, 1);
        assert_eq!((call(&faults, ONE, &mut done).await, done), (Err(Kind::Timeout), 1));
        assert_eq!((call(&faults, ONE, &mut done).await, done), (Ok(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_is_away_while_set_and_slow_while_delayed() {
        let (faults, mut done) = (Faults::default(), 0);
        faults.set_away("store", true);
        assert_eq!(call(&faults, ONE, &mut done).await, Err(Kind::Unavailable));
        assert_eq!(call(&faults, "queue.ping", &mut done).await, Ok(()));
        faults.set_away("store", false);
        faults.delay("store", Duration::from_secs(3));
        let asked = tokio::time::Instant::now();
        assert_eq!(call(&faults, ONE, &mut done).await, Ok(()));
        assert_eq!(asked.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn consumers_wait_while_their_queue_is_away() {
        let faults = Faults::default();
        faults.before_next().await;
        faults.set_away("queue", true);
        let waiting = faults.clone();
        let waiting = tokio::spawn(async move { waiting.before_next().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        faults.set_away("queue", false);
        waiting.await.unwrap();
    }
}
