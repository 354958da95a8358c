//! Reads a body that anyone may have written: UTF-8, JSON, not too deep, and only fields that are known.

use std::collections::BTreeMap;

use protocol::error::{Code, Fault, Problem};
use protocol::id::{ActionName, JobId, Lane};
use protocol::job::{Priority, ReplyTo};
use protocol::json::{self, Json, MAX_DEPTH};
use protocol::limits;
use protocol::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::error::Category;

use super::explain;

/// A request to run an action: the body of `POST /v1/jobs` and of a message to the inbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The action to run.
    pub action: ActionName,
    /// The version to run; the latest if absent.
    #[serde(default)]
    pub version: Option<u32>,
    /// The input; an empty object if absent.
    #[serde(default = "empty_object")]
    pub input: Json,
    /// The deadline, in milliseconds after the start time; the version's own if absent.
    #[serde(default)]
    pub deadline_ms: Option<i64>,
    /// The urgency within the lane.
    #[serde(default)]
    pub priority: Priority,
    /// The start time; at once if absent or in the past.
    #[serde(default)]
    pub run_at: Option<Timestamp>,
    /// The lane to wait in; the version's own if absent.
    #[serde(default)]
    pub lane: Option<Lane>,
    /// The caller's own marks.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What comes with a request besides its body.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The caller's own key for this request: the same key and body give the same job.
    pub idempotency_key: Option<String>,
    /// W3C trace context. One that isn't well-formed is ignored, as its specification says.
    pub traceparent: Option<String>,
    /// Where the finished job is sent.
    pub reply: Option<ReplyTo>,
    /// The id beside which the job's is made, where several come together.
    pub(crate) beside: Option<JobId>,
}

impl Origin {
    /// What comes with request number `index` of a batch: an idempotency key of its own.
    pub(crate) fn of_item(&self, index: usize, beside: JobId) -> Self {
        let idempotency_key = self.idempotency_key.as_ref().map(|key| format!("{key}/{index}"));
        Self { idempotency_key, beside: Some(beside), ..self.clone() }
    }
}

impl Submit {
    /// The plainest request for an action.
    pub fn of(action: ActionName, input: Json, deadline_ms: Option<i64>) -> Self {
        Self {
            action,
            version: None,
            input,
            deadline_ms,
            priority: Priority::default(),
            run_at: None,
            lane: None,
            labels: BTreeMap::new(),
        }
    }

    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let submit: Self = read(body)?;
        let faults = label_faults(&submit.labels);
        if faults.is_empty() { Ok(submit) } else { Err(invalid(faults)) }
    }
}

/// Several faults of one body as one problem.
pub(crate) fn invalid(faults: Vec<Fault>) -> Problem {
    let texts: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.message)).collect();
    Problem::new(Code::FieldInvalid, texts.join("; ")).with(faults)
}

/// Reads `body` as a `T`, and says precisely what is wrong if it isn't one.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // Before anything recursive sees it.
    let depth = json::depth(body);
    if depth > MAX_DEPTH {
        let detail = format!("the body nests {depth} levels deep; at most {MAX_DEPTH} are allowed");
        return Err(Problem::new(Code::BodyTooDeep, detail));
    }
    read_outside(body)
}

/// The same for a `T` that only keeps the texts of its parts ([`Json`]): each is read by itself, and its depth is its own.
pub(crate) fn read_outside<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the byte at offset {} is not UTF-8", error.valid_up_to());
        Problem::new(Code::BodyNotUtf8, detail)
    })?;
    let mut source = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut source)
        .map_err(|error| refused("", error.path(), error.inner()))?;
    source.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Reads a part of a body, found at the pointer `root`, as a `T`.
pub(crate) fn read_part<T: DeserializeOwned>(root: &str, part: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(part).map_err(|error| refused(root, error.path(), error.inner()))
}

