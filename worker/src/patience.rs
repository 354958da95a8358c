//! Asking a port before the claim, when nothing is lost by waiting or by giving the delivery back.

use protocol::job::JobSpec;
use protocol::ports::{Delivery, Kind, PortError};
use protocol::time::Timestamp;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::worker::Bench;

/// What a port answered before the claim, or what becomes of the delivery instead.
pub(crate) enum Answer<T> {
    /// This.
    Is(T),
    /// There was none in time.
    None(Fate),
}

/// What becomes of a delivery that was not claimed.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// Another worker may have more luck.
    Release,
    /// Nobody can run it.
    PutAside,
}

impl Fate {
    /// Does it.
    pub(crate) fn befalls(self, delivery: Delivery) {
        match self {
            Self::Release => delivery.release(),
            Self::PutAside => delivery.dead_letter("what is stored for the job can't be read"),
        }
    }
}

/// Calls a port until it answers: with growing pauses, while the job has time and the worker isn't stopped.
pub(crate) async fn patiently<T, F>(bench: &Bench, job: &JobSpec, call: impl Fn() -> F) -> Answer<T>
where
    F: Future<Output = Result<T, PortError>>,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match call().await {
            Ok(answer) => return Answer::Is(answer),
            Err(error) => error,
        };
        tracing::warn!(job = %job.id, error = &error as &dyn std::error::Error, "a delivery waits");
        if error.kind == Kind::Corrupt {
            return Answer::None(Fate::PutAside);
        }
        let left = job.deadline.since(Timestamp::now());
        tokio::select! {
            () = backoff.wait() => {}
            () = bench.draining.cancelled() => return Answer::None(Fate::Release),
            // Past the deadline it stays here: given back, it would come again at once, to be told the same.
            () = sleep(left), if !left.is_zero() => return Answer::None(Fate::Release),
        }
    }
}
