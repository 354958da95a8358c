//! The store: jobs, their attempts and their events. It is the authority on what runs.
//!
//! Every method is one atomic step; only `claim` may take several, each of which leaves what a sweep could have
//! left. Who calls again after an error does no harm: creating twice gives the same job, finishing twice is told
//! `Late`, appending twice adds once. Instants in records come from the store's own clock.
//!
//! **Fencing.** A claim gives an attempt number; only the newest attempt may renew, append or finish, and
//! only until it has ended.
//! **Lease.** A claim holds for a lease, which the worker renews; a lapsed lease means that the worker is
//! gone, and `reap` or the next claim counts that as a crash.
//! **Outbox.** A job that must be published carries a mark from the same atomic step that made it so;
//! `published` clears it, and `outbox` finds marks that stayed.
//! **Healing.** `claim`, `renew`, `append` and `finish` carry the whole spec: where the store lost its
//! newest writes (the job, or an attempt, is unknown to it), they first restore what is missing.
//! **Events.** Every change of state is told by one event from the same atomic step: an end by its `result`
//! event alone, any other change by a `state` event. Both carry the number of the newest attempt, 0 before
//! the first. Every change is one of [`JobState::may_become`]: a crashed attempt is followed by `queued`
//! (`worker_lost`) before the next one is `running`.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::PortError;
use crate::event::{Event, EventBatch};
use crate::hub::Watch;
use crate::id::{ActionName, ContentHash, JobId, Lane, TenantId, WorkerId};
use crate::isolation::Isolation;
use crate::job::{Job, JobSpec};
use crate::outcome::{Outcome, Verdict};
use crate::state::JobState;

