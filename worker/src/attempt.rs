//! One attempt of a job as a chain of named steps: fetch the version and its secrets, claim, perform, check the
//! output, decide, report.
//!
//! Nothing starts before the store granted the claim, and the delivery is acked only when the store knows the
//! ending. Each step takes what the one before gave; a step that gives nothing has dealt with the delivery.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::deadline::Limit;
use protocol::error::{Code, JobError};
use protocol::hub::Watch;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::outcome::{Ending, Outcome};
use protocol::ports::{Claim, Delivery, Finish, Renewal};
use protocol::time::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::backoff;
use crate::contents::Version;
use crate::decide::{Facts, decide};
use crate::events::EventSink;
use crate::handler::{Call, Secrets};
use crate::lease::Hold;
use crate::output;
use crate::patience::{Answer, patiently};
use crate::report::report;
use crate::worker::{Bench, Entry};

/// An attempt that took so long is logged also if it succeeded.
const SLOW: Duration = Duration::from_secs(1);
/// How long a handler that was told to stop is waited for before it is dropped. Handlers promise 150 ms.
const STOPPING: Duration = Duration::from_secs(1);

/// Takes a delivery to its end. The entry is left as soon as its slot is free for another.
pub(crate) async fn run(bench: &Bench, delivery: Delivery, entry: Entry) {
    let Some(fetched) = fetch(bench, delivery).await else { return };
    let Some(claimed) = claim(bench, fetched).await else { return };
    let job = &claimed.job;
    let span = tracing::info_span!(
        "attempt", job = %job.id, attempt = claimed.attempt, action = %job.action, tenant = %job.tenant
    );
    run_claimed(bench, claimed, entry).instrument(span).await;
}

async fn run_claimed(bench: &Bench, mut claimed: Claimed, entry: Entry) {
    let _running = Running::begin(bench);
    let secrets = claimed.secrets.clone().unwrap_or_default();
    let events = EventSink::without_secrets(bench.metrics.clone(), &secrets);
    let slot = entry.slot().await;
    let started = Instant::now();
    let ending = match &slot {
        Some(_) => perform(bench, &mut claimed, &events).await,
        None => Some(Ending::Interrupted),
    };
    drop(slot);
    let took = started.elapsed();
    let Some(ending) = ending else {
        bench.metrics.lost_leases.inc();
        tracing::warn!("another attempt took over, or the job is over: stopped");
        return claimed.delivery.ack();
    };
    let ending = events.clean(ending);
    let ending = match &claimed.version {
        Fetched::Version(version) => output::check(ending, version).await,
        Fetched::Gone | Fetched::TooLate => ending,
    };
    let facts = Facts {
        failures: claimed.failures,
        crashes: claimed.crashes,
        retry: &claimed.job.retry,
        now: Timestamp::now(),
        deadline: claimed.job.deadline,
        jitter: backoff::random,
    };
    let (outcome, verdict) = decide(ending, facts);

    let (name, kind) = (outcome.as_str(), claimed.version.kind());
    bench.metrics.attempts.with_label_values(&[name, kind]).inc();
    bench.metrics.attempt_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Thousands a second that are as they should be would hide the others.
    if matches!(outcome, Outcome::Succeeded) && took < SLOW {
        tracing::debug!(outcome = name, ms, "the attempt ended");
    } else {
        tracing::info!(outcome = name, ms, "the attempt ended");
    }

    let finish = Finish { outcome, verdict, took, last: events.rest() };
    let Claimed { delivery, job, attempt, hold, .. } = claimed;
    report(bench, delivery, &job, attempt, &finish).await;
    // Until here: the job must not be taken over while its ending is being stored.
    drop(hold);
}

/// What fetching the version found.
enum Fetched {
    Version(Arc<Version>),
    /// Its content is no longer stored.
    Gone,
    /// Not looked for: the deadline passed. The claim tells the store.
    TooLate,
}

impl Fetched {
    /// The kind of handler, as in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Version(version) => version.content.handler.kind(),
            Self::Gone | Self::TooLate => "none",
        }
    }
}

