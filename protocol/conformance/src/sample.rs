//! Jobs, actions and keys to play with. A sample is ordinary; a rule changes what it is about.
//! Tests of backends, dispatcher and worker may use them too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::action::{Content, Handler, Reuse};
use protocol::error::{Code, JobError};
use protocol::event::{EventBatch, EventKind, NewEvent};
use protocol::id::{ActionName, ContentHash, JobId, KeyId, Lane, SecretName, TenantId, WorkerId};
use protocol::job::{JobSpec, Priority, ReplyTo};
use protocol::json::Json;
use protocol::key::{Key, KeyHash, Scope};
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Finish, Idempotency, NewJob};
use protocol::retry::RetryPolicy;
use protocol::seal::Sealed;
use protocol::secret::Secret;
use protocol::time::Timestamp;
use serde_json::json;

/// Text that breaks what handles text carelessly.
pub const UNICODE: &str = "Zoë 東京 🚀 e\u{301} \u{202e}rtl \u{7f} {x}:*[a]\\ '\"%00";

/// The tenant of that name.
pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// The action of that name.
pub fn action(name: &str) -> ActionName {
    ActionName::new(name).unwrap()
}

/// The lanes that rules use: what the place of a server that cannot list its queues has to remove.
pub const LANES: [&str; 7] = ["default", "one", "two", "later", "gpu-2_x", "0", "never-used"];

/// The lane of that name, one of [`LANES`].
pub fn lane(name: &str) -> Lane {
    assert!(LANES.contains(&name), "{name} is not in the list of lanes");
    Lane::new(name).unwrap()
}

/// The worker of that name.
pub fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

/// JSON text as it is, spaces and all.
pub fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).unwrap()
}

/// The instant that is so many milliseconds from now.
pub fn in_ms(millis: u64) -> Timestamp {
    Timestamp::now().plus(Duration::from_millis(millis))
}

/// A job that may run now and has a minute.
pub fn job() -> JobSpec {
    JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: action("weather.get"),
        version: Some(1),
        content_hash: ContentHash::new("0".repeat(64)).unwrap(),
        input: json(r#"{"city":"Oslo"}"#),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: Timestamp::now(),
        run_at: None,
        deadline: in_ms(60_000),
        timeout_ms: 5_000,
        retry: RetryPolicy::default(),
        labels: BTreeMap::new(),
        traceparent: None,
        reply: None,
        key: None,
    }
}

/// A job with something unusual in every field.
pub fn elaborate_job() -> JobSpec {
    JobSpec {
        tenant: tenant("a-team_9"),
        action: action("A.b-c_d.9"),
        version: None,
        content_hash: ContentHash::new("0123456789abcdef".repeat(4)).unwrap(),
        input: json(&format!(r#"{{ "b" : 1.50, "a":[null, 1e400 ,"\u0000"],  "t":{} }}"#, json!(UNICODE))),
        lane: lane("gpu-2_x"),
        priority: Priority::High,
        run_at: Some(Timestamp::from_millis(1_767_225_600_001)),
        timeout_ms: 1,
        retry: RetryPolicy { max_attempts: 20, backoff_ms: 1, factor: 1.1, max_backoff_ms: u64::MAX >> 12 },
        labels: BTreeMap::from([
            ("team".into(), UNICODE.into()),
            (String::new(), String::new()),
            (UNICODE.into(), "x".repeat(256)),
        ]),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        reply: Some(ReplyTo { address: "amq.gen-ä:{1}".into(), correlation_id: Some(UNICODE.into()) }),
        key: Some(KeyId::new("key_1").unwrap()),
        ..job()
    }
}

/// A job that starts so many milliseconds from now.
pub fn job_in(millis: u64) -> JobSpec {
    JobSpec { run_at: Some(in_ms(millis)), ..job() }
}

/// A job with so many milliseconds to its deadline.
pub fn job_with_deadline_in(millis: u64) -> JobSpec {
    JobSpec { deadline: in_ms(millis), ..job() }
}

/// A job that somebody waits for elsewhere.
pub fn job_with_reply() -> JobSpec {
    JobSpec { reply: Some(ReplyTo { address: "answers".into(), correlation_id: None }), ..job() }
}

/// A request without a key of the caller's own.
pub fn new(spec: &JobSpec) -> NewJob {
    NewJob { spec: spec.clone(), idempotency: None }
}

/// A request with the caller's own key.
pub fn with_key(spec: &JobSpec, key: &str, fingerprint: &str) -> NewJob {
    let idempotency = Idempotency { key: key.into(), fingerprint: fingerprint.into() };
    NewJob { idempotency: Some(idempotency), ..new(spec) }
}

/// The chunks `numbers`, as an attempt's events from the ordinal `first` on.
pub fn chunks(first: u64, numbers: impl IntoIterator<Item = u64>) -> EventBatch {
    let chunk = |number| NewEvent { kind: EventKind::Chunk, data: json!(number).into() };
    EventBatch { first, events: numbers.into_iter().map(chunk).collect() }
}

/// An end without further events.
pub fn finish(outcome: Outcome, verdict: Verdict) -> Finish {
    Finish { outcome, verdict, took: Duration::from_millis(3), last: EventBatch::default() }
}

/// An end with this result.
pub fn succeed(result: &str) -> Finish {
    finish(Outcome::Succeeded, Verdict::Succeed(json(result)))
}

/// An end with an error that nobody tries to mend.
pub fn fail() -> Finish {
    finish(Outcome::Failed, Verdict::Fail(error("no such city")))
}

/// Another try, not before so many milliseconds from now.
pub fn retry_in(millis: u64, outcome: Outcome) -> Finish {
    finish(outcome, Verdict::Retry { at: in_ms(millis), error: error("try again") })
}

/// An end because the worker stops.
pub fn requeue() -> Finish {
    finish(Outcome::Interrupted, Verdict::Requeue)
}

/// What a handler may have to say for itself.
pub fn error(message: &str) -> JobError {
    JobError::new(Code::HandlerRaised, message).with(json!({"type": "ValueError", "text": UNICODE}))
}

/// The content of an action; other sources make other contents.
pub fn content(source: &str) -> Content {
    Content {
        description: UNICODE.into(),
        input_schema: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
        output_schema: Some(json!(true)),
        handler: Handler::Python { source: source.into() },
        timeout_ms: 5_000,
        deadline_ms: 60_000,
        memory_mb: 256,
        lane: Lane::standard(),
        reuse: Reuse::Warm,
        egress: None,
        secrets: Vec::new(),
        retry: RetryPolicy::default(),
    }
}

/// The secret's name.
pub fn secret(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

/// A sealed secret; other letters make others. No master key opens it, and no registry tries.
pub fn sealed(letter: char) -> Sealed {
    let body = letter.to_string().repeat(64);
    format!("v1:0123456789abcdef:{body}").parse().unwrap()
}

/// A key of `tenant` with that id; the hash follows from the secret.
pub fn key(owner: &TenantId, id: &str, secret: &str) -> Key {
    Key {
        id: KeyId::new(id).unwrap(),
        tenant: owner.clone(),
        name: UNICODE.into(),
        hash: KeyHash::of(&Secret::new(secret)),
        scopes: BTreeSet::from([Scope::JobsRead, Scope::Admin]),
        actions: Some(BTreeSet::from([action("weather.get"), action("a")])),
        created_at: Timestamp::from_millis(1_767_225_600_001),
        expires_at: Some(Timestamp::from_millis(1_767_225_600_002)),
        disabled: false,
    }
}
