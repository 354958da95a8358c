//! The verb list: everything that can be asked of a dispatcher, one method per verb. Every API (HTTP, the
//! inbox, facades) is a client of this and adds nothing but its own spelling.
//!
//! Each verb takes the [`Caller`], checks the scope, then whether the caller may touch the action, then
//! does its work. A [`Problem`] means that nothing was done.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::action::{Action, Content, VersionInfo};
use protocol::error::{Code, Problem};
use protocol::id::{ActionName, JobId, KeyId, Lane, SecretName, TenantId};
use protocol::job::Job;
use protocol::key::Key;
use protocol::ports::{
    Cancelled, Inbox, JobFilter, JobsPage, Published, PutSecret, Queue, Registry, SecretInfo, Store,
};
use protocol::secret::Secret;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{self, Admin, Caller, Verb};
use crate::catalog::{self, ActionsPage, Publish, Test};
use crate::intake::admit::QueueHealth;
use crate::intake::resolve::Known;
use crate::intake::{self, Origin, Submit};
use crate::keys::{self, NewKey};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::outcome::{self, EventReader};
use crate::secrets::{self, NewSecret};

/// Lanes whose depth is shown. More than anyone names; a bound on what callers can make us remember.
const LANES: usize = 64;

/// The backends that a dispatcher works on.
#[derive(Clone)]
pub struct Ports {
    /// Where jobs are published.
    pub queue: Arc<dyn Queue>,
    /// Where jobs are recorded.
    pub store: Arc<dyn Store>,
    /// Where actions and keys are kept.
    pub registry: Arc<dyn Registry>,
    /// Where requests arrive as messages, if they do.
    pub inbox: Option<Arc<dyn Inbox>>,
}

/// A dispatcher. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Ports,
    options: Options,
    metrics: Metrics,
    admin: Admin,
    known: Known,
    queue_health: QueueHealth,
    lanes: Mutex<BTreeSet<Lane>>,
    replies: Notify,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// Everything that can be asked for.
impl Dispatcher {
    /// Who presents this secret.
    pub async fn authenticate(&self, secret: &Secret) -> Result<Caller, Problem> {
        access::authenticate(&self.inner.admin, &*self.inner.ports.registry, secret).await
    }

    /// Accepts a job, or finds the one that the same request made before.
    pub async fn submit(&self, caller: &Caller, submit: Submit, origin: Origin) -> Result<Job, Problem> {
        intake::submit(self, caller, submit, origin).await
    }

    /// Waits for a job that the caller has just submitted; gives it back as it is when `limit` is over.
    /// Can't fail: the job was accepted, whatever becomes of the waiting.
    pub async fn await_accepted(&self, job: Job, limit: Duration) -> Job {
        outcome::await_accepted(self, job, limit).await
    }

    /// The job as it is now.
    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job, Problem> {
        caller.require(Verb::GetJob)?;
        outcome::get(self, caller, id).await
    }

    /// The job when it is finished, or as it is when `limit` (or the ceiling) is over.
    pub async fn wait(&self, caller: &Caller, id: JobId, limit: Duration) -> Result<Job, Problem> {
        caller.require(Verb::WaitJob)?;
        outcome::wait(self, caller, id, limit).await
    }

    /// The caller's jobs, newest first. For a key that is limited to some actions a page may hold fewer
    /// jobs than asked for, and still have a next one.
    pub async fn jobs(&self, caller: &Caller, filter: JobFilter) -> Result<JobsPage, Problem> {
        caller.require(Verb::ListJobs)?;
        outcome::list(self, caller, filter).await
    }

    /// The events of a job behind number `after`, as they come, up to its `result`.
    pub async fn events(&self, caller: &Caller, id: JobId, after: u64) -> Result<EventReader, Problem> {
        caller.require(Verb::ReadEvents)?;
        EventReader::open(self, caller, id, after).await
    }

    /// Asks to cancel a job; tells what that found, and the job as it is after it.
    pub async fn cancel(&self, caller: &Caller, id: JobId) -> Result<(Job, Cancelled), Problem> {
        caller.require(Verb::CancelJob)?;
        outcome::cancel(self, caller, id).await
    }

    /// Publishes a version of an action, or finds that the latest one is the same.
    pub async fn publish(
        &self,
        caller: &Caller,
        name: &ActionName,
        publish: Publish,
    ) -> Result<Published, Problem> {
        caller.require(Verb::PublishAction)?;
        caller.require_action(name)?;
        catalog::publish(self, caller, name, publish).await
    }

    /// An action and the content of its latest version.
    pub async fn action(&self, caller: &Caller, name: &ActionName) -> Result<(Action, Content), Problem> {
        caller.require(Verb::GetAction)?;
        caller.require_action(name)?;
        catalog::action(self, caller, name).await
    }

    /// The actions that the caller may touch, by name.
    pub async fn actions(
        &self,
        caller: &Caller,
        after: Option<ActionName>,
        limit: usize,
    ) -> Result<ActionsPage, Problem> {
        caller.require(Verb::ListActions)?;
        catalog::actions(self, caller, after, limit).await
    }

    /// The versions of an action, newest first.
    pub async fn versions(&self, caller: &Caller, name: &ActionName) -> Result<Vec<VersionInfo>, Problem> {
        caller.require(Verb::ListVersions)?;
        caller.require_action(name)?;
        catalog::versions(self, caller, name).await
    }

    /// One version with its content.
    pub async fn version(
        &self,
        caller: &Caller,
        name: &ActionName,
        number: u32,
    ) -> Result<(VersionInfo, Content), Problem> {
        caller.require(Verb::GetVersion)?;
        caller.require_action(name)?;
        catalog::version(self, caller, name, number).await
    }

