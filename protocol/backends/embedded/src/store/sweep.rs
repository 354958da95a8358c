//! What the background of any dispatcher asks for, over and over: marks to publish, jobs that are due,
//! leases and deadlines that have passed, answers to send, old jobs to remove. Each looks into one index
//! that holds nothing else, so that asking in vain costs nothing.

use std::time::Duration;

use protocol::deadline::GRACE;
use protocol::id::JobId;
use protocol::job::{Job, JobSpec, Reason};
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Work;
use super::head::{Head, spec};
use super::read::{self, before};
use crate::error::Failure;
use crate::values::{At, Text, Word, rows};

impl Work<'_> {
    /// See `Store::outbox`. Marks of jobs that are no longer queued were dropped by the change itself.
    pub(super) fn outbox(&self, age: Duration, limit: usize) -> Result<Vec<JobSpec>, Failure> {
        let old = before(self.now, age);
        let heads = Head::all(self, "outbox_at <= ?1 ORDER BY outbox_at LIMIT ?2", (At(old), rows(limit)))?;
        let mut taken = self.prepare_cached("UPDATE jobs SET outbox_at = ?2 WHERE row = ?1")?;
        let take = |head: Head| {
            taken.execute((head.row, At(self.now)))?;
            spec(self, head.row)
        };
        heads.into_iter().map(take).collect()
    }

    /// See `Store::due`.
    pub(super) fn due(&self, limit: usize) -> Result<Vec<JobSpec>, Failure> {
        // What is past its deadline as well is left to `expire`.
        let heads = Head::all(
            self,
            "next_run_at <= ?1 AND deadline > ?1 ORDER BY next_run_at LIMIT ?2",
            (At(self.now), rows(limit)),
        )?;
        let queue = |mut head: Head| {
            self.wait(&mut head, Reason::AwaitingWorker, None)?;
            spec(self, head.row)
        };
        heads.into_iter().map(queue).collect()
    }

    /// See `Store::reap`: leases that had lapsed when it was asked for.
    pub(super) fn reap(&self, asked: Timestamp, limit: usize) -> Result<Vec<JobSpec>, Failure> {
        let lapsed = "lease_until <= ?1 ORDER BY lease_until LIMIT ?2";
        let mut queued = Vec::new();
        for mut head in Head::all(self, lapsed, (At(asked), rows(limit)))? {
            let spec = spec(self, head.row)?;
            self.lose(&mut head, &spec)?;
            if head.state == JobState::Queued {
                queued.push(spec);
            }
        }
        Ok(queued)
    }

    /// See `Store::expire`.
    pub(super) fn expire(&self, limit: usize) -> Result<usize, Failure> {
        let heads = Head::all(
            self,
            "finished_at IS NULL AND deadline <= ?1 AND (state <> ?2 OR deadline <= ?3)
             ORDER BY deadline LIMIT ?4",
            (At(self.now), Word(JobState::Running), At(before(self.now, GRACE)), rows(limit)),
        )?;
        let count = heads.len();
        for mut head in heads {
            let spec = spec(self, head.row)?;
            self.expire_one(&mut head, &spec)?;
        }
        Ok(count)
    }

    /// See `Store::replies`.
    pub(super) fn replies(&self, age: Duration, limit: usize) -> Result<Vec<Job>, Failure> {
        let old = before(self.now, age);
        let heads = Head::all(self, "reply_at <= ?1 ORDER BY reply_at LIMIT ?2", (At(old), rows(limit)))?;
        let mut taken = self.prepare_cached("UPDATE jobs SET reply_at = ?2 WHERE row = ?1")?;
        let take = |head: Head| {
            taken.execute((head.row, At(self.now)))?;
            read::job(self, head.row)
        };
        heads.into_iter().map(take).collect()
    }

    /// See `Store::replied`.
    pub(super) fn replied(&self, job: JobId) -> Result<(), Failure> {
        self.prepare_cached("UPDATE jobs SET reply_at = NULL WHERE id = ?1")?.execute([Text(job)])?;
        Ok(())
    }

    /// See `Store::remove_old`. Forgets old idempotency keys on the way.
    pub(super) fn remove_old(&self, limit: usize) -> Result<usize, Failure> {
        let old = before(self.now, self.options.retention);
        let heads =
            Head::all(self, "finished_at <= ?1 ORDER BY finished_at LIMIT ?2", (At(old), rows(limit)))?;
        for head in &heads {
            for sql in [
                "DELETE FROM events WHERE job = ?1",
                "DELETE FROM attempts WHERE job = ?1",
                "DELETE FROM labels WHERE job = (SELECT id FROM jobs WHERE row = ?1)",
                "DELETE FROM specs WHERE job = ?1",
                "DELETE FROM jobs WHERE row = ?1",
            ] {
                self.prepare_cached(sql)?.execute([head.row])?;
            }
        }
        self.prepare_cached(
            "DELETE FROM idempotency WHERE rowid IN
             (SELECT rowid FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute((At(self.now), rows(limit)))?;
        Ok(heads.len())
    }
}
