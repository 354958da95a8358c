//! The changes that a job can go through, each written once: record, run, wait, end. They keep the head
//! they are given up to date, add the event that tells the change, and wake who watches.

use protocol::event::EventKind;
use protocol::hub::News;
use protocol::id::{JobId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{JobSpec, Reason};
use protocol::json::Json;
use protocol::lifecycle::{End, state_event_data};
use protocol::outcome::Outcome;
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Work;
use super::head::Head;
use crate::error::Failure;
use crate::values::{At, Text, Word, Written};

/// How a job begins: its state, the reason, and its start if that lies ahead.
pub(super) fn beginning(spec: &JobSpec, now: Timestamp) -> (JobState, Reason, Option<Timestamp>) {
    match spec.run_at.filter(|at| *at > now) {
        Some(at) => (JobState::Scheduled, Reason::NotDue, Some(at)),
        None => (JobState::Queued, Reason::AwaitingWorker, None),
    }
}

impl Work<'_> {
    /// Records a job; with an outbox mark if it must be published.
    pub(super) fn record(&self, spec: &JobSpec, publish: bool) -> Result<Head, Failure> {
        let (state, reason, next_run_at) = beginning(spec, self.now);
        let mark = (publish && state == JobState::Queued).then_some(At(self.now));
        self.prepare_cached(
            "INSERT INTO jobs (id, tenant, action, state, reason, deadline, replies, next_run_at, outbox_at,
             last_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        )?
        .execute((
            Text(spec.id),
            Text(&spec.tenant),
            Text(&spec.action),
            Word(state),
            Word(reason),
            At(spec.deadline),
            spec.reply.is_some(),
            next_run_at.map(At),
            mark,
        ))?;
        let row = self.last_insert_rowid();
        self.prepare_cached("INSERT INTO specs (job, spec) VALUES (?1, ?2)")?
            .execute((row, Written(spec)))?;
        for (name, value) in &spec.labels {
            self.prepare_cached("INSERT INTO labels (tenant, name, value, job) VALUES (?1, ?2, ?3, ?4)")?
                .execute((Text(&spec.tenant), name, value, Text(spec.id)))?;
        }
        let mut head = Head {
            row,
            id: spec.id,
            state,
            attempt: 0,
            ordinal: 0,
            lease_until: None,
            deadline: spec.deadline,
            cancel_requested: false,
            last_seq: 0,
            replies: spec.reply.is_some(),
        };
        self.tell(&mut head, EventKind::State, &state_event_data(state, Some(reason)))?;
        self.save_seq(&head)?;
        Ok(head)
    }

    /// Starts attempt `number`.
    pub(super) fn run(
        &self,
        head: &mut Head,
        number: u32,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<(), Failure> {
        let until = self.now.plus(self.options.lease);
        (head.state, head.attempt, head.ordinal, head.lease_until) =
            (JobState::Running, number, 0, Some(until));
        self.prepare_cached(
            "INSERT INTO attempts (job, number, worker, isolation, started_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((head.row, number, Text(worker), Word(isolation), At(self.now)))?;
        self.tell(head, EventKind::State, &state_event_data(JobState::Running, None))?;
        self.prepare_cached(
            "UPDATE jobs SET state = ?2, reason = NULL, attempt = ?3, ordinal = 0, lease_until = ?4,
             next_run_at = NULL, outbox_at = NULL, last_seq = ?5 WHERE row = ?1",
        )?
        .execute((head.row, Word(head.state), number, At(until), head.last_seq))?;
        Ok(())
    }

    /// Ends the running attempt, if there is one.
    pub(super) fn end_attempt(
        &self,
        head: &Head,
        outcome: Outcome,
        error: Option<&protocol::error::JobError>,
    ) -> Result<(), Failure> {
        self.prepare_cached(
            "UPDATE attempts SET ended_at = ?2, outcome = ?3, error = ?4 WHERE job = ?1 AND ended_at IS NULL",
        )?
        .execute((head.row, At(self.now), Word(outcome), error.map(Written)))?;
        Ok(())
    }

    /// Lets the job wait: queued with an outbox mark, or scheduled for an instant.
    pub(super) fn wait(&self, head: &mut Head, reason: Reason, at: Option<Timestamp>) -> Result<(), Failure> {
        head.state = if at.is_some() { JobState::Scheduled } else { JobState::Queued };
        head.lease_until = None;
        self.tell(head, EventKind::State, &state_event_data(head.state, Some(reason)))?;
        let mark = at.is_none().then_some(At(self.now));
        self.prepare_cached(
            "UPDATE jobs SET state = ?2, reason = ?3, lease_until = NULL, next_run_at = ?4, outbox_at = ?5,
             last_seq = ?6 WHERE row = ?1",
        )?
        .execute((head.row, Word(head.state), Word(reason), at.map(At), mark, head.last_seq))?;
        Ok(())
    }

    /// Ends the job.
    pub(super) fn end(&self, head: &mut Head, end: &End) -> Result<(), Failure> {
        head.state = end.state;
        head.lease_until = None;
        self.tell(head, EventKind::Result, &end.event_data())?;
        self.prepare_cached(
            "UPDATE jobs SET state = ?2, reason = NULL, lease_until = NULL, next_run_at = NULL,
             outbox_at = NULL, reply_at = ?3, finished_at = ?4, dead_letter = ?5, last_seq = ?6, result = ?7,
             error = ?8 WHERE row = ?1",
        )?
        .execute((
            head.row,
            Word(end.state),
            // Zero: never taken, so it is due at once.
            head.replies.then_some(0),
            At(self.now),
            end.dead_letter,
            head.last_seq,
            end.result.as_ref().map(Json::text),
            end.error.as_ref().map(Written),
        ))?;
        Ok(())
    }

    /// Adds an event. The caller saves the head.
    pub(super) fn tell(&self, head: &mut Head, kind: EventKind, data: &Json) -> Result<(), Failure> {
        head.last_seq += 1;
        self.prepare_cached(
            "INSERT INTO events (job, seq, kind, at, attempt, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((head.row, head.last_seq, Word(kind), At(self.now), head.attempt, data.text()))?;
        // The last event of a job is its result.
        self.wake(head.id, if kind == EventKind::Result { News::End } else { News::Change });
        Ok(())
    }

    /// Saves the counters of events.
    pub(super) fn save_seq(&self, head: &Head) -> Result<(), Failure> {
        self.prepare_cached("UPDATE jobs SET last_seq = ?2, ordinal = ?3 WHERE row = ?1")?.execute((
            head.row,
            head.last_seq,
            head.ordinal,
        ))?;
        Ok(())
    }

    /// Wakes, after the commit, who watches the job.
    pub(super) fn wake(&self, job: JobId, news: News) {
        let hub = self.hubs.changes.clone();
        self.after_commit(move || hub.wake(job, news));
    }
}
