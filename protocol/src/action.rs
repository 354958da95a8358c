//! Actions: named things that can be run, and the immutable content of their versions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::egress::Egress;
use crate::id::{ActionName, ContentHash, Lane, SecretName, TenantId};
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
    /// What its handler may connect to; every public host if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Secrets of the tenant that its handler gets. One that `auth` of an HTTP handler names need not be here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
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
    /// A secret that is sent along, to show the target who calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<HttpAuth>,
    /// JSON pointer (RFC 6901) to the part of the answer that is the result; the whole answer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A secret in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAuth {
    /// Where it stands.
    #[serde(rename = "in")]
    pub place: AuthPlace,
    /// The header, the query parameter, or the field of the JSON body.
    pub name: String,
    /// The secret.
    pub secret: SecretName,
    /// What stands before its value: `Bearer `, for instance.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Where a secret stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlace {
    /// A header.
    Header,
    /// A parameter of the query.
    Query,
    /// A field of the JSON object that is the body.
    Body,
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

    /// Every secret that an attempt needs, each once.
    pub fn secret_names(&self) -> BTreeSet<&SecretName> {
        let auth = match &self.handler {
            Handler::Http(handler) => handler.auth.as_ref().map(|auth| &auth.secret),
            Handler::Python { .. } => None,
        };
        self.secrets.iter().chain(auth).collect()
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
    fn an_allow_list_is_part_of_the_identity_however_it_is_written() {
        let content = |egress: &str| {
            let text = format!(r#"{{"handler":{{"kind":"python","source":"x"}}{egress}}}"#);
            serde_json::from_str::<Content>(&text).map(|content| content.hash())
        };
        // What contents without a list had before there were lists.
        let known = "78b5eae34f8e96fc068180a9c4d5cc91d315b6a880142d18973294fd35aa54df";
        assert_eq!(content("").unwrap().as_str(), known);
        assert_ne!(content(r#","egress":{"allow":[]}"#).unwrap().as_str(), known);
        let one = content(r#","egress":{"allow":["api.example.com:443"]}"#).unwrap();
        assert_eq!(content(r#","egress":{"allow":["API.example.com.:443"]}"#).unwrap(), one);
        assert!(content(r#","egress":{"allow":["https://api.example.com"]}"#).is_err());
        assert!(content(r#","egress":{}"#).is_err());
    }

    #[test]
    fn secrets_change_the_identity_only_where_there_are_any() {
        let content = |more: &str| {
            let text = format!(r#"{{"handler":{{"kind":"python","source":"x"}}{more}}}"#);
            serde_json::from_str::<Content>(&text).map(|content| content.hash())
        };
        assert_eq!(content(r#","secrets":[]"#).unwrap(), content("").unwrap());
        assert_ne!(content(r#","secrets":["A"]"#).unwrap(), content("").unwrap());
        assert!(content(r#","secrets":["a b"]"#).is_err());
    }

    #[test]
    fn the_secret_of_auth_is_needed_without_being_listed() {
        let content: Content = serde_json::from_str(
            r#"{"handler":{"kind":"http","url":"http://h/","auth":{"in":"header","name":"X","secret":"B"}},
                "secrets":["C","B"]}"#,
        )
        .unwrap();
        let names: Vec<_> = content.secret_names().into_iter().map(SecretName::as_str).collect();
        assert_eq!(names, ["B", "C"]);
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
