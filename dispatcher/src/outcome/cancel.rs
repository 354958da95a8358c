//! Asking to cancel a job.

use protocol::error::Problem;
use protocol::id::JobId;
use protocol::job::Job;
use protocol::ports::Cancelled;

use super::get::{get, no_job};
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::trouble;

/// Asks to cancel the caller's job. One that is over stays as it is: that is no error.
pub(crate) async fn cancel(
    dispatcher: &Dispatcher,
    caller: &Caller,
    id: JobId,
) -> Result<(Job, Cancelled), Problem> {
    // Whether the caller may touch it is known only from the job itself.
    get(dispatcher, caller, id).await?;
    let found = dispatcher.store().cancel(caller.tenant(), id).await.map_err(trouble::problem)?;
    if found == Cancelled::NotFound {
        return Err(no_job(id));
    }
    Ok((get(dispatcher, caller, id).await?, found))
}
