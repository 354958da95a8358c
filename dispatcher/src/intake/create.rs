//! Makes the job of an accepted request and records it, at most once for one idempotency key.

use protocol::error::{Code, Problem};
use protocol::id::JobId;
use protocol::job::{Job, JobSpec};
use protocol::ports::{Created, Idempotency, NewJob, Store};
use protocol::time::Timestamp;
use sha2::{Digest, Sha256};

use super::admit::Times;
use super::parse::{Origin, Submit};
use super::resolve::Run;
use crate::access::Caller;
use crate::trouble;

/// What recording made.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// A new job.
    New(Job),
    /// The job of an earlier request with the same idempotency key.
    Same(Job),
}

/// Everything that was asked for, put together.
pub(crate) fn spec(
    caller: &Caller,
    run: &Run,
    submit: Submit,
    origin: Origin,
    times: Times,
    now: Timestamp,
) -> JobSpec {
    JobSpec {
        id: origin.beside.map_or_else(JobId::generate, JobId::generate_beside),
        tenant: caller.tenant().clone(),
        action: run.action.clone(),
        version: run.version,
        content_hash: run.content_hash.clone(),
        input: submit.input,
        lane: submit.lane.unwrap_or_else(|| run.terms.lane.clone()),
        priority: submit.priority,
        created_at: now,
        run_at: times.run_at,
        deadline: times.deadline,
        timeout_ms: run.terms.timeout_ms,
        retry: run.terms.retry.clone(),
        labels: submit.labels,
        traceparent: origin.traceparent.filter(|text| is_traceparent(text)),
        reply: origin.reply,
        key: Some(caller.key().clone()),
    }
}

/// The idempotency key of a request with the fingerprint of what it asks for: the parsed body with sorted
/// keys, so that another spelling of the same JSON is the same request. Of a draft the content counts too.
pub(crate) fn idempotency(
    submit: &Submit,
    origin: &Origin,
    draft: Option<&Run>,
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = origin.idempotency_key.clone() else { return Ok(None) };
    let body = serde_json::to_value(submit)
        .map_err(|_| Problem::at(Code::FieldInvalid, "/input", "can't be read as JSON values"))?;
    let hash = draft.map_or("", |run| run.content_hash.as_str());
    let digest = Sha256::digest(format!("{hash} {body}"));
    let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Idempotency { key, fingerprint }))
}

/// Records the job. When this returns `Ok` the job outlives this process; after an error nothing was
/// answered, and the same request with its idempotency key finds out what became of it.
pub(crate) async fn record(
    store: &dyn Store,
    spec: JobSpec,
    idempotency: Option<Idempotency>,
) -> Result<Recorded, Problem> {
    match store.create(NewJob { spec, idempotency }).await.map_err(trouble::problem)? {
        Created::New(job) => Ok(Recorded::New(*job)),
        Created::Same(job) => Ok(Recorded::Same(*job)),
        Created::Conflict => Err(Problem::new(
            Code::IdempotencyConflict,
            "this idempotency key was used for another request; take a new key for a new request",
        )),
    }
}

/// `00-<trace id>-<parent id>-<flags>` in lower-case hexadecimal (W3C Trace Context).
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2])
        && parts.iter().all(|part| hex(part))
        && parts[0] != "ff"
        && !zero(parts[1])
        && !zero(parts[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(body: &str) -> String {
        let origin = Origin { idempotency_key: Some("k".into()), ..Origin::default() };
        idempotency(&Submit::parse(body.as_bytes()).unwrap(), &origin, None).unwrap().unwrap().fingerprint
    }

    #[test]
    fn another_spelling_of_the_same_request_has_the_same_fingerprint() {
        let one = fingerprint(r#"{"action":"a","input":{"x":1,"y":[2]},"priority":"normal"}"#);
        assert_eq!(one, fingerprint(r#"{ "input": {"y":[ 2 ],"x":1}, "action":"a" }"#));
        assert_ne!(one, fingerprint(r#"{"action":"a","input":{"x":2,"y":[2]}}"#));
        assert_ne!(one, fingerprint(r#"{"action":"a","input":{"x":1,"y":[2]},"priority":"low"}"#));
    }

    #[test]
    fn only_well_formed_trace_contexts_are_carried() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