    /// Lets an action take new jobs, or no more.
    pub async fn set_action_enabled(
        &self,
        caller: &Caller,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Action, Problem> {
        caller.require(if enabled { Verb::EnableAction } else { Verb::DisableAction })?;
        caller.require_action(name)?;
        catalog::set_enabled(self, caller, name, enabled).await
    }

    /// Deletes an action. Accepted jobs still run.
    pub async fn delete_action(&self, caller: &Caller, name: &ActionName) -> Result<(), Problem> {
        caller.require(Verb::DeleteAction)?;
        caller.require_action(name)?;
        catalog::delete(self, caller, name).await
    }

    /// Accepts a job that runs an unsaved draft, or the latest version even of a disabled action.
    pub async fn test(
        &self,
        caller: &Caller,
        name: &ActionName,
        test: Test,
        origin: Origin,
    ) -> Result<Job, Problem> {
        caller.require(Verb::TestAction)?;
        caller.require_action(name)?;
        catalog::test(self, caller, name, test, origin).await
    }

    /// Makes an API key. The secret is given once, here.
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<(Key, Secret), Problem> {
        caller.require(Verb::CreateKey)?;
        keys::create(self, caller, new).await
    }

    /// The keys of the caller's tenant, or (for the operator) of another.
    pub async fn keys(&self, caller: &Caller, tenant: Option<TenantId>) -> Result<Vec<Key>, Problem> {
        caller.require(Verb::ListKeys)?;
        keys::list(self, caller, tenant).await
    }

    /// One key.
    pub async fn key(&self, caller: &Caller, tenant: Option<TenantId>, id: &KeyId) -> Result<Key, Problem> {
        caller.require(Verb::GetKey)?;
        keys::get(self, caller, tenant, id).await
    }

    /// Lets a key work again, or no more.
    pub async fn set_key_disabled(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &KeyId,
        disabled: bool,
    ) -> Result<Key, Problem> {
        caller.require(if disabled { Verb::DisableKey } else { Verb::EnableKey })?;
        keys::set_disabled(self, caller, tenant, id, disabled).await
    }

    /// Deletes a key.
    pub async fn delete_key(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &KeyId,
    ) -> Result<(), Problem> {
        caller.require(Verb::DeleteKey)?;
        keys::delete(self, caller, tenant, id).await
    }

    /// Sets a secret of the caller's tenant, or replaces it. Its value can't be read back.
    pub async fn put_secret(
        &self,
        caller: &Caller,
        name: &SecretName,
        new: NewSecret,
    ) -> Result<PutSecret, Problem> {
        caller.require(Verb::PutSecret)?;
        secrets::put(self, caller, name, new).await
    }

    /// The secrets of the caller's tenant, by name, without their values.
    pub async fn secrets(&self, caller: &Caller) -> Result<Vec<SecretInfo>, Problem> {
        caller.require(Verb::ListSecrets)?;
        secrets::list(self, caller).await
    }

    /// Deletes a secret. Jobs whose version names it fail from now on.
    pub async fn delete_secret(&self, caller: &Caller, name: &SecretName) -> Result<(), Problem> {
        caller.require(Verb::DeleteSecret)?;
        secrets::delete(self, caller, name).await
    }
}

/// Making and stopping one.
impl Dispatcher {
    /// A dispatcher on these ports. It needs [`crate::background::run`] beside it.
    pub fn new(ports: Ports, options: Options, metrics: Metrics) -> Self {
        let inner = Inner {
            admin: Admin::of(&options),
            ports,
            options,
            metrics,
            known: Known::default(),
            queue_health: QueueHealth::default(),
            lanes: Mutex::new(BTreeSet::from([Lane::standard()])),
            replies: Notify::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether jobs are accepted now: false while the queue is known to be away or this process stops.
    pub fn accepts_jobs(&self) -> bool {
        self.still_open().is_ok() && !self.queue_health().is_away()
    }

    /// Takes no more jobs (`draining`), answers every waiting request with what there is, and ends every
    /// stream of events. [`crate::background::run`] begins its stop with this.
    pub fn drain(&self) {
        self.inner.closing.cancel();
    }
}

/// What the parts of this crate share.
impl Dispatcher {
    pub(crate) fn queue(&self) -> &Arc<dyn Queue> {
        &self.inner.ports.queue
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.inner.ports.store
    }

    pub(crate) fn registry(&self) -> &Arc<dyn Registry> {
        &self.inner.ports.registry
    }

    pub(crate) fn inbox(&self) -> Option<&Arc<dyn Inbox>> {
        self.inner.ports.inbox.as_ref()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn known(&self) -> &Known {
        &self.inner.known
    }

    pub(crate) fn queue_health(&self) -> &QueueHealth {
        &self.inner.queue_health
    }

    /// Wakes the loop that sends replies.
    pub(crate) fn replies(&self) -> &Notify {
        &self.inner.replies
    }

    /// Cancelled once this process stops.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// Tasks that are waited for when this process stops.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Refuses new jobs once this process stops.
    pub(crate) fn still_open(&self) -> Result<(), Problem> {
        if self.inner.closing.is_cancelled() {
            return Err(Problem::new(
                Code::Draining,
                "this dispatcher is stopping; another one, or this one after its restart, takes the job",
            ));
        }
        Ok(())
    }

    /// Remembers a lane, whose depth is then shown. False if too many are in use: each is a set of durable
    /// queues that nobody removes, so callers can't make as many as they like.
    pub(crate) fn see_lane(&self, lane: &Lane) -> bool {
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.contains(lane) || (lanes.len() < LANES && lanes.insert(lane.clone()))
    }

    /// The lanes that jobs were published to.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
