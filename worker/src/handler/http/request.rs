//! From a described request and an input to the request that is sent. Pure.
//!
//! Values fill places and never make structure: whatever the input says, host, path segments, parameters and
//! headers stay those that the version describes. A secret comes last, into a place that is its own.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use protocol::action::{AuthPlace, HttpHandler};
use protocol::error::{Code, Fault, JobError};
use protocol::http_template::{Part, Template, UrlTemplate};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::{Failure, auth};
use crate::handler::Secrets;

/// Bytes of a URL with its values. Servers refuse longer ones with less clear words.
const URL_BYTES: usize = 16 * 1024;

/// A request that can be sent, more than once if there are redirects.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    /// One that is marked sensitive is for the first origin only.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// The body is for the first origin only: it has a secret.
    pub(super) secret_body: bool,
}

/// The request of `handler` for `input`.
pub(super) fn build(
    handler: &HttpHandler,
    input: &Value,
    traceparent: Option<&str>,
    secrets: &Secrets,
) -> Result<Request, Failure> {
    let method =
        Method::from_bytes(handler.method.as_bytes()).map_err(|_| invalid("/method", "is no method"))?;
    let mut url = url(handler, input)?;
    let mut headers = headers(handler, input)?;
    if let Some(Ok(trace)) = traceparent.map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static("traceparent"), trace);
    }
    let mut body = match &handler.body {
        Some(template) => filled(template, input)?,
        None => None,
    };
    if let Some(auth) = &handler.auth {
        auth::sign(auth, secrets, &mut url, &mut headers, &mut body)?;
    }
    let body = body.map(|body| Bytes::from(body.to_string()));
    if body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let secret_body = handler.auth.as_ref().is_some_and(|auth| auth.place == AuthPlace::Body);
    Ok(Request { method, url, headers, body, secret_body })
}

fn url(handler: &HttpHandler, input: &Value) -> Result<Url, Failure> {
    let template = UrlTemplate::parse(&handler.url).map_err(|message| invalid("/url", &message))?;
    let mut text = template.origin;
    for segment in &template.segments {
        text.push('/');
        let rendered = render(segment, input, encoded)?;
        if segment.has_holes() {
            check_segment(&rendered, segment)?;
        }
        text.push_str(&rendered);
    }
    let mut separator = '?';
    let mut parameter = |name: &str, value: Option<&str>| {
        text.push(std::mem::replace(&mut separator, '&'));
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    };
    for (name, value) in &template.query {
        match value.as_ref().map(|value| render(value, input, encoded)) {
            None => parameter(name, None),
            Some(Ok(value)) => parameter(name, Some(&value)),
            Some(Err(Gap::Missing(_))) => {}
            Some(Err(gap)) => return Err(gap.into()),
        }
    }
    for (name, value) in &handler.query {
        let template = Template::parse(value).map_err(|message| invalid("/query", &message))?;
        // Here the literal parts are plain text too, not yet encoded by the author.
        match render(&template, input, plain) {
            Ok(value) => parameter(&encoded(name), Some(&encoded(&value))),
            Err(Gap::Missing(_)) => {}
            Err(gap) => return Err(gap.into()),
        }
    }
    if text.len() > URL_BYTES {
        let message = format!("the url has {} bytes with its values; it may have {URL_BYTES}", text.len());
        return Err(Failure::new(Code::InputInvalid, message));
    }
    Url::parse(&text).map_err(|error| invalid("/url", &error.to_string()))
}

/// A segment that is empty, `.` or `..` would lead to another path than the one described; `%2e` is a dot too.
fn check_segment(rendered: &str, template: &Template) -> Result<(), Failure> {
    let dots = rendered.to_ascii_lowercase().replace("%2e", ".");
    if matches!(dots.as_str(), "" | "." | "..") {
        let hole = template.parts.iter().find_map(|part| match part {
            Part::Hole(hole) => Some(hole.pointer()),
            Part::Text(_) => None,
        });
        let message = "must not make a path segment empty, '.' or '..'";
        return Err(input_fault(hole.unwrap_or_default(), message));
    }
    Ok(())
}

fn headers(handler: &HttpHandler, input: &Value) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &handler.headers {
        let place = format!("/headers/{name}");
        let template = Template::parse(value).map_err(|message| invalid(&place, &message))?;
        let value = render(&template, input, plain)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&place, "is no header"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            let message = format!("the value of header {name} must not have control characters");
            Failure::new(Code::InputInvalid, message)
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A body with its placeholders replaced; `None` where a placeholder has no value, so that the key or item is
/// left out.
fn filled(template: &Value, input: &Value) -> Result<Option<Value>, Failure> {
    Ok(Some(match template {
        Value::String(text) => {
            let template = Template::parse(text).map_err(|message| invalid("/body", &message))?;
            if let Some(hole) = template.sole_hole() {
                return Ok(hole.find(input).cloned());
            }
            match render(&template, input, plain) {
                Ok(text) => Value::String(text),
                Err(Gap::Missing(_)) => return Ok(None),
                Err(gap) => return Err(gap.into()),
            }
        }
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| filled(item, input).transpose());
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let entries = map.iter().filter_map(|(key, value)| {
                filled(value, input).transpose().map(|value| value.map(|value| (key.clone(), value)))
            });
            Value::Object(entries.collect::<Result<Map<_, _>, _>>()?)
        }
        other => other.clone(),
    }))
}

/// Why a template gives no text; each with the place in the input.
enum Gap {
    /// There is no value, or it is null.
    Missing(String),
    /// An array or object, which has no one way to be text.
    NoText(String),
}

