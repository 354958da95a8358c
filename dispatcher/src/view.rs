//! The public JSON of what there is: a job, an event, an action, a version, a key, a secret, a problem. HTTP and the
//! replies of the inbox show the same. Stored forms may change; these don't.

use std::collections::{BTreeMap, BTreeSet};

use protocol::action::{Action, Content, VersionInfo};
use protocol::error::{Fault, JobError, Problem};
use protocol::id::{ActionName, ContentHash, JobId, KeyId, Lane, SecretName, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Attempt, Job, Priority, Reason};
use protocol::json::Json;
use protocol::key::{Key, Scope};
use protocol::outcome::Outcome;
use protocol::ports::{JobsPage, SecretInfo};
use protocol::secret::Secret;
use protocol::state::JobState;
use protocol::time::Timestamp;
use serde::Serialize;

use crate::catalog::ActionsPage;

/// A job.
#[derive(Debug, Serialize)]
pub struct JobView<'a> {
    id: JobId,
    action: &'a ActionName,
    version: Option<u32>,
    state: JobState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    lane: &'a Lane,
    priority: Priority,
    attempts: Vec<AttemptView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    labels: &'a BTreeMap<String, String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run_at: Option<Timestamp>,
    deadline: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    cancel_requested: bool,
    dead_letter: bool,
    last_seq: u64,
}

#[derive(Debug, Serialize)]
struct AttemptView<'a> {
    number: u32,
    worker: &'a WorkerId,
    isolation: Isolation,
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
}

/// The whole job.
pub fn job(job: &Job) -> JobView<'_> {
    JobView {
        input: Some(&job.spec.input),
        result: job.result.as_ref(),
        attempts: job.attempts.iter().map(|attempt| attempt_view(attempt, attempt.error.as_ref())).collect(),
        ..job_in_list(job)
    }
}

/// A job in a list: without `input`, `result` and the errors of its attempts, which can be large.
pub fn job_in_list(job: &Job) -> JobView<'_> {
    let spec = &job.spec;
    JobView {
        id: spec.id,
        action: &spec.action,
        version: spec.version,
        state: job.state,
        reason: job.reason,
        lane: &spec.lane,
        priority: spec.priority,
        attempts: job.attempts.iter().map(|attempt| attempt_view(attempt, None)).collect(),
        input: None,
        result: None,
        error: job.error.as_ref(),
        labels: &spec.labels,
        created_at: spec.created_at,
        run_at: spec.run_at,
        next_run_at: job.next_run_at,
        deadline: spec.deadline,
        finished_at: job.finished_at,
        cancel_requested: job.cancel_requested,
        dead_letter: job.dead_letter,
        last_seq: job.last_seq,
    }
}

fn attempt_view<'a>(attempt: &'a Attempt, error: Option<&'a JobError>) -> AttemptView<'a> {
    AttemptView {
        number: attempt.number,
        worker: &attempt.worker,
        isolation: attempt.isolation,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        outcome: attempt.outcome,
        error,
    }
}

/// A page of jobs.
#[derive(Debug, Serialize)]
pub struct JobsView<'a> {
    jobs: Vec<JobView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<JobId>,
}

/// A page of jobs.
pub fn jobs(page: &JobsPage) -> JobsView<'_> {
    JobsView { jobs: page.jobs.iter().map(job_in_list).collect(), next: page.next }
}

/// What became of one request of a batch: a job, or the problem that it met.
#[derive(Debug, Serialize)]
pub struct ItemView<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemView<'a>>,
    /// The job has a result, for which there was no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_omitted: Option<bool>,
    /// Where trying again may help: after so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// The answers to a batch, in the order of its requests.
#[derive(Debug, Serialize)]
pub struct BatchView<'a> {
    answers: Vec<ItemView<'a>>,
}

/// The answers to a batch: each with the status that it would have had alone. Jobs come without their `input`, which
/// the caller has just sent.
pub fn batch(answers: &[Result<Job, Problem>]) -> BatchView<'_> {
    BatchView { answers: answers.iter().map(item).collect() }
}

