//! Actions: named things that can be run, and the immutable content of their versions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::id::{ActionName, ContentHash, Lane, TenantId};
use crate::limits;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// A named thing that can be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its owner.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: ActionName,
    /// A disabled action takes no new jobs.
    pub enabled: bool,
    /// The version that runs when none is asked for: the newest.
    pub latest: VersionInfo,
    /// When the name was first published.
    pub created_at: Timestamp,
    /// When the action changed last.
    pub updated_at: Timestamp,
}

/// One published version, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// 1, 2, ...; never given twice, not even after the action was deleted and made again.
    pub number: u32,
    /// The content's identity.
    pub content_hash: ContentHash,
    /// When it was published.
    pub created_at: Timestamp,
}

/// What a version is: immutable once published. The JSON form is the body of `PUT /v1/actions/{name}`
/// without `enabled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// What the action does, for people and for agents that choose.
    #[serde(default)]
    pub description: String,
    /// JSON Schema 2020-12 of the input (the short form has been turned into one).
    #[serde(default = "any_input")]
    pub input_schema: Value,
    /// JSON Schema 2020-12 of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// How it runs.
    pub handler: Handler,
    /// How long one attempt may run, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// The deadline of its jobs where the request names none, in milliseconds after their start time.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u64,
    /// Memory of one attempt, in MiB.
    #[serde(default = "memory_mb")]
    pub memory_mb: u32,
    /// The lane of its jobs where the request names none.
    #[serde(default = "Lane::standard")]
    pub lane: Lane,
    /// Whether calls may share a process.
    #[serde(default)]
    pub reuse: Reuse,
    /// When a failed attempt is tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
}

/// How a version runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Handler {
    /// A Python function `handle_event(data)` or `handle_event(data, context)`.
    Python {
        /// The module's source.
        source: String,
    },
    /// One HTTP request, described and not programmed.
    Http(HttpHandler),
}

impl Handler {
    /// The name of the kind, as in the API and in metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Python { .. } => "python",
            Self::Http(_) => "http",
        }
    }
}

/// One HTTP request with `{placeholders}` that are replaced by values of the input, and nothing else:
/// in the URL's path and query percent-encoded, in headers checked, in the body as JSON values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpHandler {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE` or `HEAD`.
    #[serde(default = "get")]
    pub method: String,
    /// Absolute `http` or `https` URL; placeholders only behind the host.
    pub url: String,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Query parameters, added to the URL's own. One whose placeholder has no value is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// JSON body. A string that is one placeholder becomes the value itself, whatever its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// JSON pointer (RFC 6901) to the part of the answer that is the result; the whole answer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Whether calls of a Python handler may share a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// Every call starts from a fresh interpreter state.
    #[default]
    Fresh,
    /// The process is kept between calls of the same tenant and version.
    Warm,
}

impl Content {
    /// The identity of this content: SHA-256 of its JSON with sorted keys.
    pub fn hash(&self) -> ContentHash {
        // `Value` keeps object keys sorted, so equal content gives equal text.
        let text = serde_json::to_value(self).map(|value| value.to_string()).unwrap_or_default();
        let digest: String =
            Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        ContentHash::new(digest).unwrap_or_else(|_| unreachable!("a SHA-256 has 64 hexadecimal digits"))
    }

    /// How long one attempt may run.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn any_input() -> Value {
    Value::Object(serde_json::Map::new())
}

fn get() -> String {
    "GET".into()
}

fn timeout_ms() -> u64 {
    millis(limits::TIMEOUT)
}

fn deadline_ms() -> u64 {
    millis(limits::DEADLINE)
}

fn memory_mb() -> u32 {
    256
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_the_same_hash_whatever_the_order_of_its_fields() {
        let one: Content = serde_json::from_str(
            r#"{"handler":{"kind":"python","source":"x"},"input_schema":{"type":"object","title":"t"}}"#,
        )
        .unwrap();
        let two: Content = serde_json::from_str(
            r#"{"input_schema":{"title":"t","type":"object"},"handler":{"source":"x","kind":"python"},"timeout_ms":5000}"#,
        )
        .unwrap();
        assert_eq!(one.hash(), two.hash());
        assert_ne!(one.hash(), Content { timeout_ms: 1, ..two }.hash());
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let error =
            serde_json::from_str::<Content>(r#"{"handler":{"kind":"python","source":"x"},"colour":1}"#);
        assert!(error.unwrap_err().to_string().contains("colour"));
        let error = serde_json::from_str::<Handler>(r#"{"kind":"http","url":"http://x/","verb":"GET"}"#);
        assert!(error.unwrap_err().to_string().contains("verb"));
    }
}