impl From<Gap> for Failure {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Missing(pointer) => input_fault(pointer, "is needed for the request and missing"),
            Gap::NoText(pointer) => {
                input_fault(pointer, "must be a string, a number or a boolean to be put into the request")
            }
        }
    }
}

/// The template's text; `encode` is applied to values only.
fn render(template: &Template, input: &Value, encode: impl Fn(&str) -> Cow<'_, str>) -> Result<String, Gap> {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Hole(hole) => match hole.find(input) {
                None | Some(Value::Null) => return Err(Gap::Missing(hole.pointer())),
                Some(Value::String(value)) => text.push_str(&encode(value)),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                    text.push_str(&encode(&value.to_string()))
                }
                Some(Value::Array(_) | Value::Object(_)) => return Err(Gap::NoText(hole.pointer())),
            },
        }
    }
    Ok(text)
}

/// For places where every text may stand as it is.
fn plain(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// Percent-encodes everything but RFC 3986's unreserved characters: nothing is left that has a meaning in a
/// path segment or a query.
pub(super) fn encoded(text: &str) -> Cow<'_, str> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.bytes().all(unreserved) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if unreserved(byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
}

/// The version is wrong: the dispatcher refuses such a handler when it is published.
pub(super) fn invalid(place: &str, message: &str) -> Failure {
    Failure::new(Code::HandlerInvalid, format!("/handler{place}: {message}"))
}

fn input_fault(pointer: String, message: &str) -> Failure {
    let text = format!("{pointer}: {message}");
    let details = json!({ "errors": [Fault::at(pointer, message)] });
    let error = JobError::new(Code::InputInvalid, text).with(details);
    Failure { error: Box::new(error), retryable: false, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(handler: Value, input: Value) -> Result<Request, Code> {
        let handler = serde_json::from_value(handler).unwrap();
        build(&handler, &input, None, &Secrets::default()).map_err(|failure| failure.error.code)
    }

    fn url_of(url: &str, input: Value) -> Result<String, Code> {
        request(json!({ "url": url }), input).map(|request| request.url.to_string())
    }

    #[test]
    fn values_fill_places_and_make_no_structure() {
        let url = "http://h:8/v1/{a}/x?q={b}&flag&gone={c}";
        let input = json!({"a": "x/../y?z#ä \\", "b": "1&admin=1=%", "c": null});
        assert_eq!(
            url_of(url, input).unwrap(),
            "http://h:8/v1/x%2F..%2Fy%3Fz%23%C3%A4%20%5C/x?q=1%26admin%3D1%3D%25&flag"
        );
        assert_eq!(url_of("http://h/{n}{b}", json!({"n": 1.5, "b": true})).unwrap(), "http://h/1.5true");
        assert_eq!(url_of("http://h", json!({})).unwrap(), "http://h/");
        assert_eq!(url_of("http://h?x={a}", json!({"a": "@evil"})).unwrap(), "http://h/?x=%40evil");
    }

    #[test]
    fn no_value_leads_to_another_path() {
        let refused = Some(Code::InputInvalid);
        for value in ["", ".", ".."] {
            assert_eq!(url_of("http://h/a/{v}/b", json!({ "v": value })).err(), refused, "{value}");
        }
        // The percent sign of a value is encoded itself.
        assert_eq!(url_of("http://h/a/{v}/b", json!({"v": "%2e."})).unwrap(), "http://h/a/%252e./b");
        assert_eq!(url_of("http://h/{v}{v}", json!({"v": "."})).err(), refused);
        assert_eq!(url_of("http://h/%2E{v}", json!({"v": "."})).err(), refused);
        assert_eq!(url_of("http://h/{v}", json!({"v": [1]})).err(), refused);
        assert_eq!(url_of("http://h/{v}", json!({})).err(), refused);
        assert_eq!(url_of("http://h/{v}", json!({"v": "x".repeat(URL_BYTES)})).err(), refused);
    }

    #[test]
    fn queries_are_encoded_and_left_out_without_value() {
        let handler = json!({"url": "http://h/", "query": {"a b": "x {v}", "gone": "{no}", "z": "1"}});
        let request = request(handler, json!({"v": "ü&"})).unwrap();
        assert_eq!(request.url.query(), Some("a%20b=x%20%C3%BC%26&z=1"));
    }

    #[test]
    fn headers_carry_no_control_characters() {
        let handler = json!({"url": "http://h/", "headers": {"X-A": "id {v}"}});
        assert_eq!(request(handler.clone(), json!({"v": 7})).unwrap().headers["x-a"], "id 7");
        for value in ["a\r\nX-B: 1", "a\n", "\0"] {
            assert_eq!(request(handler.clone(), json!({ "v": value })).err(), Some(Code::InputInvalid));
        }
        assert_eq!(request(handler, json!({})).err(), Some(Code::InputInvalid));
    }

    #[test]
    fn a_body_takes_values_with_their_types_and_leaves_out_what_is_missing() {
        let handler = json!({"url": "http://h/", "method": "POST", "body": {
            "list": ["{a}", "{no}", 1], "text": "{{{s}}}", "object": "{o}", "gone": "{no}", "half": "x{no}",
            "null": "{n}"
        }});
        let input = json!({"a": [1, {"x": 2}], "s": "q\"", "o": {"k": null}, "n": null});
        let request = request(handler, input).unwrap();
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        let expected =
            json!({"list": [[1, {"x": 2}], 1], "text": "{q\"}", "object": {"k": null}, "null": null});
        assert_eq!(body, expected);
        assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn the_trace_goes_on() {
        let handler = serde_json::from_value(json!({"url": "http://h/"})).unwrap();
        let request = build(&handler, &Value::Null, Some("00-1-2-01"), &Secrets::default()).unwrap();
        assert_eq!(request.headers["traceparent"], "00-1-2-01");
    }
}
