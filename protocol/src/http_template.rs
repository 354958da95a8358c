//! The `{placeholders}` of HTTP handlers: how they are written, where they may stand, and what is wrong with a
//! handler that breaks the rules. Pure; the dispatcher checks with it what the worker runs with it.
//!
//! `{name}` stands for a field of the input, `{a.b}` and `{list.0}` for one inside it; `{{` and `}}` are braces.
//! There is nothing else to learn: no expressions, no defaults, no code.

mod auth;

use serde_json::Value;
use url::Url;

use crate::action::HttpHandler;
use crate::error::Fault;

/// Methods that a handler may use.
pub const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// Headers that belong to the connection and not to the action.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Texts and placeholders in turn, as they stand.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Taken as it is.
    Text(String),
    /// Replaced by a value.
    Hole(Hole),
}

/// A placeholder: the way to a value in the input, `a.b` as `["a", "b"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole(Vec<String>);

/// The URL of a handler, taken apart. Placeholders can't reach the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    /// Scheme, host and port.
    pub origin: String,
    /// What stands between the slashes of the path.
    pub segments: Vec<Template>,
    /// Query parameters: names, and values where there is a `=`.
    pub query: Vec<(String, Option<Template>)>,
}

impl Template {
    /// Reads a text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err("has a '}' without its '{'; write '}}' for the character itself".into());
            } else {
                let (name, after) = rest
                    .split_once('}')
                    .ok_or("has a '{' without its '}'; write '{{' for the character itself")?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Hole(Hole::parse(name)?));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The placeholder, if the template is one and nothing else.
    pub fn sole_hole(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// True if there is any placeholder.
    pub fn has_holes(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(_)))
    }
}

impl Hole {
    fn parse(name: &str) -> Result<Self, String> {
        let steps: Vec<String> = name.split('.').map(str::to_owned).collect();
        let good = |step: &String| {
            !step.is_empty() && step.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
        };
        if steps.iter().all(good) {
            Ok(Self(steps))
        } else {
            Err(format!(
                "{{{name}}} is no placeholder: letters, digits, '_', '-' and '$', with '.' between the steps; \
                 write '{{{{' for a brace itself"
            ))
        }
    }

    /// The value in `input` that this stands for.
    pub fn find<'a>(&self, input: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(input, |value, step| match value {
            Value::Object(map) => map.get(step),
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Its place in the input as a JSON pointer.
    pub fn pointer(&self) -> String {
        self.0.iter().map(|step| format!("/{step}")).collect()
    }
}

impl UrlTemplate {
    /// Takes a handler's URL apart; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("must not have spaces, backslashes or control characters".into());
        }
        let (scheme, rest) = text.split_once("://").ok_or("must start with http:// or https://")?;
        if !matches!(scheme, "http" | "https") {
            return Err("must start with http:// or https://".into());
        }
        if text.contains('#') {
            return Err("must not have a fragment ('#...'): it is never sent".into());
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains(['{', '}']) {
            return Err("must not have placeholders before the path: the input can't choose the host".into());
        }
        if authority.contains('@') {
            return Err("must not carry a user name or password".into());
        }
        let origin = format!("{scheme}://{authority}");
        Url::parse(&origin).map_err(|error| format!("is not a URL: {error}"))?;

        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let segments = path.split('/').skip(1).map(Template::parse).collect::<Result<_, _>>()?;
        let query = query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty());
        let query = query.map(parameter).collect::<Result<_, _>>()?;
        Ok(Self { origin, segments, query })
    }
}

fn parameter(pair: &str) -> Result<(String, Option<Template>), String> {
    let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
    if name.contains(['{', '}']) {
        return Err("must not have placeholders in the names of query parameters".into());
    }
    Ok((name.to_owned(), value.map(Template::parse).transpose()?))
}

/// Everything that is wrong with a handler, with pointers into it; empty if it can be run.
pub fn check(handler: &HttpHandler) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !METHODS.contains(&handler.method.as_str()) {
        faults.push(Fault::at("/method", format!("must be one of {}", METHODS.join(", "))));
    }
    if let Err(message) = UrlTemplate::parse(&handler.url) {
        faults.push(Fault::at("/url", message));
    }
    for (name, value) in &handler.headers {
        if let Err(message) = header(name, value) {
            faults.push(Fault::at(format!("/headers/{}", escaped(name)), message));
        }
    }
    for (name, value) in &handler.query {
        if let Err(message) = Template::parse(value) {
            faults.push(Fault::at(format!("/query/{}", escaped(name)), message));
        }
    }
    if let Some(body) = &handler.body {
        if handler.method == "HEAD" {
            faults.push(Fault::at("/body", "HEAD has no body"));
        }
        body_faults(body, "/body", &mut faults);
    }
    if let Some(auth) = &handler.auth {
        faults.extend(auth::fault(auth, handler).map(|(place, message)| Fault::at(place, message)));
    }
    if let Some(pointer) = &handler.result
        && !is_pointer(pointer)
    {
        faults.push(Fault::at("/result", "must be a JSON pointer such as /data/0 (RFC 6901)"));
    }
    faults
}