fn refused(root: &str, path: &serde_path_to_error::Path, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => explain::refusal(root, path, &error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => not_json(error),
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let what = explain::without_position(&message);
    let detail = format!("line {}, column {}: {what}", error.line(), error.column());
    Problem::new(Code::BodyNotJson, detail)
}

fn label_faults(labels: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if labels.len() > limits::LABELS {
        let message = format!("{} labels; at most {} are allowed", labels.len(), limits::LABELS);
        return vec![Fault::at("/labels", message)];
    }
    for (name, value) in labels {
        let place = format!("/labels/{}", explain::escape(name));
        // A list asks for a label as `name:value`.
        if name.is_empty() || name.len() > limits::LABEL_NAME_BYTES || name.contains(':') {
            let rule = format!("a label's name has 1 to {} bytes and no ':'", limits::LABEL_NAME_BYTES);
            faults.push(Fault::at(place, rule));
        } else if value.len() > limits::LABEL_VALUE_BYTES {
            let rule = format!("a label's value has at most {} bytes", limits::LABEL_VALUE_BYTES);
            faults.push(Fault::at(place, rule));
        }
    }
    faults
}

/// The input of a request that names none: what a handler without parameters expects.
pub(crate) fn empty_object() -> Json {
    Json::from(Value::Object(serde_json::Map::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (Code, String, String) {
        let problem = Submit::parse(body.as_bytes()).unwrap_err();
        let fault = problem.faults.first().cloned().unwrap_or(Fault::at("", problem.detail.clone()));
        (problem.code, fault.pointer, fault.message)
    }

    #[test]
    fn a_whole_request_reads_and_keeps_the_input_to_the_letter() {
        let submit = Submit::parse(
            br#"{"action":"weather.get","version":3,"input":{ "a" : 1.50 },"deadline_ms":10,"priority":"high",
                "run_at":"2026-01-31T12:00:00Z","lane":"gpu","labels":{"team":"travel"}}"#,
        )
        .unwrap();
        assert_eq!(submit.input.text(), r#"{ "a" : 1.50 }"#);
        assert_eq!(submit.priority, Priority::High);
        assert_eq!(Submit::parse(br#"{"action":"a"}"#).unwrap().input.text(), "{}");
    }

    #[test]
    fn each_mistake_has_its_code_its_place_and_a_sentence() {
        let checks = [
            (r#"{"input":1}"#, Code::FieldMissing, "/action", "is missing"),
            (
                r#"{"action":"a","deadline":1}"#,
                Code::FieldUnknown,
                "/deadline",
                "unknown field; did you mean deadline_ms?",
            ),
            (
                r#"{"action":"a","deadline_ms":"1s"}"#,
                Code::FieldInvalid,
                "/deadline_ms",
                "must be a whole number, not the string \"1s\"",
            ),
            (
                r#"{"action":"a","deadline_ms":1.5}"#,
                Code::FieldInvalid,
                "/deadline_ms",
                "must be a whole number, not 1.5",
            ),
            (
                r#"{"action":"a","version":-1}"#,
                Code::FieldInvalid,
                "/version",
                "must be a whole number from 0 to 4294967295, not -1",
            ),
            (
                r#"{"action":"a","priority":"urgent"}"#,
                Code::FieldInvalid,
                "/priority",
                "unknown value \"urgent\"; known values: low, normal, high",
            ),
            (
                r#"{"action":"a","labels":{"a/b":1}}"#,
                Code::FieldInvalid,
                "/labels/a~1b",
                "must be a string, not 1",
            ),
            (r#"{"action":"a","action":"b"}"#, Code::FieldInvalid, "/action", "appears twice"),
            (
                r#"{"action":"a","labels":{"a:b":""}}"#,
                Code::FieldInvalid,
                "/labels/a:b",
                "a label's name has 1 to 64 bytes and no ':'",
            ),
        ];
        for (body, code, pointer, message) in checks {
            assert_eq!(refusal(body), (code, pointer.into(), message.into()), "{body}");
        }
    }

    #[test]
    fn names_and_times_say_their_rule() {
        let (code, pointer, message) = refusal(r#"{"action":"a b"}"#);
        assert_eq!((code, pointer.as_str()), (Code::FieldInvalid, "/action"));
        assert!(message.contains("letters, digits"), "{message}");
        let (_, pointer, message) = refusal(r#"{"action":"a","run_at":"tomorrow"}"#);
        assert_eq!(pointer, "/run_at");
        assert!(message.contains("RFC 3339"), "{message}");
    }

    #[test]
    fn what_is_no_json_object_is_refused_by_its_kind() {
        assert_eq!(refusal("[1]").0, Code::FieldInvalid);
        for body in ["", "{", "{\"action\":\"a\"} x", "{\"action\":\"a\",\"input\":{]}"] {
            assert_eq!(refusal(body).0, Code::BodyNotJson, "{body}");
        }
        let deep = format!("{{\"action\":\"a\",\"input\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(refusal(&deep).0, Code::BodyTooDeep);
        assert_eq!(Submit::parse(b"{\"action\":\"\xff\"}").unwrap_err().code, Code::BodyNotUtf8);
    }
}
