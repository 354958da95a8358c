//! Reading one job and its events. What may still change is always read here, never taken from a wake-up.
//!
//! Most jobs are waited for and not followed: that one started, or has new events, is told only once somebody has read its
//! events. Who reads them first leaves a mark for that, and reads once more, for what came in between was not told.
//!
//! Most jobs run once and have no events but those of their states, which the record stands for: it has all that is in
//! them. The list is made when something else happens, or when somebody follows the job.

use protocol::event::EventKind;
use protocol::id::{JobId, TenantId};
use protocol::job::Job;
use protocol::ports::{EventsPage, PortError};

use super::RedisStore;
use super::record::{self, Now};
use crate::error::Unreadable;
use crate::fields::{Fields, read, rows};

impl RedisStore {
    pub(super) async fn read_job(&self, tenant: &TenantId, job: JobId) -> Result<Option<Job>, PortError> {
        const OPERATION: &str = "store.get";
        let fields: Fields =
            self.connection.run(OPERATION, redis::cmd("HGETALL").arg(self.keys.job(job))).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let job = record::job(&fields).map_err(|e| e.during(OPERATION))?;
        Ok((job.spec.tenant == *tenant).then_some(job))
    }

    /// Of a job with one attempt, all but the spec; of any other, everything. Nothing, if its end was told.
    pub(super) async fn read_again(&self, job: &Job) -> Result<Option<Job>, PortError> {
        const OPERATION: &str = "store.get";
        if let Some(told) = self.news.told(job.spec.id)
            && let Some(now) = record::told(&job.spec, &told)
        {
            return Ok(Some(now));
        }
        let mut read = redis::cmd("HMGET");
        read.arg(self.keys.job(job.spec.id)).arg(&record::OF_ONE_ATTEMPT);
        let values: Vec<Option<String>> = self.connection.run(OPERATION, &read).await?;
        let fields = Fields::of(&record::OF_ONE_ATTEMPT, values);
        if fields.is_empty() {
            return Ok(None);
        }
        if Now::among(&fields).map_err(|e| e.during(OPERATION))?.attempt > 1 {
            return self.read_job(&job.spec.tenant, job.spec.id).await;
        }
        record::job_of(job.spec.clone(), &fields).map(Some).map_err(|e| e.during(OPERATION))
    }

    pub(super) async fn read_events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventsPage>, PortError> {
        match self.read_page(tenant, job, after, limit).await? {
            Some((page, false)) if !page.ended => {
                self.calls.run("store.events", &self.scripts.follow, job, &[]).await?;
                Ok(self.read_page(tenant, job, after, limit).await?.map(|(page, _)| page))
            }
            page => Ok(page.map(|(page, _)| page)),
        }
    }

    /// A page, and whether the job is followed. The record is read before the events: what is added between the two only
    /// makes the page longer.
    async fn read_page(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Option<(EventsPage, bool)>, PortError> {
        const OPERATION: &str = "store.events";
        let mut commands = redis::pipe();
        commands.cmd("HGET").arg(self.keys.job(job)).arg("now");
        // Numbers start at 1 and have no gap, so the event behind `after` stands at that place.
        let first = i64::try_from(after).unwrap_or(i64::MAX);
        let range = if limit == 0 { (1, 0) } else { (first, first.saturating_add(rows(limit) - 1)) };
        commands.cmd("LRANGE").arg(self.keys.events(job)).arg(range);
        let mut answers = self.connection.run_all(OPERATION, &commands).await?.into_iter();
        let now: Option<String> = read(OPERATION, answers.next())?;
        let entries: Vec<String> = read(OPERATION, answers.next())?;

        let Some(now) = now else { return Ok(None) };
        let unreadable = || Unreadable::at("the field now").during(OPERATION);
        let now = Now::of(&now).ok_or_else(unreadable)?;
        if now.tenant != tenant.as_str() {
            return Ok(None);
        }
        let terminal = now.state.is_terminal();
        let events = if terminal && !now.is_told() {
            let fields: Fields =
                self.connection.run(OPERATION, redis::cmd("HGETALL").arg(self.keys.job(job))).await?;
            if fields.is_empty() {
                return Ok(None);
            }
            record::implied(&fields).map(|events| {
                let page = events.into_iter().filter(|event| event.seq > after);
                page.take(limit).collect::<Vec<_>>()
            })
        } else {
            let numbered = entries.iter().zip(after.saturating_add(1)..);
            numbered.map(|(entry, seq)| record::event(seq, entry)).collect()
        };
        let events = events.map_err(|e| e.during(OPERATION))?;
        let last = events.last().map_or(after, |event| event.seq);
        let over = terminal && last >= now.seq;
        let ended = over || events.last().is_some_and(|event| event.kind == EventKind::Result);
        Ok(Some((EventsPage { events, ended }, now.is_followed())))
    }
}
