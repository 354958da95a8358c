//! The loop of every sweep: step until there is nothing to do, rest, and survive every error.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use protocol::job::JobSpec;
use protocol::ports::PortError;
use protocol::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::intake::publish::publish;
use crate::trouble;

/// The longest rest after an error.
const LONGEST: Duration = Duration::from_secs(1);
/// A time between two steps that is longer than it should be by more than this, by the wall clock, which leases are counted
/// by, was sleep.
const ASLEEP: Duration = Duration::from_secs(1);
/// Jobs that one step takes.
pub(super) const BATCH: usize = 128;
/// Publishes under way at the same time.
const AT_ONCE: usize = 64;

/// One sweep.
pub(super) struct Sweep<'a> {
    /// Its name in metrics and the log.
    pub(super) name: &'static str,
    /// The time between two steps, the first of which found nothing.
    pub(super) every: Duration,
    /// Ends the rest early.
    pub(super) wake: Option<&'a Notify>,
    /// How long it holds still before its first step, and once the store, which was away, answers again, or this
    /// process, which was asleep, goes on.
    pub(super) mercy: Duration,
}

impl Sweep<'_> {
    /// A sweep that rests for `every` and holds for nothing.
    pub(super) const fn new(name: &'static str, every: Duration) -> Self {
        Self { name, every, wake: None, mercy: Duration::ZERO }
    }

    /// Steps until `stop`. A step returns how many jobs it took; it is repeated at once until it takes none.
    pub(super) async fn run<F>(
        self,
        dispatcher: &Dispatcher,
        stop: &CancellationToken,
        mut step: impl FnMut() -> F,
    ) where
        F: Future<Output = Result<usize, PortError>>,
    {
        let mut troubles = 0_u32;
        let mut awake = None;
        while !stop.is_cancelled() {
            let stepped = async {
                if troubles > 0 || awake.is_none_or(|last| Timestamp::now().since(last) > self.every + ASLEEP)
                {
                    self.hold(dispatcher, stop).await?;
                }
                if stop.is_cancelled() { Ok(0) } else { step().await }
            };
            let stepped = stepped.await;
            awake = Some(Timestamp::now());
            match stepped {
                Ok(taken) => {
                    if troubles > 0 {
                        tracing::info!(sweep = self.name, "the sweep works again");
                    }
                    troubles = 0;
                    if taken > 0 {
                        dispatcher.metrics().swept(self.name, taken);
                        continue;
                    }
                }
                Err(error) => {
                    if troubles == 0 {
                        tracing::warn!(
                            sweep = self.name,
                            cause = trouble::causes(&error),
                            "the sweep failed"
                        );
                    }
                    troubles = troubles.saturating_add(1);
                }
            }
            let next = match troubles {
                0 => dispatcher.beat().next(self.every),
                _ => Instant::now() + rest(self.every, troubles, random()),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(next) => {}
                () = woken(self.wake) => {}
            }
        }
    }

    /// Holds still for `mercy`, counted from when the store answers.
    async fn hold(&self, dispatcher: &Dispatcher, stop: &CancellationToken) -> Result<(), PortError> {
        if !self.mercy.is_zero() {
            dispatcher.store().ping().await?;
            stop.run_until_cancelled(tokio::time::sleep(self.mercy)).await;
        }
        Ok(())
    }
}

/// Publishes jobs that the store handed out, many at once. While the queue is away they are left to the
/// outbox: each has its mark.
pub(super) async fn publish_all(dispatcher: &Dispatcher, jobs: Vec<JobSpec>) {
    let publishing = futures_util::stream::iter(jobs).for_each_concurrent(AT_ONCE, |job| async move {
        if !dispatcher.queue_health().is_away() {
            publish(dispatcher, &job, 1).await;
        }
    });
    publishing.await;
}

/// A pause of about `pause`, so that dispatchers which were started together don't step together.
pub(super) fn jittered(pause: Duration) -> Duration {
    rest(pause, 0, random())
}

/// The rest after `troubles` errors in a row; `random` in 0..=1 moves it by up to a fifth.
fn rest(every: Duration, troubles: u32, random: f64) -> Duration {
    let longer = every.saturating_mul(1 << troubles.min(6)).min(LONGEST.max(every));
    longer.mul_f64(0.9 + 0.2 * random)
}

/// A number in 0..=1.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

async fn woken(wake: Option<&Notify>) {
    match wake {
        Some(notify) => notify.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lengthen_the_rest_up_to_a_bound() {
        let every = Duration::from_millis(200);
        let rests: Vec<_> = [0, 1, 2, 5, 60].map(|troubles| rest(every, troubles, 0.5).as_millis()).into();
        assert_eq!(rests, [200, 400, 800, 1_000, 1_000]);
        assert_eq!(rest(Duration::from_secs(60), 9, 0.5), Duration::from_secs(60));
        assert_eq!(rest(every, 0, 0.0).as_millis(), 180);
        assert_eq!(rest(every, 0, 1.0).as_millis(), 220);
    }
}
