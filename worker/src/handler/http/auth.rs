//! Puts the secret of a request where its version says: into a header, the query or the body. Pure.

use protocol::action::{AuthPlace, HttpAuth};
use protocol::error::Code;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::Failure;
use super::request::{encoded, invalid};
use crate::handler::Secrets;

/// Adds the secret to a request that is complete otherwise.
pub(super) fn sign(
    auth: &HttpAuth,
    secrets: &Secrets,
    url: &mut Url,
    headers: &mut HeaderMap,
    body: &mut Option<Value>,
) -> Result<(), Failure> {
    let value = credential(auth, secrets)?;
    match auth.place {
        AuthPlace::Header => sign_headers(headers, auth, &value),
        AuthPlace::Query => {
            sign_query(url, auth, &value);
            Ok(())
        }
        AuthPlace::Body => sign_body(body, auth, value),
    }
}

/// What `auth` sends: the secret behind its prefix.
fn credential(auth: &HttpAuth, secrets: &Secrets) -> Result<String, Failure> {
    let missing = || Failure::new(Code::SecretMissing, format!("the secret {} is not set", auth.secret));
    let secret = secrets.get(&auth.secret).ok_or_else(missing)?;
    Ok(format!("{}{}", auth.prefix, secret.reveal()))
}

fn sign_headers(headers: &mut HeaderMap, auth: &HttpAuth, value: &str) -> Result<(), Failure> {
    let name =
        HeaderName::from_bytes(auth.name.as_bytes()).map_err(|_| invalid("/auth/name", "is no header"))?;
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        let message = format!("the secret {} has control characters, so no header can carry it", auth.secret);
        Failure::new(Code::SecretUnreadable, message)
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn sign_query(url: &mut Url, auth: &HttpAuth, value: &str) {
    let pair = format!("{}={}", encoded(&auth.name), encoded(value));
    let query = match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{query}&{pair}"),
        None => pair,
    };
    url.set_query(Some(&query));
}

fn sign_body(body: &mut Option<Value>, auth: &HttpAuth, value: String) -> Result<(), Failure> {
    match body.get_or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(fields) => {
            fields.insert(auth.name.clone(), value.into());
            Ok(())
        }
        _ => Err(invalid("/auth/in", "needs a body that is an object")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::request::{Request, build};
    use super::*;

    fn secrets() -> Secrets {
        let named = |(name, value): (&str, &str)| (name.parse().unwrap(), value.to_owned().into());
        [("KEY", "s3cr3t/ä &="), ("LINES", "one\ntwo three")].map(named).into_iter().collect()
    }

    fn request(handler: Value, input: Value) -> Result<Request, Code> {
        let handler = serde_json::from_value(handler).unwrap();
        build(&handler, &input, None, &secrets()).map_err(|failure| failure.error.code)
    }

    #[test]
    fn a_secret_stands_where_auth_says_and_nowhere_else() {
        let with = |place: &str, name: &str, secret: &str, prefix: &str| {
            let auth = json!({"in": place, "name": name, "secret": secret, "prefix": prefix});
            request(
                json!({"url": "http://h/?a=1", "method": "POST", "body": {"b": "{v}"}, "auth": auth}),
                json!({"v": 2}),
            )
        };
        let header = with("header", "Authorization", "KEY", "Bearer ").unwrap();
        assert_eq!(header.headers["authorization"].as_bytes(), "Bearer s3cr3t/ä &=".as_bytes());
        assert!(header.headers["authorization"].is_sensitive() && !header.secret_body);
        assert!(!format!("{header:?}").contains("s3cr3t"));
        let query = with("query", "api key", "KEY", "").unwrap();
        assert_eq!(query.url.query(), Some("a=1&api%20key=s3cr3t%2F%C3%A4%20%26%3D"));
        let body = with("body", "token", "LINES", "").unwrap();
        assert!(body.secret_body);
        let sent: Value = serde_json::from_slice(&body.body.unwrap()).unwrap();
        assert_eq!(sent, json!({"b": 2, "token": "one\ntwo three"}));
        assert_eq!(with("header", "X", "LINES", "").err(), Some(Code::SecretUnreadable));
        assert_eq!(with("header", "X", "NONE", "").err(), Some(Code::SecretMissing));
        let bare = json!({"url": "http://h/", "method": "POST", "auth": {"in": "body", "name": "t", "secret": "KEY"}});
        assert_eq!(request(bare, json!({})).unwrap().body.unwrap(), r#"{"t":"s3cr3t/ä &="}"#);
        let alone = json!({"url": "http://h/x", "auth": {"in": "query", "name": "k", "secret": "KEY"}});
        assert_eq!(request(alone, json!({})).unwrap().url.query(), Some("k=s3cr3t%2F%C3%A4%20%26%3D"));
    }
}
