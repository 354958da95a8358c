//! The operations of a wrapped store. Watches pass through untouched: they carry nothing that could fail.

use std::time::Duration;

use async_trait::async_trait;
use protocol::event::EventBatch;
use protocol::hub::Watch;
use protocol::id::{ContentHash, JobId, Lane, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::ports::{
    Appended, Cancelled, Claim, Confirmed, Created, EventsPage, Finish, Finished, JobFilter, JobsPage,
    NewJob, Offers, PortError, Renewal, Store,
};

use crate::around::{Around, Wrapped};

#[async_trait]
impl<A: Around> Store for Wrapped<dyn Store, A> {
    async fn create(&self, job: NewJob) -> Result<Created, PortError> {
        self.around.call("store.create", self.inner.create(job)).await
    }

    async fn published(&self, jobs: &[Confirmed]) -> Result<(), PortError> {
        self.around.call("store.published", self.inner.published(jobs)).await
    }

    async fn claim(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, PortError> {
        self.around.call("store.claim", self.inner.claim(job, worker, isolation)).await
    }

    async fn claim_offered(
        &self,
        job: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, PortError> {
        self.around.call("store.claim", self.inner.claim_offered(job, worker, isolation)).await
    }

    async fn renew(&self, attempts: &[(&JobSpec, u32)]) -> Result<Vec<Renewal>, PortError> {
        self.around.call("store.renew", self.inner.renew(attempts)).await
    }

    async fn append(&self, job: &JobSpec, attempt: u32, batch: &EventBatch) -> Result<Appended, PortError> {
        self.around.call("store.append", self.inner.append(job, attempt, batch)).await
    }

    async fn finish(&self, job: &JobSpec, attempt: u32, finish: &Finish) -> Result<Finished, PortError> {
        self.around.call("store.finish", self.inner.finish(job, attempt, finish)).await
    }

    async fn cancel(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError> {
        self.around.call("store.cancel", self.inner.cancel(tenant, job)).await
    }

    async fn get(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>, PortError> {
        self.around.call("store.get", self.inner.get(tenant, job)).await
    }

    async fn again(&self, job: &Job) -> Result<Option<Job>, PortError> {
        self.around.call("store.get", self.inner.again(job)).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventsPage>, PortError> {
        self.around.call("store.events", self.inner.events(tenant, job, after, limit)).await
    }

    async fn list(&self, tenant: &TenantId, filter: &JobFilter) -> Result<JobsPage, PortError> {
        self.around.call("store.list", self.inner.list(tenant, filter)).await
    }

    async fn offer(&self, job: &JobSpec) -> Result<bool, PortError> {
        self.around.call("store.offer", self.inner.offer(job)).await
    }

    fn offers(&self, worker: &WorkerId, lanes: &[Lane]) -> Box<dyn Offers> {
        self.inner.offers(worker, lanes)
    }

    fn pace(&self, content: &ContentHash) -> Option<Duration> {
        self.inner.pace(content)
    }

    fn watch(&self, job: JobId) -> Watch {
        self.inner.watch(job)
    }

    fn watch_cancel(&self, job: JobId) -> Watch {
        self.inner.watch_cancel(job)
    }

    async fn outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.around.call("store.outbox", self.inner.outbox(age, limit)).await
    }

    async fn due(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.around.call("store.due", self.inner.due(limit)).await
    }

    async fn reap(&self, limit: usize) -> Result<Vec<JobSpec>, PortError> {
        self.around.call("store.reap", self.inner.reap(limit)).await
    }

    async fn expire(&self, limit: usize) -> Result<usize, PortError> {
        self.around.call("store.expire", self.inner.expire(limit)).await
    }

    async fn replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, PortError> {
        self.around.call("store.replies", self.inner.replies(age, limit)).await
    }

    async fn replied(&self, job: JobId) -> Result<(), PortError> {
        self.around.call("store.replied", self.inner.replied(job)).await
    }

    async fn remove_old(&self, limit: usize) -> Result<usize, PortError> {
        self.around.call("store.remove_old", self.inner.remove_old(limit)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.around.call("store.ping", self.inner.ping()).await
    }
}
