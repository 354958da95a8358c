//! What a worker does with the attempt that it holds: renew, append, finish. An attempt that the store has
//! lost is restored first.

use protocol::event::{EventBatch, NewEvent};
use protocol::id::WorkerId;
use protocol::isolation::Isolation;
use protocol::job::{JobSpec, Reason};
use protocol::lifecycle::{End, Step, UNKNOWN_WORKER};
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Appended, Finish, Finished, Renewal};
use protocol::state::JobState;

use super::Work;
use super::head::{Fence, Head};
use crate::error::Failure;
use crate::values::At;

/// The events of `batch` behind the first `stored` ones of the attempt, and how many it has with them.
fn unseen(stored: u64, batch: &EventBatch) -> (&[NewEvent], u64) {
    if batch.events.is_empty() {
        return (&[], stored);
    }
    let first = batch.first.max(1);
    let skip = usize::try_from((stored + 1).saturating_sub(first)).unwrap_or(usize::MAX);
    let events = batch.events.get(skip..).unwrap_or_default();
    let count = u64::try_from(batch.events.len()).unwrap_or(u64::MAX);
    (events, stored.max(first.saturating_add(count) - 1))
}

/// The step of a job, given that someone may have asked to cancel it: it must not run once more.
fn heed(step: Step, cancel_requested: bool) -> Step {
    match step {
        Step::Continue { .. } if cancel_requested => Step::End(End::cancelled()),
        step => step,
    }
}

impl Work<'_> {
    /// See `Store::renew`; one attempt.
    pub(super) fn renew(&self, spec: &JobSpec, attempt: u32) -> Result<Renewal, Failure> {
        let Some(head) = self.current(spec, attempt)? else { return Ok(Renewal::Lost) };
        let until = self.now.plus(self.options.lease);
        self.prepare_cached("UPDATE jobs SET lease_until = ?2 WHERE row = ?1")?
            .execute((head.row, At(until)))?;
        Ok(if head.cancel_requested { Renewal::CancelRequested } else { Renewal::Held })
    }

    /// See `Store::append`.
    pub(super) fn append(
        &self,
        spec: &JobSpec,
        attempt: u32,
        batch: &EventBatch,
    ) -> Result<Appended, Failure> {
        let Some(mut head) = self.current(spec, attempt)? else { return Ok(Appended::Lost) };
        self.add(&mut head, batch)?;
        self.save_seq(&head)?;
        Ok(Appended::Stored)
    }

    /// See `Store::finish`.
    pub(super) fn finish(&self, spec: &JobSpec, attempt: u32, finish: &Finish) -> Result<Finished, Failure> {
        let Some(mut head) = self.current(spec, attempt)? else { return Ok(Finished::Late) };
        self.add(&mut head, &finish.last)?;
        let error = match &finish.verdict {
            Verdict::Fail(error) | Verdict::Retry { error, .. } => Some(error),
            _ => None,
        };
        self.end_attempt(&head, finish.outcome, error)?;
        match heed(Step::of(&finish.verdict, spec), head.cancel_requested) {
            Step::End(end) => self.end(&mut head, &end)?,
            Step::Continue { reason, at, .. } => self.wait(&mut head, reason, at)?,
        }
        Ok(Finished::Recorded)
    }

    /// The head of the job if `attempt` may write.
    fn current(&self, spec: &JobSpec, attempt: u32) -> Result<Option<Head>, Failure> {
        let mut head = self.head_or_record(spec)?;
        match head.fence(attempt) {
            Fence::Current => {}
            Fence::Closed => return Ok(None),
            Fence::Unknown => self.restore(&mut head, attempt)?,
        }
        Ok(Some(head))
    }

    /// Starts an attempt whose claim was lost. What became of the one before is lost as well: it counts as
    /// given back, which is nobody's fault.
    fn restore(&self, head: &mut Head, attempt: u32) -> Result<(), Failure> {
        match head.state {
            JobState::Queued => {}
            JobState::Running => {
                self.end_attempt(head, Outcome::Interrupted, None)?;
                self.wait(head, Reason::WorkerStopped, None)?;
            }
            _ => self.wait(head, Reason::AwaitingWorker, None)?,
        }
        let worker = WorkerId::new(UNKNOWN_WORKER).map_err(Failure::corrupt)?;
        self.run(head, attempt, &worker, Isolation::None)
    }

    /// Adds what is new of the batch. The caller saves the head.
    fn add(&self, head: &mut Head, batch: &EventBatch) -> Result<(), Failure> {
        let (events, ordinal) = unseen(head.ordinal, batch);
        for event in events {
            self.tell(head, event.kind, &event.data)?;
        }
        head.ordinal = ordinal;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::EventKind;
    use protocol::json::Json;

    use super::*;

    #[test]
    fn events_that_came_before_are_skipped() {
        let event = |number: u64| NewEvent {
            kind: EventKind::Chunk,
            data: Json::of(&number).unwrap_or_else(|_| Json::null()),
        };
        let batch = EventBatch { first: 3, events: vec![event(3), event(4), event(5)] };
        for (stored, new, after) in [(0, 3, 5), (2, 3, 5), (3, 2, 5), (5, 0, 5), (9, 0, 9)] {
            assert_eq!(unseen(stored, &batch), (&batch.events[3 - new..], after), "{stored} stored");
        }
        for first in [0, 1, 9] {
            assert_eq!(unseen(7, &EventBatch { first, events: vec![] }), (&[][..], 7));
        }
    }

    #[test]
    fn a_job_that_someone_asked_to_cancel_is_not_tried_again() {
        let again = || Step::Continue { state: JobState::Queued, reason: Reason::WorkerStopped, at: None };
        let done = || Step::End(End::succeeded(Json::null()));
        assert_eq!(heed(again(), true), Step::End(End::cancelled()));
        assert_eq!(heed(again(), false), again());
        assert_eq!(heed(done(), true), done());
    }
}
