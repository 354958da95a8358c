//! Sends a request and follows redirects, a few, each through the egress gate as a hop of its own.

use protocol::egress::Egress;
use protocol::error::Code;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Method, StatusCode};

use super::hop::Answer;
use super::request::Request;
use super::{Failure, Http};

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// The headers that another origin may see. What else a version sends may be a credential, whatever its name.
const HARMLESS: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// The answer at the end of all redirects, its body not yet read.
pub(super) async fn send(
    http: &Http,
    egress: Option<&Egress>,
    mut request: Request,
) -> Result<Answer, Failure> {
    for _ in 0..=REDIRECTS {
        let answer = Answer::to(http, egress, &request).await?;
        let location = answer.headers().get(LOCATION).map(|value| value.as_bytes().to_vec());
        match (is_redirect(answer.status()), location) {
            (true, Some(location)) => {
                let status = answer.status();
                answer.end(None);
                request = redirected(request, status, &location)?;
            }
            _ => return Ok(answer),
        }
    }
    let message = format!("the target redirected more than {REDIRECTS} times");
    Err(Failure::new(Code::HttpAnswerInvalid, message))
}

/// 300 and 304 are no redirects: nobody said where to.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The request that follows `request` where the answer says so (RFC 9110 section 15.4).
fn redirected(mut request: Request, status: StatusCode, location: &[u8]) -> Result<Request, Failure> {
    let nowhere =
        || Failure::new(Code::HttpAnswerInvalid, "the target redirected to something that is no URL");
    let location = std::str::from_utf8(location).map_err(|_| nowhere())?;
    let mut url = request.url.join(location).map_err(|_| nowhere())?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = format!("the target redirected to a {:?} URL", url.scheme());
        return Err(Failure::new(Code::HttpAnswerInvalid, message));
    }
    // The client would make credentials of it. Only URLs that have no host refuse this.
    let _ = (url.set_username(""), url.set_password(None));
    // Before the origins are compared: a request that becomes a GET has no body with a secret any more.
    let to_get = match status.as_u16() {
        303 => request.method != Method::HEAD,
        // What browsers made of POST before there was 307.
        301 | 302 => request.method == Method::POST,
        _ => false,
    };
    if to_get {
        request.method = Method::GET;
        request.body = None;
        request.secret_body = false;
        request.headers.remove(CONTENT_TYPE);
    }
    if url.origin() != request.url.origin() {
        if request.secret_body {
            let message =
                "the target redirected to another origin, which must not see the secret in the body";
            return Err(Failure::new(Code::HttpAnswerInvalid, message));
        }
        let headers = std::mem::take(&mut request.headers);
        let named = headers.into_iter().filter_map(|(name, value)| name.map(|name| (name, value)));
        let harmless =
            |(name, value): &(HeaderName, HeaderValue)| HARMLESS.contains(name) && !value.is_sensitive();
        request.headers = named.filter(harmless).collect();
    }
    request.url = url;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(method: &str, status: u16, location: &str) -> Result<Request, Failure> {
        let request = Request {
            method: method.parse().unwrap(),
            url: "https://a.example/x/y?z".parse().unwrap(),
            headers: [("x-api-key", "s"), ("accept", "a"), ("content-type", "c")]
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect(),
            body: Some("b".into()),
            secret_body: false,
        };
        redirected(request, StatusCode::from_u16(status).unwrap(), location.as_bytes())
    }

    #[test]
    fn the_method_follows_the_rules() {
        for (method, status, then) in [
            ("POST", 301, "GET"),
            ("POST", 302, "GET"),
            ("PUT", 302, "PUT"),
            ("PUT", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("POST", 307, "POST"),
            ("POST", 308, "POST"),
        ] {
            let request = follow(method, status, "/").unwrap();
            assert_eq!(request.method.as_str(), then, "{method} {status}");
            assert_eq!(request.body.is_some(), then == method);
        }
    }

    #[test]
    fn another_origin_sees_no_credentials() {
        let same = follow("GET", 307, "../w").unwrap();
        assert_eq!(same.url.as_str(), "https://a.example/w");
        assert!(same.headers.contains_key("x-api-key"));
        for elsewhere in ["https://b.example/", "http://a.example/", "https://a.example:444/", "//c.example/"]
        {
            let request = follow("GET", 307, elsewhere).unwrap();
            assert!(!request.headers.contains_key("x-api-key"), "{elsewhere}");
            assert!(request.headers.contains_key("accept"));
        }
        assert_eq!(follow("GET", 307, "https://u:p@b.example/").unwrap().url.as_str(), "https://b.example/");
    }

    #[test]
    fn another_origin_sees_no_secret_in_a_harmless_header_or_in_the_body() {
        let secret = || {
            let mut value = HeaderValue::from_static("s3cr3t");
            value.set_sensitive(true);
            Request {
                method: Method::POST,
                url: "https://a.example/x".parse().unwrap(),
                headers: [(ACCEPT, value)].into_iter().collect(),
                body: Some("b".into()),
                secret_body: false,
            }
        };
        let follow = |request, location: &str| {
            redirected(request, StatusCode::TEMPORARY_REDIRECT, location.as_bytes())
        };
        assert_eq!(follow(secret(), "/y").unwrap().headers[ACCEPT], "s3cr3t");
        assert!(follow(secret(), "https://b.example/").unwrap().headers.is_empty());
        let with_body = || Request { secret_body: true, ..secret() };
        assert!(follow(with_body(), "/y").unwrap().body.is_some());
        let failure = follow(with_body(), "https://b.example/").unwrap_err();
        assert_eq!((failure.error.code, failure.retryable), (Code::HttpAnswerInvalid, false));
    }

    #[test]
    fn a_secret_body_that_is_dropped_does_not_keep_the_request_from_another_origin() {
        let follow = |method: &str, status| {
            let request = Request {
                method: method.parse().unwrap(),
                url: "https://a.example/x".parse().unwrap(),
                headers: reqwest::header::HeaderMap::new(),
                body: Some("s3cr3t".into()),
                secret_body: true,
            };
            redirected(request, StatusCode::from_u16(status).unwrap(), b"https://b.example/")
        };
        for (method, status) in [("POST", 301), ("POST", 302), ("POST", 303), ("PUT", 303)] {
            let request = follow(method, status).unwrap();
            assert_eq!((request.method, request.body.is_none()), (Method::GET, true), "{method} {status}");
        }
        for (method, status) in [("POST", 307), ("POST", 308), ("PUT", 301), ("PUT", 302)] {
            assert!(follow(method, status).is_err(), "{method} {status}");
        }
    }

    #[test]
    fn other_schemes_are_not_followed() {
        for location in ["file:///etc/passwd", "ftp://a/", "data:,x", "http://["] {
            assert!(follow("GET", 302, location).is_err(), "{location}");
        }
    }
}