fn header_name(name: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("is not the name of a header".into());
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is set by Sortie itself".into());
    }
    Ok(())
}

fn header(name: &str, value: &str) -> Result<(), String> {
    header_name(name)?;
    if value.chars().any(char::is_control) {
        return Err("must not have control characters".into());
    }
    Template::parse(value).map(drop)
}

fn body_faults(value: &Value, pointer: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::String(text) => {
            if let Err(message) = Template::parse(text) {
                faults.push(Fault::at(pointer, message));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                body_faults(item, &format!("{pointer}/{index}"), faults);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                body_faults(item, &format!("{pointer}/{}", escaped(key)), faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_pointer(text: &str) -> bool {
    let tildes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    tildes && (text.is_empty() || text.starts_with('/'))
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn places(handler: Value) -> Vec<String> {
        let handler = serde_json::from_value(handler).unwrap();
        check(&handler).into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn placeholders_are_found_and_doubled_braces_are_braces() {
        let template = Template::parse("a{{{x.0}}}b{y}").unwrap();
        let hole = |name| Part::Hole(Hole::parse(name).unwrap());
        let text = |text: &str| Part::Text(text.into());
        assert_eq!(template.parts, [text("a{"), hole("x.0"), text("}b"), hole("y")]);
        assert!(Template::parse("{x}").unwrap().sole_hole().is_some());
        assert!(Template::parse("{x} ").unwrap().sole_hole().is_none());
        for bad in ["{", "}", "{}", "{ x }", "{a..b}", "{a", "{x!}", "query { user }"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_placeholder_finds_fields_and_items() {
        let input = json!({"a": {"b": [1, {"c": true}]}});
        let find = |name| Hole::parse(name).unwrap().find(&input).cloned();
        assert_eq!(find("a.b.1.c"), Some(json!(true)));
        assert_eq!(find("a.b.2"), None);
        assert_eq!(find("a.b.c"), None);
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = UrlTemplate::parse("https://api.example.com:8443/v1/{city}/x?q={a}&flag&z=1").unwrap();
        assert_eq!(url.origin, "https://api.example.com:8443");
        assert_eq!(url.segments.len(), 3);
        let names: Vec<_> = url.query.iter().map(|(name, value)| (name.as_str(), value.is_some())).collect();
        assert_eq!(names, [("q", true), ("flag", false), ("z", true)]);
        assert!(UrlTemplate::parse("http://h").unwrap().segments.is_empty());
    }

    #[test]
    fn the_input_can_never_choose_the_host() {
        for bad in [
            "{url}",
            "{scheme}://h/",
            "http://{host}/",
            "http://a{b}/",
            "http://h:{port}/",
            "http://h{x}",
            "http://u:{p}@h/",
            "http://h\\{x}",
            "http://h/a b",
            "http://h/#{x}",
            "http:///x",
            "http://",
            "ftp://h/",
            "/x",
            "http://h/?{x}=1",
        ] {
            assert!(UrlTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_fault_has_its_place() {
        assert!(
            places(json!({"url": "http://h/{a}", "headers": {"X-A": "{a}"}, "query": {"q": "{b}"},
            "body": {"k": ["{c}"]}, "method": "POST", "result": "/a~1b/0"}))
            .is_empty()
        );
        let faults =
            places(json!({"url": "h", "method": "get", "headers": {"a b": "", "Host": "x", "X": "a\nb"},
            "query": {"a/b": "{"}, "body": {"k": ["}"]}, "result": "a"}));
        let expected = [
            "/method",
            "/url",
            "/headers/Host",
            "/headers/X",
            "/headers/a b",
            "/query/a~1b",
            "/body/k/0",
            "/result",
        ];
        assert_eq!(faults, expected);
        assert_eq!(places(json!({"url": "http://h/", "method": "HEAD", "body": 1})), ["/body"]);
    }
}
