//! Publishing a version: reads the content that someone wrote, checks it, and hands it to the registry.

use protocol::action::{Content, HttpHandler};
use protocol::error::{Code, Problem};
use protocol::id::ActionName;
use protocol::ports::Published;
use protocol::schema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::check;
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake::{self, explain};
use crate::trouble;

/// A version to publish: the body of `PUT /v1/actions/{name}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// What the version is.
    pub content: Content,
    /// Sets the switch; `None` leaves it, and a new action is enabled.
    pub enabled: Option<bool>,
}

impl Publish {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields: Map<String, Value> = intake::read(body)?;
        let enabled = match fields.remove("enabled") {
            Some(value) => intake::read_part("/enabled", value)?,
            None => None,
        };
        Ok(Self { content: content("", fields)?, enabled })
    }
}

/// Publishes a version, or finds that the latest one is the same.
pub(crate) async fn publish(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
    publish: Publish,
) -> Result<Published, Problem> {
    let terms = check::content("", &publish.content, dispatcher.options())?;
    let published = dispatcher
        .registry()
        .publish(caller.tenant(), name, &publish.content, publish.enabled)
        .await
        .map_err(trouble::problem)?;
    dispatcher.known().keep(&published.action.latest.content_hash, terms);
    Ok(published)
}

/// Reads a content, found at the pointer `root`, and writes short-form schemas out.
pub(crate) fn content(root: &str, mut fields: Map<String, Value>) -> Result<Content, Problem> {
    if let Some(handler) = fields.get("handler") {
        handler_reads(&format!("{root}/handler"), handler)?;
    }
    for field in ["input_schema", "output_schema"] {
        if let Some(value) = fields.remove(field).filter(|value| !value.is_null()) {
            fields.insert(field.into(), schema::expand_short_form(value));
        }
    }
    intake::read_part(root, Value::Object(fields))
}

/// A tagged enum tells neither place nor known names of what is wrong inside it, so the handler is read
/// on its own first.
fn handler_reads(root: &str, handler: &Value) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Python {
        #[serde(rename = "source")]
        _source: String,
    }
    const KINDS: [&str; 2] = ["python", "http"];

    let Value::Object(mut fields) = handler.clone() else {
        return Err(Problem::at(Code::FieldInvalid, root, "must be an object"));
    };
    let place = format!("{root}/kind");
    let Some(kind) = fields.remove("kind") else {
        return Err(Problem::at(
            Code::FieldMissing,
            place,
            format!("is missing; known values: {}", KINDS.join(", ")),
        ));
    };
    let rest = Value::Object(fields);
    match kind.as_str() {
        Some("python") => intake::read_part::<Python>(root, rest).map(drop),
        Some("http") => intake::read_part::<HttpHandler>(root, rest).map(drop),
        Some(other) => {
            let hint = explain::hint(other, &KINDS, "values");
            Err(Problem::at(Code::FieldInvalid, place, format!("unknown kind of handler; {hint}")))
        }
        None => Err(Problem::at(Code::FieldInvalid, place, "must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use protocol::action::Handler;
    use serde_json::json;

    use super::*;

    fn refusal(body: &Value) -> (Code, String) {
        let problem = Publish::parse(body.to_string().as_bytes()).unwrap_err();
        (problem.code, problem.faults.first().map_or_else(String::new, |fault| fault.pointer.clone()))
    }

    #[test]
    fn a_body_is_a_content_with_a_switch_and_short_forms_are_written_out() {
        let body = json!({
            "enabled": false, "input_schema": {"parameters": {"city": {"type": "string"}}, "required": ["city"]},
            "handler": {"kind": "python", "source": "def handle_event(data): return 1"},
        });
        let publish = Publish::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(publish.enabled, Some(false));
        assert_eq!(publish.content.input_schema["required"], json!(["city"]));
        assert_eq!(publish.content.input_schema["type"], "object");
        assert!(matches!(publish.content.handler, Handler::Python { .. }));
    }

    #[test]
    fn mistakes_are_found_at_their_place_even_inside_the_handler() {
        let python = json!({"kind": "python", "source": "x"});
        let checks = [
            (json!({}), Code::FieldMissing, "/handler"),
            (json!({"handler": 1}), Code::FieldInvalid, "/handler"),
            (json!({"handler": {"source": "x"}}), Code::FieldMissing, "/handler/kind"),
            (json!({"handler": {"kind": "ruby"}}), Code::FieldInvalid, "/handler/kind"),
            (json!({"handler": {"kind": "python"}}), Code::FieldMissing, "/handler/source"),
            (json!({"handler": {"kind": "python", "source": 1}}), Code::FieldInvalid, "/handler/source"),
            (
                json!({"handler": {"kind": "http", "url": "http://x/", "verb": "GET"}}),
                Code::FieldUnknown,
                "/handler/verb",
            ),
            (
                json!({"handler": {"kind": "http", "url": "http://x/", "headers": {"a": 1}}}),
                Code::FieldInvalid,
                "/handler/headers/a",
            ),
            (json!({"handler": python, "enabled": "yes"}), Code::FieldInvalid, "/enabled"),
            (json!({"handler": python, "timeout": 1}), Code::FieldUnknown, "/timeout"),
            (json!({"handler": python, "retry": {"attempts": 1}}), Code::FieldUnknown, "/retry/attempts"),
            (json!({"handler": python, "lane": "A B"}), Code::FieldInvalid, "/lane"),
            (
                json!({"handler": python, "egress": {"allow": ["a.example", "https://b.example/"]}}),
                Code::FieldInvalid,
                "/egress/allow/1",
            ),
            (json!({"handler": python, "egress": {"deny": []}}), Code::FieldUnknown, "/egress/deny"),
            (json!({"handler": python, "secrets": ["A", "b c"]}), Code::FieldInvalid, "/secrets/1"),
            (
                json!({"handler": {"kind": "http", "url": "http://x/", "auth": {"in": "cookie"}}}),
                Code::FieldInvalid,
                "/handler/auth/in",
            ),
        ];
        for (body, code, pointer) in checks {
            assert_eq!(refusal(&body), (code, pointer.into()), "{body}");
        }
    }
}