/// Where jobs are recorded.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records a job as `queued` with an outbox mark, or as `scheduled` if its `run_at` is in the future.
    /// A job id that is recorded already is [`Created::Same`].
    async fn create(&self, job: NewJob) -> Result<Created, PortError>;

    /// Clears the outbox marks of jobs that are on the queue. A mark that is newer than the publish stays if the job has
    /// been started before: it may have been queued again since, and must be published once more.
    async fn published(&self, jobs: &[Confirmed]) -> Result<(), PortError>;

    /// Starts the next attempt of a job that was delivered. First ends what must be ended: a job past its
    /// deadline becomes `expired` (one whose attempt is still held, after the grace only: see
    /// [`Store::expire`]); a previous attempt whose lease lapsed is counted as a crash, at
    /// [`StoreOptions::crashes`] the job becomes `failed` with `worker_crashed` and a dead letter (attempts
    /// that `finish` recorded as crashed count too), and `cancelled` if its cancellation was asked for.
    /// The attempt keeps who runs it and under which isolation.
    async fn claim(&self, job: &JobSpec, worker: &WorkerId, isolation: Isolation)
    -> Result<Claim, PortError>;

    /// The same for a job that was offered. An offer is no proof that the job was recorded: one that the store doesn't know is
    /// not restored, and the answer is `None`.
    async fn claim_offered(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, PortError>;

    /// Holds attempts for another lease. One answer for each, in order. A lease that lapsed unnoticed (no
    /// `reap` or `claim` came across it) is held again.
    async fn renew(&self, attempts: &[(&JobSpec, u32)]) -> Result<Vec<Renewal>, PortError>;

    /// Adds events to the stream of an attempt, skipping those that it already has. Ordinals that never came
    /// (lost with the store's newest writes) leave no gap in the numbers.
    async fn append(&self, job: &JobSpec, attempt: u32, batch: &EventBatch) -> Result<Appended, PortError>;

    /// Ends an attempt: adds its last events, records its outcome, and moves the job as the verdict says,
    /// with the `state` or `result` event that tells it. The first terminal write wins. The attempt keeps the
    /// error of `Fail` and `Retry`. Where cancellation was asked for, `Retry` and `Requeue` end as `Cancel`:
    /// no further attempt starts.
    async fn finish(&self, job: &JobSpec, attempt: u32, finish: &Finish) -> Result<Finished, PortError>;

    /// Asks to cancel. A job that doesn't run is `cancelled` at once; a running one when its worker has
    /// killed the handler (or lost its lease).
    async fn cancel(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError>;

    /// The job as it is now; `None` if there is none, it is another tenant's, or its retention is over.
    async fn get(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>, PortError>;

    /// The same of a job that was read or created before: what never changes needn't be read again. Where the job is watched, the
    /// answer may be what the news of its end had.
    async fn again(&self, job: &Job) -> Result<Option<Job>, PortError> {
        self.get(&job.spec.tenant, job.spec.id).await
    }

    /// Events numbered higher than `after`, at most `limit` of them, in order. Who has read some of a job that isn't over
    /// has its watches woken by every further change.
    async fn events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventsPage>, PortError>;

    /// Jobs of a tenant, newest first.
    async fn list(&self, tenant: &TenantId, filter: &JobFilter) -> Result<JobsPage, PortError>;

    /// How long calls of a version have taken lately, as far as this process has heard: nothing until a job of it has ended
    /// after this was first asked.
    fn pace(&self, content: &ContentHash) -> Option<Duration>;

    /// A watch that wakes when the job is over; once somebody has read its [`Store::events`], also when it changes or gets
    /// events. Make it first, then read.
    fn watch(&self, job: JobId) -> Watch;

    /// A watch that wakes when someone asks to cancel the job: for the worker that runs it, which then
    /// renews to learn whether it must stop.
    fn watch_cancel(&self, job: JobId) -> Watch;

    /// Tells one worker that waits for [`Store::offers`] of the lane, if there is one, that this job is being recorded. A hint,
    /// and nothing more: the worker may start the job before the queue brings it, if `claim` says so, and the queue must bring it
    /// all the same. May be called beside `create`. True if somebody was told.
    async fn offer(&self, job: &JobSpec) -> Result<bool, PortError>;

    /// What is offered to this worker, which serves these lanes.
    fn offers(&self, worker: &WorkerId, lanes: &[Lane]) -> Box<dyn Offers>;

    /// Jobs whose outbox mark is older than `age`, to be published again. Takes them: another caller gets
    /// them again only after a further `age`. Marks of jobs that are no longer queued are dropped.
    async fn outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, PortError>;

    /// Moves scheduled jobs whose time has come to `queued` (`awaiting_worker`) with an outbox mark, and
    /// returns them.
    async fn due(&self, limit: usize) -> Result<Vec<JobSpec>, PortError>;

    /// Ends running attempts whose lease lapsed, as `claim` would, and returns the jobs that are queued
    /// again (with an outbox mark). A job whose cancellation was asked for becomes `cancelled` instead.
    async fn reap(&self, limit: usize) -> Result<Vec<JobSpec>, PortError>;

    /// Ends jobs past their deadline as `expired`: those that don't run at once, running ones after
    /// [`crate::deadline::GRACE`]. Returns how many.
    async fn expire(&self, limit: usize) -> Result<usize, PortError>;

    /// Finished jobs with a reply address whose answer was not yet sent. Takes them as `outbox` does, but
    /// gives a fresh one at once.
    async fn replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, PortError>;

    /// The answer of this job was sent.
    async fn replied(&self, job: JobId) -> Result<(), PortError>;

    /// Removes finished jobs whose retention is over. Returns how many. A backend whose server does this by
    /// itself removes what points to them.
    async fn remove_old(&self, limit: usize) -> Result<usize, PortError>;

    /// Whether reading and writing would work now: an answer within two seconds.
    async fn ping(&self) -> Result<(), PortError>;
}

/// Jobs that are offered to a worker as soon as they are recorded.
#[async_trait]
pub trait Offers: Send {
    /// Waits for an offer: until then the worker counts as one with nothing to do. Safe to cancel; an offer that comes while
    /// nobody waits is lost, as any may be.
    async fn next(&mut self) -> JobSpec;
}

/// Times and limits that a store keeps. The same for every process of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How long a finished job, and an idempotency key, is kept.
    pub retention: Duration,
    /// Attempts that ended without an answer after which a job is given up.
    pub crashes: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_millis(1_500),
            retention: crate::limits::RETENTION,
            crashes: crate::limits::CRASHES,
        }
    }
}

