//! Recording new jobs, and recognising those that were recorded before.

use protocol::id::JobId;
use protocol::job::Job;
use protocol::ports::{Created, Idempotency, NewJob};
use rusqlite::OptionalExtension;

use super::change::beginning;
use super::head::Head;
use super::{Work, read};
use crate::error::Failure;
use crate::values::{At, Text};

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
    pub(super) fn published(&self, job: JobId) -> Result<(), Failure> {
        self.prepare_cached("UPDATE jobs SET outbox_at = NULL WHERE id = ?1")?.execute([Text(job)])?;
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