/// A delivery with what it takes to run it.
struct Prepared {
    delivery: Delivery,
    job: Arc<JobSpec>,
    version: Fetched,
    secrets: Result<Secrets, Ending>,
}

/// Reads the version's content and its secrets before the claim, so that a registry that is away costs no attempt.
async fn fetch(bench: &Bench, delivery: Delivery) -> Option<Prepared> {
    let job = Arc::new(delivery.job.clone());
    if Timestamp::now() >= job.deadline {
        return Some(Prepared { delivery, job, version: Fetched::TooLate, secrets: Ok(Secrets::default()) });
    }
    let found = patiently(bench, &job, || bench.contents.get(&job.tenant, &job.content_hash)).await;
    let version = match found {
        Answer::Is(Some(version)) => Fetched::Version(version),
        Answer::Is(None) => Fetched::Gone,
        Answer::None(fate) => {
            fate.befalls(delivery);
            return None;
        }
    };
    let secrets = match &version {
        Fetched::Version(version) => {
            patiently(bench, &job, || bench.vault.open(&job.tenant, &version.content)).await
        }
        Fetched::Gone | Fetched::TooLate => Answer::Is(Ok(Secrets::default())),
    };
    match secrets {
        Answer::Is(secrets) => Some(Prepared { delivery, job, version, secrets }),
        Answer::None(fate) => {
            fate.befalls(delivery);
            None
        }
    }
}

/// An attempt that the store granted.
struct Claimed {
    delivery: Delivery,
    job: Arc<JobSpec>,
    version: Fetched,
    /// Open, or why there is no use in starting the handler.
    secrets: Result<Secrets, Ending>,
    attempt: u32,
    failures: u32,
    crashes: u32,
    hold: Hold,
    cancel: Watch,
}

/// Asks the store whether the job may run here and now.
async fn claim(bench: &Bench, prepared: Prepared) -> Option<Claimed> {
    let Prepared { delivery, job, version, secrets } = prepared;
    let isolation = match &version {
        Fetched::Version(version) => bench.handlers.of(&version.content.handler).isolation(),
        Fetched::Gone | Fetched::TooLate => Isolation::None,
    };
    // Made before the claim: a wish to cancel between the two is not missed.
    let cancel = bench.ports.store.watch_cancel(job.id);
    let store = &bench.ports.store;
    let offered = delivery.offered;
    let answer = patiently(bench, &job, || async {
        if offered {
            return store.claim_offered(&job, &bench.id, isolation).await;
        }
        store.claim(&job, &bench.id, isolation).await.map(Some)
    });
    let answer = match answer.await {
        Answer::Is(Some(answer)) => answer,
        // The queue brings it once it is recorded, if it ever is.
        Answer::Is(None) => {
            delivery.release();
            return None;
        }
        Answer::None(fate) => {
            fate.befalls(delivery);
            return None;
        }
    };
    let name = match answer {
        Claim::Granted { .. } => "granted",
        Claim::Held => "held",
        Claim::NotDue => "not_due",
        Claim::Over(_) => "over",
    };
    bench.metrics.claims.with_label_values(&[name]).inc();
    let Claim::Granted { attempt, failures, crashes } = answer else {
        tracing::debug!(job = %job.id, answer = name, "not for this worker now");
        if matches!(answer, Claim::Over(_)) {
            bench.offered.over(job.id);
        }
        delivery.ack();
        return None;
    };
    let hold = bench.leases.hold(job.clone(), attempt);
    Some(Claimed { delivery, job, version, secrets, attempt, failures, crashes, hold, cancel })
}

