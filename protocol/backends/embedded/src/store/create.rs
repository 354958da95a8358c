//! Recording new jobs, recognising those that were recorded before, and that the queue has them.

use std::time::Duration;

use protocol::id::JobId;
use protocol::job::Job;
use protocol::ports::{Confirmed, Created, Idempotency, NewJob};
use protocol::time::Timestamp;
use rusqlite::OptionalExtension;

use super::change::beginning;
use super::head::Head;
use super::{Work, read};
use crate::error::Failure;
use crate::values::{At, Text};

/// The latest time of a mark that a publish stands for.
pub(super) fn latest_mark(confirmed: &Confirmed) -> (JobId, Timestamp) {
    let began = read::before(Timestamp::now(), confirmed.began.elapsed());
    // Fractions of milliseconds were cut off.
    (confirmed.job, began.plus(Duration::from_millis(1)))
}

impl Work<'_> {
    /// See `Store::create`.
    pub(super) fn create(&self, new: NewJob) -> Result<Created, Failure> {
        let NewJob { spec, idempotency } = new;
        let mut before = None;
        if let Some(idempotency) = &idempotency {
            match self.remembered(&spec.tenant, idempotency)? {
                Some((fingerprint, _)) if fingerprint != idempotency.fingerprint => {
                    return Ok(Created::Conflict);
                }
                Some((_, job)) => before = Head::load(self, job)?,
                None => {}
            }
        }
        if before.is_none() {
            before = Head::load(self, spec.id)?;
        }
        if let Some(head) = before {
            return Ok(Created::Same(Box::new(read::job(self, head.row)?)));
        }
        if let Some(idempotency) = &idempotency {
            self.remember(&spec.tenant, idempotency, spec.id)?;
        }
        let head = self.record(&spec, true)?;
        let (state, reason, next_run_at) = beginning(&spec, self.now);
        Ok(Created::New(Box::new(Job {
            spec,
            state,
            reason: Some(reason),
            attempts: Vec::new(),
            cancel_requested: false,
            next_run_at,
            result: None,
            error: None,
            finished_at: None,
            dead_letter: false,
            last_seq: head.last_seq,
        })))
    }

    /// See `Store::published`.
    pub(super) fn published(&self, jobs: &[(JobId, Timestamp)]) -> Result<(), Failure> {
        // The newer mark of a job that never ran is one that was only taken.
        let mut clear = self.prepare_cached(
            "UPDATE jobs SET outbox_at = NULL WHERE id = ?1 AND (outbox_at <= ?2 OR attempt = 0)",
        )?;
        for (job, latest) in jobs {
            clear.execute((Text(job), At(*latest)))?;
        }
        Ok(())
    }

    /// Fingerprint and job of a key that isn't forgotten.
    fn remembered(
        &self,
        tenant: &protocol::id::TenantId,
        idempotency: &Idempotency,
    ) -> Result<Option<(String, JobId)>, Failure> {
        let mut statement = self.prepare_cached(
            "SELECT fingerprint, job FROM idempotency WHERE tenant = ?1 AND key = ?2 AND expires_at > ?3",
        )?;
        let found = statement.query_row((Text(tenant), &idempotency.key, At(self.now)), |row| {
            let Text(job) = row.get(1)?;
            Ok((row.get(0)?, job))
        });
        Ok(found.optional()?)
    }

    fn remember(
        &self,
        tenant: &protocol::id::TenantId,
        idempotency: &Idempotency,
        job: JobId,
    ) -> Result<(), Failure> {
        let until = self.now.plus(self.options.retention);
        self.prepare_cached(
            "INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, job, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            Text(tenant),
            &idempotency.key,
            &idempotency.fingerprint,
            Text(job),
            At(until),
        ))?;
        Ok(())
    }
}
