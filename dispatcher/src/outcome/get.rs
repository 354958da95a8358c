//! A job as it is now, for those who may see it.

use protocol::error::{Code, Problem};
use protocol::id::JobId;
use protocol::job::Job;

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// The caller's job of that id.
pub(crate) async fn get(dispatcher: &Dispatcher, caller: &Caller, id: JobId) -> Result<Job, Problem> {
    let job = dispatcher.store().get(caller.tenant(), id).await.map_err(trouble::problem)?;
    let job = job.ok_or_else(|| no_job(id))?;
    caller.require_action(&job.spec.action)?;
    Ok(job)
}

/// There is no such job, or none that this tenant may know of.
pub(crate) fn no_job(id: impl std::fmt::Display) -> Problem {
    Problem::new(Code::JobNotFound, format!("there is no job {id}, or its retention is over"))
}
