//! Recording a job, and that the queue has it.
//!
//! An idempotency key lives in another slot than its job, so there are two steps, and whoever is killed
//! between them loses nothing: the key is set first and names the job's id; who finds the key but no record
//! makes the record with that id.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use protocol::id::JobId;
use protocol::job::{Job, JobSpec, Reason};
use protocol::ports::{Confirmed, Created, Idempotency, NewJob, PortError};
use protocol::state::JobState;
use redis::{RedisWrite, Value};

use super::calls::Step;
use super::{RedisStore, millis, record};
use crate::connection::evaluate;
use crate::error::Unreadable;
use crate::fields::Fields;
use crate::keys::{Index, JobKey, SHARDS};

const OPERATION: &str = "store.create";

/// Marks that one script clears: Lua takes some thousands of values at once, not more.
const MARKS: usize = 1_000;

impl RedisStore {
    pub(super) async fn create_job(&self, new: NewJob) -> Result<Created, PortError> {
        let NewJob { mut spec, idempotency } = new;
        if let Some(idempotency) = idempotency {
            match self.job_of_key(&spec, &idempotency).await? {
                Some(job) => spec.id = job,
                None => return Ok(Created::Conflict),
            }
        }
        let arguments = record::arguments(&spec).into_iter().map(Cow::Owned).collect();
        let answer = self.calls.step(Step::Create, spec.id, arguments).await?;
        match (answer.word(), JobState::from_name(answer.after(1))) {
            ("new", Some(state)) => Ok(Created::New(Box::new(recorded(spec, state)))),
            ("same", _) => {
                let job = record::job(&Fields::of_answer(answer.words)).map_err(|e| e.during(OPERATION))?;
                Ok(Created::Same(Box::new(job)))
            }
            _ => Err(answer.unexpected()),
        }
    }

    /// One script for each shard, all at once.
    pub(super) async fn clear_marks(&self, jobs: &[Confirmed]) -> Result<(), PortError> {
        let mut shards: BTreeMap<u8, Vec<&Confirmed>> = BTreeMap::new();
        for confirmed in jobs {
            shards.entry(confirmed.job.shard(SHARDS)).or_default().push(confirmed);
        }
        let parts = shards.iter().flat_map(|(shard, jobs)| jobs.chunks(MARKS).map(|jobs| (*shard, jobs)));
        try_join_all(parts.map(|(shard, jobs)| self.clear_marks_of(shard, jobs))).await?;
        Ok(())
    }

    async fn clear_marks_of(&self, shard: u8, jobs: &[&Confirmed]) -> Result<(), PortError> {
        let script = &self.scripts.published;
        let mut call = evaluate(script, 1 + jobs.len());
        call.arg(self.keys.index(shard, Index::Outbox));
        jobs.iter().for_each(|confirmed| self.keys.add(&mut call, confirmed.job, JobKey::Job));
        jobs.iter().for_each(|confirmed| call.write_arg_fmt(confirmed.job));
        jobs.iter().for_each(|confirmed| call.write_arg_fmt(confirmed.began.elapsed().as_millis()));
        self.connection.script::<Value>("store.published", script, &call).await?;
        Ok(())
    }

    /// The job that the key stands for: from now on this one, if it is new. `None` if it stands for another
    /// request.
    async fn job_of_key(
        &self,
        spec: &JobSpec,
        idempotency: &Idempotency,
    ) -> Result<Option<JobId>, PortError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys.idempotency(&spec.tenant, &idempotency.key))
            .arg(format!("{} {}", spec.id, idempotency.fingerprint))
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(millis(self.options.retention));
        let found: Option<String> = self.connection.run(OPERATION, &set).await?;
        let Some(found) = found else { return Ok(Some(spec.id)) };
        let unreadable = || Unreadable::at("the idempotency key's job").during(OPERATION);
        let (job, fingerprint) = found.split_once(' ').ok_or_else(unreadable)?;
        if fingerprint != idempotency.fingerprint {
            return Ok(None);
        }
        job.parse().map(Some).map_err(|_| unreadable())
    }
}

/// The job as the script has just recorded it.
fn recorded(spec: JobSpec, state: JobState) -> Job {
    let (reason, next_run_at) = match state {
        JobState::Scheduled => (Reason::NotDue, spec.run_at),
        _ => (Reason::AwaitingWorker, None),
    };
    Job {
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
        last_seq: 1,
    }
}