fn item(answer: &Result<Job, Problem>) -> ItemView<'_> {
    match answer {
        Ok(accepted) => ItemView {
            status: if accepted.state.is_terminal() { 200 } else { 202 },
            job: Some(JobView { input: None, ..job(accepted) }),
            problem: None,
            result_omitted: (accepted.state == JobState::Succeeded && accepted.result.is_none())
                .then_some(true),
            retry_after_ms: None,
        },
        Err(refused) => ItemView {
            status: refused.code.status(),
            job: None,
            problem: Some(problem(refused)),
            result_omitted: None,
            retry_after_ms: refused.retry_after.map(|seconds| u64::from(seconds) * 1_000),
        },
    }
}

/// An action; `content` of its latest version where it was asked for.
#[derive(Debug, Serialize)]
pub struct ActionView<'a> {
    name: &'a ActionName,
    enabled: bool,
    version: u32,
    content_hash: &'a ContentHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a Content>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// An action.
pub fn action<'a>(action: &'a Action, content: Option<&'a Content>) -> ActionView<'a> {
    ActionView {
        name: &action.name,
        enabled: action.enabled,
        version: action.latest.number,
        content_hash: &action.latest.content_hash,
        content,
        created_at: action.created_at,
        updated_at: action.updated_at,
    }
}

/// A page of actions.
#[derive(Debug, Serialize)]
pub struct ActionsView<'a> {
    actions: Vec<ActionView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a ActionName>,
}

/// A page of actions.
pub fn actions(page: &ActionsPage) -> ActionsView<'_> {
    let actions = page.actions.iter().map(|one| action(one, None)).collect();
    ActionsView { actions, next: page.next.as_ref() }
}

/// A version; with `content` where it was asked for.
#[derive(Debug, Serialize)]
pub struct VersionView<'a> {
    version: u32,
    content_hash: &'a ContentHash,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a Content>,
}

/// A version.
pub fn version<'a>(info: &'a VersionInfo, content: Option<&'a Content>) -> VersionView<'a> {
    VersionView {
        version: info.number,
        content_hash: &info.content_hash,
        created_at: info.created_at,
        content,
    }
}

/// The versions of an action.
#[derive(Debug, Serialize)]
pub struct VersionsView<'a> {
    versions: Vec<VersionView<'a>>,
}

/// The versions of an action.
pub fn versions(infos: &[VersionInfo]) -> VersionsView<'_> {
    VersionsView { versions: infos.iter().map(|info| version(info, None)).collect() }
}

/// A key, never with its hash; with its secret only when it was just made.
#[derive(Debug, Serialize)]
pub struct KeyView<'a> {
    id: &'a KeyId,
    tenant: &'a TenantId,
    name: &'a str,
    scopes: &'a BTreeSet<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<&'a BTreeSet<ActionName>>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// A key.
pub fn key<'a>(key: &'a Key, secret: Option<&'a Secret>) -> KeyView<'a> {
    KeyView {
        id: &key.id,
        tenant: &key.tenant,
        name: &key.name,
        scopes: &key.scopes,
        actions: key.actions.as_ref(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        disabled: key.disabled,
        secret: secret.map(Secret::reveal),
    }
}

/// Keys.
#[derive(Debug, Serialize)]
pub struct KeysView<'a> {
    keys: Vec<KeyView<'a>>,
}

/// Keys.
pub fn keys(all: &[Key]) -> KeysView<'_> {
    KeysView { keys: all.iter().map(|one| key(one, None)).collect() }
}

/// A secret, never with its value.
#[derive(Debug, Serialize)]
pub struct SecretView<'a> {
    name: &'a SecretName,
    master_key: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A secret.
pub fn secret(info: &SecretInfo) -> SecretView<'_> {
    SecretView {
        name: &info.name,
        master_key: &info.master_key,
        created_at: info.created_at,
        updated_at: info.updated_at,
    }
}

/// Secrets.
#[derive(Debug, Serialize)]
pub struct SecretsView<'a> {
    secrets: Vec<SecretView<'a>>,
}

/// Secrets.
pub fn secrets(all: &[SecretInfo]) -> SecretsView<'_> {
    SecretsView { secrets: all.iter().map(secret).collect() }
}

/// A problem (RFC 9457).
#[derive(Debug, Serialize)]
pub struct ProblemView<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

/// A problem.
pub fn problem(problem: &Problem) -> ProblemView<'_> {
    ProblemView {
        kind: format!("urn:sortie:error:{}", problem.code),
        title: problem.code.title(),
        status: problem.code.status(),
        code: problem.code.as_str(),
        detail: &problem.detail,
        errors: &problem.faults,
    }
}
