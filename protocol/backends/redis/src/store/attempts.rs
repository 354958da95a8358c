//! An attempt's life: claim, renew, append, finish; and the request to cancel.
//!
//! Scripts that run for every job know the plain case only; what is almost never needed doesn't travel with every
//! call. A script that misses the record or the attempt answers `unknown`, and only then the spec is sent to restore
//! it; a claim before which something must be ended answers `settle`, and only then the texts of an end are sent. What
//! is done between the two calls of a claim are steps that a sweep would do as well.

use std::borrow::Cow;

use futures_util::future::try_join_all;
use protocol::event::EventBatch;
use protocol::id::{JobId, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::lifecycle::{Step, state_event_data};
use protocol::outcome::Verdict;
use protocol::pace::PaceKey;
use protocol::ports::{Appended, Cancelled, Claim, Finish, Finished, Kind, PortError, Renewal};
use protocol::state::JobState;

use super::calls::{self, Answer};
use super::scripts::JobScript;
use super::{RedisStore, record};
use crate::fields::json;
use crate::news;

/// How often a claim tries to start a job that others start and end meanwhile.
const CLAIMS: usize = 4;
const CLAIM: &str = "store.claim";

impl RedisStore {
    /// `None` if the server doesn't know the job.
    pub(super) async fn claim_known(
        &self,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, PortError> {
        for _ in 0..CLAIMS {
            let arguments = vec![Cow::Owned(worker.to_string()), Cow::Borrowed(isolation.as_str())];
            let mut answer = self.calls.step(calls::Step::Claim, spec.id, arguments).await?;
            if answer.word() == "settle" {
                let error = record::expired(spec);
                answer = self.calls.run(CLAIM, &self.scripts.settle, spec.id, &[&error]).await?;
            }
            return match answer.word() {
                "granted" => match [1, 2, 3].map(|index| answer.after(index).parse()) {
                    [Ok(attempt), Ok(failures), Ok(crashes)] => {
                        Ok(Some(Claim::Granted { attempt, failures, crashes }))
                    }
                    _ => Err(answer.unexpected()),
                },
                "queued" => continue,
                "held" => Ok(Some(Claim::Held)),
                "not_due" => Ok(Some(Claim::NotDue)),
                "over" => over(&answer).map(|state| Some(Claim::Over(state))),
                "unknown" => Ok(None),
                _ => Err(answer.unexpected()),
            };
        }
        // Each time somebody else had claimed the job between our steps, and let it go.
        Ok(Some(Claim::Held))
    }

    pub(super) async fn claim_attempt(
        &self,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, PortError> {
        if let Some(claim) = self.claim_known(spec, worker, isolation).await? {
            return Ok(claim);
        }
        self.restore(CLAIM, spec, 0).await?;
        let gone = || {
            PortError::new(Kind::Unexpected, CLAIM)
                .because("the job's record is gone as soon as it is restored")
        };
        self.claim_known(spec, worker, isolation).await?.ok_or_else(gone)
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
        let mut answer = self.end_attempt(spec, attempt, finish).await?;
        if answer.word() == "unknown" {
            self.restore("store.finish", spec, attempt).await?;
            answer = self.end_attempt(spec, attempt, finish).await?;
        }
        match answer.word() {
            "recorded" => Ok(Finished::Recorded),
            "lost" => Ok(Finished::Late),
            _ => Err(answer.unexpected()),
        }
    }

    async fn end_attempt(&self, spec: &JobSpec, attempt: u32, finish: &Finish) -> Result<Answer, PortError> {
        let Next { ends, words } = Next::of(spec, attempt, finish);
        if ends && finish.last.events.is_empty() {
            return self.calls.step(calls::Step::Finish, spec.id, words).await;
        }
        let first = finish.last.first.to_string();
        let mut arguments: Vec<&str> = words.iter().map(|word| &**word).collect();
        if !finish.last.events.is_empty() {
            arguments.push(&first);
            arguments.extend(events(&finish.last));
        }
        let script = if ends { &self.scripts.finish_with_events } else { &self.scripts.hand_back };
        self.calls.run("store.finish", script, spec.id, &arguments).await
    }

    pub(super) async fn cancel_job(&self, tenant: &TenantId, job: JobId) -> Result<Cancelled, PortError> {
        let answer = self.calls.run("store.cancel", &self.scripts.cancel, job, &[tenant.as_str()]).await?;
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
        script: &JobScript,
        spec: &JobSpec,
        attempt: u32,
        arguments: &[&str],
    ) -> Result<Answer, PortError> {
        let answer = self.calls.run(operation, script, spec.id, arguments).await?;
        if answer.word() != "unknown" {
            return Ok(answer);
        }
        self.restore(operation, spec, attempt).await?;
        self.calls.run(operation, script, spec.id, arguments).await
    }

    async fn restore(&self, operation: &'static str, spec: &JobSpec, attempt: u32) -> Result<(), PortError> {
        tracing::warn!(job = %spec.id, attempt, operation, "the server had lost what it knew of a job: restored");
        let attempt = attempt.to_string();
        let whole = record::arguments(spec);
        let whole: Vec<&str> = whole.iter().map(String::as_str).chain([attempt.as_str()]).collect();
        self.calls.run(operation, &self.scripts.restore, spec.id, &whole).await?;
        Ok(())
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

/// What the news of an end says of the version's pace.
fn pace(spec: &JobSpec, finish: &Finish) -> String {
    finish.pace().map_or_else(String::new, |took| news::pace(PaceKey::of(&spec.content_hash), took))
}

/// How an attempt ends, in the words of `finish.lua`, where its job ends too, or of `hand_back.lua`; what doesn't apply is empty.
struct Next {
    ends: bool,
    words: Vec<Cow<'static, str>>,
}

impl Next {
    fn of(spec: &JobSpec, attempt: u32, finish: &Finish) -> Self {
        let attempt_error = match &finish.verdict {
            Verdict::Fail(error) | Verdict::Retry { error, .. } => json(error),
            _ => String::new(),
        };
        let mut words =
            vec![attempt.to_string().into(), finish.outcome.as_str().into(), attempt_error.into()];
        match Step::of(&finish.verdict, spec) {
            Step::End(end) => {
                let (field, text) = match (end.result, end.error) {
                    (Some(result), _) => ("result", result.text().to_owned()),
                    (None, error) => ("error", error.map(|error| json(&error)).unwrap_or_default()),
                };
                let dead_letter = if end.dead_letter { "1" } else { "" };
                words.extend([end.state.as_str().into(), field.into(), text.into(), dead_letter.into()]);
                words.push(pace(spec, finish).into());
                Self { ends: true, words }
            }
            Step::Continue { state, reason, at } => {
                let event = state_event_data(state, Some(reason)).text().to_owned();
                let at = at.map(|at| at.millis().to_string()).unwrap_or_default();
                words.extend([state.as_str().into(), event.into(), reason.as_str().into(), at.into()]);
                Self { ends: false, words }
            }
        }
    }
}