/// Runs the handler under everything that can end it. `None` if the attempt was lost: nothing more can be
/// written.
async fn perform(bench: &Bench, claimed: &mut Claimed, events: &EventSink) -> Option<Ending> {
    let job = claimed.job.clone();
    let version = match &claimed.version {
        Fetched::Version(version) => version.clone(),
        Fetched::Gone => return Some(version_gone(&job)),
        Fetched::TooLate => return Some(Ending::DeadlinePassed),
    };
    let limit = Limit::of(Timestamp::now(), job.timeout().min(version.content.timeout()), job.deadline);
    if limit.duration().is_zero() {
        return Some(Ending::DeadlinePassed);
    }
    let secrets = match &claimed.secrets {
        Ok(secrets) => secrets.clone(),
        Err(ending) => return Some(ending.clone()),
    };
    let (attempt, content) = (claimed.attempt, version.content.clone());
    let call = Call { spec: job.clone(), attempt, content, secrets, limit };
    let stop = CancellationToken::new();
    // Whatever happens to this future, the handler hears of it.
    let _stop_on_drop = stop.clone().drop_guard();
    let handler = bench.handlers.of(&version.content.handler);
    let mut running = pin!(handler.run(call, events.clone(), stop.clone()));

    let cause = tokio::select! {
        biased;
        ending = &mut running => {
            events.close();
            let fault = events.fault().map(broken_limit);
            return Some(fault.unwrap_or(ending));
        }
        cause = stopped(bench, claimed, events, limit) => cause,
    };
    tracing::debug!(?cause, "the handler is told to stop");
    events.close();
    stop.cancel();
    match timeout(STOPPING, running).await {
        // It had answered in time: what was left of the call had still to be removed.
        Ok(ending @ (Ending::Returned(_) | Ending::Failed { .. })) if matches!(cause, Cause::Limit(_)) => {
            return Some(ending);
        }
        Ok(_) => {}
        Err(_) => {
            bench.metrics.stuck_handlers.inc();
            tracing::error!("the handler did not stop in time and is dropped");
        }
    }
    cause.ending()
}

/// What stopped a handler that did not end by itself.
#[derive(Debug)]
enum Cause {
    Limit(Limit),
    Cancelled,
    Lost,
    Interrupted,
    BrokenLimit(JobError),
}

impl Cause {
    fn ending(self) -> Option<Ending> {
        match self {
            Self::Limit(Limit::Deadline(_)) => Some(Ending::DeadlinePassed),
            Self::Limit(Limit::Timeout(time)) => {
                let message = format!("the attempt used up its timeout of {} ms", time.as_millis());
                Some(Ending::TimedOut(JobError::new(Code::HandlerTimedOut, message)))
            }
            Self::Cancelled => Some(Ending::Cancelled),
            Self::Lost => None,
            Self::Interrupted => Some(Ending::Interrupted),
            Self::BrokenLimit(error) => Some(broken_limit(error)),
        }
    }
}

/// Keeps the attempt supplied while its handler runs (lease, events), until something must stop it.
async fn stopped(bench: &Bench, claimed: &mut Claimed, events: &EventSink, limit: Limit) -> Cause {
    let Claimed { job, attempt, hold, cancel, .. } = claimed;
    tokio::select! {
        () = sleep(limit.duration()) => Cause::Limit(limit),
        renewal = ended(hold, cancel) => match renewal {
            Renewal::CancelRequested => Cause::Cancelled,
            Renewal::Held | Renewal::Lost => Cause::Lost,
        },
        _ = events.pump(&*bench.ports.store, job, *attempt) => Cause::Lost,
        error = events.faulted() => Cause::BrokenLimit(error),
        () = bench.interrupt.cancelled() => Cause::Interrupted,
    }
}

/// Waits until the store says that the attempt must stop. A wish to cancel only wakes; what it means, the
/// renewal tells.
async fn ended(hold: &Hold, cancel: &mut Watch) -> Renewal {
    loop {
        tokio::select! {
            renewal = hold.ended() => return renewal,
            () = cancel.changed() => hold.renew().await,
        }
    }
}

fn version_gone(job: &JobSpec) -> Ending {
    let message = format!("the content {} of {} is no longer stored", job.content_hash, job.action);
    Ending::Failed { error: JobError::new(Code::VersionGone, message), retryable: false, retry_after: None }
}

/// A handler that breaks a limit would break it again.
fn broken_limit(error: JobError) -> Ending {
    Ending::Failed { error, retryable: false, retry_after: None }
}

/// Counts a running attempt for as long as it lives.
struct Running<'a>(&'a Bench);

impl<'a> Running<'a> {
    fn begin(bench: &'a Bench) -> Self {
        bench.metrics.running_attempts.inc();
        Self(bench)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.metrics.running_attempts.dec();
    }
}
