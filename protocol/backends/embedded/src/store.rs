//! The store: each method of the port is one operation of the writer or one query of a reader. What they
//! do stands in the modules below, as methods of [`Work`].

mod attempt;
mod cancel;
mod change;
mod claim;
mod create;
mod head;
mod offers;
mod read;
mod sweep;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::event::EventBatch;
use protocol::hub::{Hub, Watch};
use protocol::id::{ContentHash, JobId, Lane, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::pace::{PaceKey, Paces};
use protocol::ports::{
    Appended, Cancelled, Claim, Confirmed, Created, EventsPage, Finish, Finished, JobFilter, JobsPage,
    NewJob, Offers, PortError, Renewal, Store, StoreOptions,
};
use protocol::time::Timestamp;

use crate::connection::Database;
use crate::error::Failure;
use crate::writer::{Durability, Tx};
use Durability::{Durable, DurableAnswer, Relaxed};
use offers::Idle;

/// The store in the file.
pub(crate) struct Jobs {
    database: Arc<Database>,
    options: StoreOptions,
    hubs: Hubs,
    paces: Paces,
    idle: Idle,
}

#[derive(Clone, Default)]
struct Hubs {
    changes: Hub,
    cancels: Hub,
}

/// One operation of the store: the transaction it runs in, and what it goes by.
struct Work<'a> {
    tx: &'a Tx<'a>,
    options: StoreOptions,
    hubs: Hubs,
}

impl<'a> Deref for Work<'a> {
    type Target = Tx<'a>;
    fn deref(&self) -> &Tx<'a> {
        self.tx
    }
}

impl Jobs {
    /// The store of `database`.
    pub(crate) fn new(database: Arc<Database>, options: StoreOptions) -> Self {
        Self { database, options, hubs: Hubs::default(), paces: Paces::default(), idle: Idle::default() }
    }

    async fn work<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Work<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let (options, hubs) = (self.options, self.hubs.clone());
        let order = self.database.write(operation, durability, move |tx| work(&Work { tx, options, hubs }));
        order.await
    }
}

#[async_trait]
impl Store for Jobs {
    async fn create(&self, job: NewJob) -> Result<Created, PortError> {
        self.work("store.create", DurableAnswer, move |work| work.create(job)).await
    }

    async fn published(&self, jobs: &[Confirmed]) -> Result<(), PortError> {
        let jobs: Vec<_> = jobs.iter().map(create::latest_mark).collect();
        self.work("store.published", Relaxed, move |work| work.published(&jobs)).await
    }

    async fn claim(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, PortError> {
        let (job, worker) = (job.clone(), worker.clone());
        self.work("store.claim", Relaxed, move |work| work.claim(&job, &worker, isolation)).await
    }

    async fn claim_offered(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, PortError> {
        let (job, worker) = (job.clone(), worker.clone());
        let claim = move |work: &Work<'_>| work.claim_known(&job, &worker, isolation);
        self.work("store.claim", Relaxed, claim).await
    }

    async fn renew(&self, attempts: &[(&JobSpec, u32)]) -> Result<Vec<Renewal>, PortError> {
        let attempts: Vec<_> =
            attempts.iter().map(|(job, attempt)| (JobSpec::clone(job), *attempt)).collect();
        let renew =
            move |work: &Work<'_>| attempts.iter().map(|(job, attempt)| work.renew(job, *attempt)).collect();
        self.work("store.renew", Relaxed, renew).await
    }

    async fn append(&self, job: &JobSpec, attempt: u32, batch: &EventBatch) -> Result<Appended, PortError> {
        let (job, batch) = (job.clone(), batch.clone());
        self.work("store.append", Relaxed, move |work| work.append(&job, attempt, &batch)).await
    }

    async fn finish(&self, job: &JobSpec, attempt: u32, finish: &Finish) -> Result<Finished, PortError> {
        let (version, pace) = (PaceKey::of(&job.content_hash), finish.pace());
        let (job, finish) = (job.clone(), finish.clone());
        let finished =
            self.work("store.finish", Durable, move |work| work.finish(&job, attempt, &finish)).await?;
        if let (Finished::Recorded, Some(took)) = (finished, pace) {
            self.paces.note(version, took);
        }
        Ok(finished)
    }

    async fn cancel(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError> {
        let tenant = tenant.clone();
        self.work("store.cancel", Durable, move |work| work.cancel(&tenant, job)).await
    }

    async fn get(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>, PortError> {
        let (tenant, retention) = (tenant.clone(), self.options.retention);
        let query = move |file: &rusqlite::Connection| read::get(file, &tenant, job, retention);
        self.database.look("store.get", query).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventsPage>, PortError> {
        let (tenant, retention) = (tenant.clone(), self.options.retention);
        let query =
            move |file: &rusqlite::Connection| read::events(file, &tenant, job, retention, after, limit);
        self.database.read("store.events", query).await
    }

    async fn list(&self, tenant: &TenantId, filter: &JobFilter) -> Result<JobsPage, PortError> {
        let (tenant, filter, retention) = (tenant.clone(), filter.clone(), self.options.retention);
        let query = move |file: &rusqlite::Connection| read::list(file, &tenant, &filter, retention);
        self.database.read("store.list", query).await
    }

    async fn offer(&self, job: &JobSpec) -> Result<bool, PortError> {
        let Some(worker) = self.idle.one_of(&job.lane) else { return Ok(false) };
        let job = job.clone();
        // Behind the job's record, which was ordered before: operations are done in the order of their orders.
        let offer = move |work: &Work<'_>| {
            work.after_commit(move || drop(worker.send(job)));
            Ok(true)
        };
        self.work("store.offer", Relaxed, offer).await
    }

    fn offers(&self, _worker: &WorkerId, lanes: &[Lane]) -> Box<dyn Offers> {
        Box::new(self.idle.offers(lanes))
    }

    fn pace(&self, content: &ContentHash) -> Option<Duration> {
        self.paces.of(PaceKey::of(content))
    }

    fn watch(&self, job: JobId) -> Watch {
        self.hubs.changes.watch(job)
    }

    fn watch_cancel(&self, job: JobId) -> Watch {
        self.hubs.cancels.watch(job)
    }

    async fn outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.work("store.outbox", Relaxed, move |work| work.outbox(age, limit)).await
    }

    async fn due(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.work("store.due", Durable, move |work| work.due(limit)).await
    }

    async fn reap(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        // By the clock of now, not of when the disk lets us: what was renewed meanwhile is asked for later.
        let asked = Timestamp::now();
        self.work("store.reap", Durable, move |work| work.reap(asked, limit)).await
    }

    async fn expire(&self, limit: usize) -> Result<usize, PortError> {
        self.work("store.expire", Durable, move |work| work.expire(limit)).await
    }

    async fn replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, PortError> {
        self.work("store.replies", Relaxed, move |work| work.replies(age, limit)).await
    }

    async fn replied(&self, job: JobId) -> Result<(), PortError> {
        self.work("store.replied", Relaxed, move |work| work.replied(job)).await
    }

    async fn remove_old(&self, limit: usize) -> Result<usize, PortError> {
        self.work("store.remove_old", Relaxed, move |work| work.remove_old(limit)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.database.ping("store.ping").await
    }
}
