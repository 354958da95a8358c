//! Where a secret may stand in an HTTP handler's request: in a place of its own, which nothing else describes.

use serde_json::Value;

use super::{UrlTemplate, header_name};
use crate::action::{AuthPlace, HttpAuth, HttpHandler};

/// What may stand before a secret.
const PREFIX_BYTES: usize = 64;

/// What is wrong with `auth`: its name and value must have a place of their own.
pub(super) fn fault(auth: &HttpAuth, handler: &HttpHandler) -> Option<(&'static str, String)> {
    const NAME: &str = "/auth/name";
    let name = auth.name.as_str();
    if auth.prefix.len() > PREFIX_BYTES || auth.prefix.chars().any(char::is_control) {
        return Some((
            "/auth/prefix",
            format!("must have at most {PREFIX_BYTES} bytes and no control characters"),
        ));
    }
    let taken = match auth.place {
        AuthPlace::Header => {
            if let Err(message) = header_name(name) {
                return Some((NAME, message));
            }
            handler.headers.keys().any(|other| other.eq_ignore_ascii_case(name))
        }
        AuthPlace::Query => {
            let url = UrlTemplate::parse(&handler.url);
            let in_url = url.is_ok_and(|url| url.query.iter().any(|(other, _)| other == name));
            in_url || handler.query.contains_key(name)
        }
        AuthPlace::Body if handler.method == "HEAD" => return Some(("/auth/in", "HEAD has no body".into())),
        AuthPlace::Body => match &handler.body {
            None => false,
            Some(Value::Object(body)) => body.contains_key(name),
            Some(_) => return Some(("/auth/in", "needs a body that is an object, or none".into())),
        },
    };
    if name.is_empty() {
        return Some((NAME, "must not be empty".into()));
    }
    taken.then(|| (NAME, "is described by the handler as well; leave it to auth".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http_template::tests::places;

    #[test]
    fn auth_has_a_place_of_its_own() {
        let with = |place: &str, name: &str, more: Value| {
            let mut handler =
                json!({"url": "http://h/?k=1", "auth": {"in": place, "name": name, "secret": "S"}});
            handler.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            places(handler)
        };
        assert!(with("header", "Authorization", json!({})).is_empty());
        assert!(with("query", "key", json!({"query": {"q": "1"}})).is_empty());
        assert!(with("body", "key", json!({"method": "POST"})).is_empty());
        assert!(with("body", "key", json!({"method": "POST", "body": {"a": 1}})).is_empty());
        for (place, name, more, fault) in [
            ("header", "", json!({}), "/auth/name"),
            ("header", "a b", json!({}), "/auth/name"),
            ("header", "Host", json!({}), "/auth/name"),
            ("header", "x-key", json!({"headers": {"X-Key": "1"}}), "/auth/name"),
            ("query", "", json!({}), "/auth/name"),
            ("query", "k", json!({}), "/auth/name"),
            ("query", "q", json!({"query": {"q": "1"}}), "/auth/name"),
            ("body", "a", json!({"method": "POST", "body": {"a": 1}}), "/auth/name"),
            ("body", "a", json!({"method": "POST", "body": [1]}), "/auth/in"),
            ("body", "a", json!({"method": "HEAD"}), "/auth/in"),
        ] {
            assert_eq!(with(place, name, more.clone()), [fault], "{place} {name} {more}");
        }
        let long =
            json!({"in": "header", "name": "A", "secret": "S", "prefix": "x".repeat(PREFIX_BYTES + 1)});
        assert_eq!(places(json!({"url": "http://h/", "auth": long})), ["/auth/prefix"]);
    }
}
