//! The store: which call is which steps is in `store/`; here they are put together as the port.

mod attempts;
mod calls;
mod create;
mod list;
mod offers;
mod read;
mod record;
mod scripts;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::event::EventBatch;
use protocol::hub::Watch;
use protocol::id::{ContentHash, JobId, Lane, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::pace::PaceKey;
use protocol::ports::{
    Appended, Cancelled, Claim, Confirmed, Created, EventsPage, Finish, Finished, JobFilter, JobsPage,
    NewJob, Offers, PortError, Renewal, Store, StoreOptions,
};
use redis::Client;

use crate::connection::Connection;
use crate::keys::Keys;
use crate::news::Wakeups;
use calls::Calls;
use offers::Offering;
use scripts::Scripts;

/// Jobs and events on Redis.
pub(crate) struct RedisStore {
    connection: Arc<Connection>,
    keys: Keys,
    scripts: Arc<Scripts>,
    calls: Calls,
    offering: Offering,
    news: Wakeups,
    options: StoreOptions,
}

impl RedisStore {
    pub(crate) fn new(
        connection: Arc<Connection>,
        client: Client,
        keys: Keys,
        options: StoreOptions,
    ) -> Self {
        let scripts = Arc::new(Scripts::new(&keys, &options));
        let news = Wakeups::new(client, &keys);
        let calls = Calls::new(connection.clone(), keys.clone(), scripts.clone());
        Self { connection, keys, scripts, calls, offering: Offering::new(), news, options }
    }
}

/// A duration as scripts take it.
fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[async_trait]
impl Store for RedisStore {
    async fn create(&self, job: NewJob) -> Result<Created, PortError> {
        self.create_job(job).await
    }

    async fn published(&self, jobs: &[Confirmed]) -> Result<(), PortError> {
        self.clear_marks(jobs).await
    }

    async fn claim(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, PortError> {
        self.claim_attempt(job, worker, isolation).await
    }

    async fn claim_offered(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, PortError> {
        self.claim_known(job, worker, isolation).await
    }

    async fn renew(&self, attempts: &[(&JobSpec, u32)]) -> Result<Vec<Renewal>, PortError> {
        self.renew_attempts(attempts).await
    }

    async fn append(&self, job: &JobSpec, attempt: u32, batch: &EventBatch) -> Result<Appended, PortError> {
        self.append_events(job, attempt, batch).await
    }

    async fn finish(&self, job: &JobSpec, attempt: u32, finish: &Finish) -> Result<Finished, PortError> {
        self.finish_attempt(job, attempt, finish).await
    }

    async fn cancel(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError> {
        self.cancel_job(tenant, job).await
    }

    async fn get(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>, PortError> {
        self.read_job(tenant, job).await
    }

    async fn again(&self, job: &Job) -> Result<Option<Job>, PortError> {
        self.read_again(job).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventsPage>, PortError> {
        self.read_events(tenant, job, after, limit).await
    }

    async fn list(&self, tenant: &TenantId, filter: &JobFilter) -> Result<JobsPage, PortError> {
        self.list_jobs(tenant, filter).await
    }

    async fn offer(&self, job: &JobSpec) -> Result<bool, PortError> {
        self.offer_job(job).await
    }

    fn offers(&self, worker: &WorkerId, lanes: &[Lane]) -> Box<dyn Offers> {
        Box::new(self.offers_to(worker, lanes))
    }

    fn pace(&self, content: &ContentHash) -> Option<Duration> {
        self.news.pace(PaceKey::of(content))
    }

    fn watch(&self, job: JobId) -> Watch {
        self.news.watch(job)
    }

    fn watch_cancel(&self, job: JobId) -> Watch {
        self.news.watch_cancel(job)
    }

    async fn outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.sweep_outbox(age, limit).await
    }

    async fn due(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.sweep_due(limit).await
    }

    async fn reap(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.sweep_leases(limit).await
    }

    async fn expire(&self, limit: usize) -> Result<usize, PortError> {
        self.sweep_deadlines(limit).await
    }

    async fn replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, PortError> {
        self.sweep_replies(age, limit).await
    }

    async fn replied(&self, job: JobId) -> Result<(), PortError> {
        self.forget_reply(job).await
    }

    async fn remove_old(&self, limit: usize) -> Result<usize, PortError> {
        self.sweep_finished(limit).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.connection.ping("store.ping", &self.keys.ping()).await
    }
}
