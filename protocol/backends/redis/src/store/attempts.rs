//! An attempt's life: claim, renew, append, finish; and the request to cancel.
//!
//! Specs are large and almost never needed here, so they don't travel with every call: a script that misses
//! the record or the attempt answers `unknown`, and only then the spec is sent to restore it.

use futures_util::future::try_join_all;
use protocol::event::EventBatch;
use protocol::id::{JobId, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::lifecycle::{Step, state_event_data};
use protocol::outcome::Verdict;
use protocol::ports::{Appended, Cancelled, Claim, Finish, Finished, PortError, Renewal};
use protocol::state::JobState;
use redis::Script;

use super::{Answer, RedisStore, record};
use crate::fields::json;

impl RedisStore {
    pub(super) async fn claim_attempt(
        &self,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, PortError> {
        let [error, event] = record::expired(spec);
        let arguments = [worker.as_str(), isolation.as_str(), &error, &event];
        let answer = self.healed("store.claim", &self.scripts.claim, spec, 0, &arguments).await?;
        match answer.word() {
            "granted" => match [1, 2, 3].map(|index| answer.after(index).parse()) {
                [Ok(attempt), Ok(failures), Ok(crashes)] => Ok(Claim::Granted { attempt, failures, crashes }),
                _ => Err(answer.unexpected()),
            },
            "held" => Ok(Claim::Held),
            "not_due" => Ok(Claim::NotDue),
            "over" => over(&answer).map(Claim::Over),
            _ => Err(answer.unexpected()),
        }
    }

    /// All at once: the connection writes them as one pipeline.
    pub(super) async fn renew_attempts(
        &self,
        attempts: &[(&JobSpec, u32)],
    ) -> Result<Vec<Renewal>, PortError> {
        try_join_all(attempts.iter().map(|(spec, attempt)| self.renew_attempt(spec, *attempt))).await
    }

    async fn renew_attempt(&self, spec: &JobSpec, attempt: u32) -> Result<Renewal, PortError> {
        let number = attempt.to_string();
        let answer = self.healed("store.renew", &self.scripts.renew, spec, attempt, &[&number]).await?;
        match answer.word() {
            "held" => Ok(Renewal::Held),
            "cancel" => Ok(Renewal::CancelRequested),
            "lost" => Ok(Renewal::Lost),
            _ => Err(answer.unexpected()),
        }
    }

    pub(super) async fn append_events(
        &self,
        spec: &JobSpec,
        attempt: u32,
        batch: &EventBatch,
    ) -> Result<Appended, PortError> {
        let (number, first) = (attempt.to_string(), batch.first.to_string());
        let mut arguments = vec![number.as_str(), &first];
        arguments.extend(events(batch));
        let answer = self.healed("store.append", &self.scripts.append, spec, attempt, &arguments).await?;
        match answer.word() {
            "stored" => Ok(Appended::Stored),
            "lost" => Ok(Appended::Lost),
            _ => Err(answer.unexpected()),
        }
    }

    pub(super) async fn finish_attempt(
        &self,
        spec: &JobSpec,
        attempt: u32,
        finish: &Finish,
    ) -> Result<Finished, PortError> {
        let attempt_error = match &finish.verdict {
            Verdict::Fail(error) | Verdict::Retry { error, .. } => json(error),
            _ => String::new(),
        };
        let next = Next::of(Step::of(&finish.verdict, spec));
        let (number, first) = (attempt.to_string(), finish.last.first.to_string());
        let mut arguments = vec![
            number.as_str(),
            finish.outcome.as_str(),
            &attempt_error,
            next.state.as_str(),
            &next.event,
            &next.result,
            &next.error,
            next.dead_letter,
            next.reason,
            &next.run_at,
            &first,
        ];
        arguments.extend(events(&finish.last));
        let answer = self.healed("store.finish", &self.scripts.finish, spec, attempt, &arguments).await?;
        match answer.word() {
            "recorded" => Ok(Finished::Recorded),
            "lost" => Ok(Finished::Late),
            _ => Err(answer.unexpected()),
        }
    }

    pub(super) async fn cancel_job(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError> {
        let answer = self.run("store.cancel", &self.scripts.cancel, job, &[tenant.as_str()]).await?;
        match answer.word() {
            "now" => Ok(Cancelled::Now),
            "asked" => Ok(Cancelled::Asked),
            "over" => over(&answer).map(Cancelled::Over),
            "not_found" => Ok(Cancelled::NotFound),
            _ => Err(answer.unexpected()),
        }
    }

    /// Runs a script on a job, and once more after restoring it where the server doesn't know the job or the
    /// attempt. Between the two steps another process may have gone on with the job; the script sees that.
    async fn healed(
        &self,
        operation: &'static str,
        script: &Script,
        spec: &JobSpec,
        attempt: u32,
        arguments: &[&str],
    ) -> Result<Answer, PortError> {
        let answer = self.run(operation, script, spec.id, arguments).await?;
        if answer.word() != "unknown" {
            return Ok(answer);
        }
        tracing::warn!(job = %spec.id, attempt, operation, "the server had lost what it knew of a job: restored");
        let attempt = attempt.to_string();
        let whole = record::arguments(spec);
        let whole: Vec<&str> = whole.iter().map(String::as_str).chain([attempt.as_str()]).collect();
        self.run(operation, &self.scripts.restore, spec.id, &whole).await?;
        self.run(operation, script, spec.id, arguments).await
    }
}

/// The terminal state that a script told.
fn over(answer: &Answer) -> Result<JobState, PortError> {
    JobState::from_name(answer.after(1)).ok_or_else(|| answer.unexpected())
}

/// The kinds and data of events, one after another.
fn events(batch: &EventBatch) -> impl Iterator<Item = &str> {
    batch.events.iter().flat_map(|event| [event.kind.as_str(), event.data.text()])
}

/// A step in the words of `finish.lua`; what doesn't apply is empty.
#[derive(Default)]
struct Next {
    state: String,
    event: String,
    result: String,
    error: String,
    dead_letter: &'static str,
    reason: &'static str,
    run_at: String,
}

impl Next {
    fn of(step: Step) -> Self {
        match step {
            Step::End(end) => Self {
                state: end.state.to_string(),
                event: end.event_data().text().to_owned(),
                result: end.result.map(|result| result.text().to_owned()).unwrap_or_default(),
                error: end.error.map(|error| json(&error)).unwrap_or_default(),
                dead_letter: if end.dead_letter { "1" } else { "" },
                ..Self::default()
            },
            Step::Continue { state, reason, at } => Self {
                state: state.to_string(),
                event: state_event_data(state, Some(reason)).text().to_owned(),
                reason: reason.as_str(),
                run_at: at.map(|at| at.millis().to_string()).unwrap_or_default(),
                ..Self::default()
            },
        }
    }
}