/// A job to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What was asked for.
    pub spec: JobSpec,
    /// The caller's own key for this request.
    pub idempotency: Option<Idempotency>,
}

/// The same key with the same fingerprint gives the same job, for the time of the retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Unique within the tenant.
    pub key: String,
    /// A hash of what was asked for.
    pub fingerprint: String,
}

/// What `create` made of a new job.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It was recorded.
    New(Box<Job>),
    /// The same request had been recorded before, as this job. Its mark may still be in the outbox.
    Same(Box<Job>),
    /// The idempotency key belongs to another request.
    Conflict,
}

/// A job that the queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The job.
    pub job: JobId,
    /// When publishing it began. Marks that are newer stay, but for milliseconds: clocks differ, so a store may only
    /// be told how long ago that was, and the telling takes time.
    pub began: Instant,
}

/// What `claim` made of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Run it: this is attempt `attempt`, and `failures` attempts failed and `crashes` crashed before it.
    Granted {
        /// The attempt's number.
        attempt: u32,
        /// Attempts that failed or timed out before: what the retry policy counts.
        failures: u32,
        /// Attempts that ended without an answer before: what the crash limit counts.
        crashes: u32,
    },
    /// Another attempt holds a live lease. Ack the delivery: should that lease lapse, the job is published
    /// again.
    Held,
    /// Scheduled for later, or waiting for input. Ack the delivery: the job is published again in time.
    NotDue,
    /// It is over, with this state. Ack the delivery.
    Over(JobState),
}

/// What `renew` says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Held for another lease.
    Held,
    /// Held for another lease, and someone asked to cancel the job.
    CancelRequested,
    /// No longer the newest attempt, or the job is over: stop, nothing more can be written.
    Lost,
}

/// What `append` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The events are in the stream.
    Stored,
    /// No longer the newest attempt, or the job is over: nothing was added.
    Lost,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The attempt's outcome.
    pub outcome: Outcome,
    /// What becomes of the job.
    pub verdict: Verdict,
    /// How long the attempt took.
    pub took: Duration,
    /// Events not yet appended.
    pub last: EventBatch,
}

impl Finish {
    /// What the attempt says of how long calls of its version take: nothing where it was stopped, or never begun.
    pub const fn pace(&self) -> Option<Duration> {
        match self.verdict {
            Verdict::Succeed(_) | Verdict::Fail(_) | Verdict::Retry { .. } => Some(self.took),
            Verdict::Expire | Verdict::Cancel | Verdict::Requeue => None,
        }
    }
}

/// What `finish` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The job moved as the verdict said.
    Recorded,
    /// The attempt was no longer the newest, or the job was over: nothing was written.
    Late,
}

/// What a request to cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job is cancelled now.
    Now,
    /// It runs; its worker has been asked.
    Asked,
    /// It was over already, with this state.
    Over(JobState),
    /// There is no such job.
    NotFound,
}

/// Some events of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsPage {
    /// The events.
    pub events: Vec<Event>,
    /// True if the last event of the job (its `result`) is among them or before them: no more will come.
    pub ended: bool,
}

/// Which jobs a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only these states; all if empty.
    pub states: Vec<JobState>,
    /// Only this action.
    pub action: Option<ActionName>,
    /// Only jobs that have this label with this value.
    pub label: Option<(String, String)>,
    /// Only dead letters.
    pub dead_letters: bool,
    /// Only jobs made before this one: the last of the page before.
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct JobsPage {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// Where the next page starts (`JobFilter::before`), if there may be more.
    pub next: Option<JobId>,
}
