//! The verb list: everything that can be asked of a dispatcher, one method per verb. Every API (HTTP, the
//! inbox, facades) is a client of this and adds nothing but its own spelling.
//!
//! Each verb takes the [`Caller`], checks the scope, then whether the caller may touch the action, then
//! does its work. A [`Problem`] means that nothing was done. What a dispatcher is made of is in [`parts`].

mod parts;

use std::sync::Arc;
use std::time::Duration;

use protocol::action::{Action, Content, VersionInfo};
use protocol::error::Problem;
use protocol::id::{ActionName, JobId, KeyId, SecretName, TenantId};
use protocol::job::Job;
use protocol::key::Key;
use protocol::ports::{Cancelled, JobFilter, JobsPage, Published, PutSecret, SecretInfo};
use protocol::secret::Secret;

use crate::access::{self, Caller, Verb};
use crate::catalog::{self, ActionsPage, Publish, Test};
use crate::intake::{self, Accepted, Batch, Origin, Submit};
use crate::keys::{self, NewKey};
use crate::outcome::{self, EventReader};
use crate::secrets::{self, NewSecret};

pub use parts::Ports;

/// A dispatcher. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Dispatcher {
    parts: Arc<parts::Parts>,
}

/// Everything that can be asked for.
impl Dispatcher {
    /// Who presents this secret.
    pub async fn authenticate(&self, secret: &Secret) -> Result<Caller, Problem> {
        access::authenticate(self.admin(), &**self.registry(), secret).await
    }

    /// Accepts a job, or finds the one that the same request made before.
    pub async fn submit(&self, caller: &Caller, submit: Submit, origin: Origin) -> Result<Accepted, Problem> {
        intake::submit(self, caller, submit, origin).await
    }

    /// The same for who will wait for its end: returns as soon as the job is recorded, while it is on its way to the queue.
    pub async fn submit_to_wait(
        &self,
        caller: &Caller,
        submit: Submit,
        origin: Origin,
    ) -> Result<Accepted, Problem> {
        intake::submit_to_wait(self, caller, submit, origin).await
    }

    /// Accepts what can be accepted of many requests: an answer for each, in order.
    pub async fn submit_batch(
        &self,
        caller: &Caller,
        batch: Batch,
        origin: &Origin,
    ) -> Result<Vec<Result<Accepted, Problem>>, Problem> {
        caller.require(Verb::SubmitBatch)?;
        Ok(intake::batch::submit(self, caller, batch, origin).await)
    }

    /// Waits for a job that the caller has just submitted; gives it back as it is when `limit` is over.
    /// Can't fail: the job was accepted, whatever becomes of the waiting.
    pub async fn await_accepted(&self, accepted: Accepted, limit: Duration) -> Job {
        outcome::await_accepted(self, accepted, limit).await
    }

    /// The same for the jobs of a batch: all of them when the last one is finished. What was refused stays as it is.
    pub async fn await_batch(
        &self,
        answers: Vec<Result<Accepted, Problem>>,
        limit: Duration,
    ) -> Vec<Result<Job, Problem>> {
        outcome::await_batch(self, answers, limit).await
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
    ) -> Result<Accepted, Problem> {
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
