//! Lists: the newest jobs of a tenant, merged from all shards by their ids, which sort by time.

use protocol::id::{JobId, TenantId};
use protocol::job::Job;
use protocol::limits;
use protocol::ports::{JobFilter, JobsPage, PortError};

use super::RedisStore;
use super::record::{self, Now};
use crate::fields::{Fields, read};
use crate::keys::{Index, SHARDS};

const OPERATION: &str = "store.list";

/// Jobs that one call looks at, where few of them match. The page is shorter then, and says where to go on.
const LOOK: usize = 2_000;

impl RedisStore {
    pub(super) async fn list_jobs(
        &self,
        tenant: &TenantId,
        filter: &JobFilter,
    ) -> Result<JobsPage, PortError> {
        let mut page = JobsPage { jobs: Vec::new(), next: None };
        let (mut before, mut looked) = (filter.before, 0);
        // One more than asked for, to know whether there is more.
        let size = filter.limit.min(limits::PAGE) + 1;
        while page.jobs.len() < filter.limit {
            let ids = self.newest(tenant, filter.dead_letters, before, size).await?;
            let more = ids.len() == size;
            let last = ids.last().copied();
            for (id, job) in self.matching(tenant, filter, &ids).await? {
                page.jobs.push(job);
                if page.jobs.len() == filter.limit {
                    page.next = (more || Some(id) != last).then_some(id);
                    return Ok(page);
                }
            }
            if !more {
                return Ok(page);
            }
            looked += ids.len();
            before = last;
            if looked >= LOOK {
                page.next = last;
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// The newest jobs before `before`, at most `limit`.
    async fn newest(
        &self,
        tenant: &TenantId,
        dead_letters: bool,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, PortError> {
        let index = if dead_letters { Index::Dead } else { Index::Jobs };
        // Members are `tenant:job`; ';' is what follows ':'.
        let top = before.map_or(format!("({tenant};"), |job| format!("({tenant}:{job}"));
        let mut commands = redis::pipe();
        for shard in 0..SHARDS {
            commands.cmd("ZRANGE").arg(self.keys.index(shard, index)).arg(&top).arg(format!("[{tenant}:"));
            commands.arg("BYLEX").arg("REV").arg("LIMIT").arg(0).arg(limit);
        }
        let mut jobs = Vec::new();
        for answer in self.connection.run_all(OPERATION, &commands).await? {
            let members: Vec<String> = read(OPERATION, Some(answer))?;
            jobs.extend(members.iter().filter_map(|member| member.rsplit(':').next()?.parse::<JobId>().ok()));
        }
        jobs.sort_unstable_by(|a, b| b.cmp(a));
        jobs.truncate(limit);
        Ok(jobs)
    }

    /// Those of `ids` that the filter wants, in the same order. Records that are gone or unreadable are
    /// passed over, so that one of them doesn't take away the whole list.
    async fn matching(
        &self,
        tenant: &TenantId,
        filter: &JobFilter,
        ids: &[JobId],
    ) -> Result<Vec<(JobId, Job)>, PortError> {
        let wanted = self.glanced(filter, ids).await?;
        let mut commands = redis::pipe();
        for id in &wanted {
            commands.cmd("HGETALL").arg(self.keys.job(*id));
        }
        let mut jobs = Vec::new();
        for (id, answer) in wanted.into_iter().zip(self.connection.run_all(OPERATION, &commands).await?) {
            let fields: Fields = read(OPERATION, Some(answer))?;
            if fields.is_empty() {
                continue;
            }
            match record::job(&fields) {
                Ok(job) if job.spec.tenant == *tenant && wants(filter, &job) => jobs.push((id, job)),
                Ok(_) => {}
                Err(error) => tracing::error!(job = %id, %error, "a job can't be listed"),
            }
        }
        Ok(jobs)
    }

    /// Drops the ids that a look at the small fields rules out: records may be large.
    async fn glanced(&self, filter: &JobFilter, ids: &[JobId]) -> Result<Vec<JobId>, PortError> {
        if filter.states.is_empty() && filter.action.is_none() {
            return Ok(ids.to_vec());
        }
        let mut commands = redis::pipe();
        for id in ids {
            commands.cmd("HGET").arg(self.keys.job(*id)).arg("now");
        }
        let mut wanted = Vec::new();
        for (id, answer) in ids.iter().zip(self.connection.run_all(OPERATION, &commands).await?) {
            let now: Option<String> = read(OPERATION, Some(answer))?;
            let Some(now) = now.as_deref().and_then(Now::of) else { continue };
            let by_state = filter.states.is_empty() || filter.states.contains(&now.state);
            let by_action = filter.action.as_ref().is_none_or(|action| action.as_str() == now.action);
            if by_state && by_action {
                wanted.push(*id);
            }
        }
        Ok(wanted)
    }
}

/// Whether the filter wants the job: the whole truth, since the job may have changed since the first look.
fn wants(filter: &JobFilter, job: &Job) -> bool {
    (filter.states.is_empty() || filter.states.contains(&job.state))
        && filter.action.as_ref().is_none_or(|action| *action == job.spec.action)
        && filter.label.as_ref().is_none_or(|(name, value)| job.spec.labels.get(name) == Some(value))
        && (!filter.dead_letters || job.dead_letter)
}
