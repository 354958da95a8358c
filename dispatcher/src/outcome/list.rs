//! Lists of jobs, newest first.

use protocol::error::Problem;
use protocol::limits;
use protocol::ports::{JobFilter, JobsPage};

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// A page of the caller's jobs. Jobs of actions that the key may not touch are left out.
pub(crate) async fn list(
    dispatcher: &Dispatcher,
    caller: &Caller,
    mut filter: JobFilter,
) -> Result<JobsPage, Problem> {
    if let Some(action) = &filter.action {
        caller.require_action(action)?;
    }
    filter.limit = filter.limit.clamp(1, limits::PAGE);
    let mut page = dispatcher.store().list(caller.tenant(), &filter).await.map_err(trouble::problem)?;
    page.jobs.retain(|job| caller.may_touch(&job.spec.action));
    Ok(page)
}
