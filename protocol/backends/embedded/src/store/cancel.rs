//! Cancelling: at once where nothing runs, else by asking the worker.

use protocol::hub::News;
use protocol::id::{JobId, TenantId};
use protocol::lifecycle::End;
use protocol::ports::Cancelled;
use protocol::state::JobState;

use super::Work;
use super::head::Head;
use super::read;
use crate::error::Failure;
use crate::values::Text;

impl Work<'_> {
    /// See `Store::cancel`.
    pub(super) fn cancel(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, Failure> {
        let Some(row) = read::row(self, tenant, job, self.now, self.options.retention)? else {
            return Ok(Cancelled::NotFound);
        };
        let Some(mut head) = Head::all(self, "row = ?1", [row])?.pop() else {
            return Ok(Cancelled::NotFound);
        };
        if head.state.is_terminal() {
            return Ok(Cancelled::Over(head.state));
        }
        self.prepare_cached("UPDATE jobs SET cancel_requested = 1 WHERE id = ?1")?.execute([Text(job)])?;
        if head.state != JobState::Running {
            self.end(&mut head, &End::cancelled())?;
            return Ok(Cancelled::Now);
        }
        self.wake(job, News::Change);
        let hub = self.hubs.cancels.clone();
        self.after_commit(move || hub.wake(job, News::Change));
        Ok(Cancelled::Asked)
    }
}
