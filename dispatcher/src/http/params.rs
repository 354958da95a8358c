//! Query parameters and headers, read as strictly as bodies.

use std::time::Duration;

use axum::extract::Query;
use axum::http::{HeaderMap, Uri};
use protocol::error::{Code, Problem};
use protocol::limits;

use crate::intake::{Origin, explain};

/// The query parameters of a request.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them; one that is not among the `known` is refused.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| invalid("the query", "can't be read as name=value&..."))?;
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let hint = explain::hint(name, known, "parameters");
            return Err(invalid(name, &format!("unknown parameter; {hint}")));
        }
        Ok(Self(pairs))
    }

    /// Every value of a parameter that may be given more than once.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(invalid(name, "is given twice"));
        }
        Ok(first)
    }

    /// The value of a parameter that is a `T`; `rule` says what it must be.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, Problem> {
        self.one(name)?.map(|text| text.parse().map_err(|_| invalid(name, rule))).transpose()
    }

    /// `limit`: how many entries a page may have.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let rule = format!("must be a whole number from 1 to {}", limits::PAGE);
        match self.parsed("limit", &rule)? {
            Some(limit) if (1..=limits::PAGE).contains(&limit) => Ok(limit),
            Some(_) => Err(invalid("limit", &rule)),
            None => Ok(50),
        }
    }

    /// `wait`: how many seconds to wait for a job, none if absent.
    pub(super) fn wait(&self) -> Result<Duration, Problem> {
        let seconds: Option<u32> = self.parsed("wait", "must be a whole number of seconds")?;
        Ok(Duration::from_secs(seconds.unwrap_or(0).into()))
    }
}

/// The seconds of `Prefer: wait=N` (RFC 7240); other preferences are not ours.
pub(super) fn prefer_wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let wrong = || invalid("Prefer", "wait must be a whole number of seconds, as in wait=10");
    for value in headers.get_all("prefer") {
        for preference in value.to_str().map_err(|_| wrong())?.split([',', ';']) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            if name.trim().eq_ignore_ascii_case("wait") {
                let seconds: u32 = value.trim().trim_matches('"').parse().map_err(|_| wrong())?;
                return Ok(Some(Duration::from_secs(seconds.into())));
            }
        }
    }
    Ok(None)
}

/// What comes with a request for a job besides its body.
pub(super) fn origin(headers: &HeaderMap) -> Result<Origin, Problem> {
    let idempotency_key = headers.get("idempotency-key").map(|value| {
        let rule = format!("must have 1 to {} printable ASCII characters", limits::IDEMPOTENCY_KEY_BYTES);
        match value.to_str() {
            Ok(key) if (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => Ok(key.to_owned()),
            _ => Err(invalid("Idempotency-Key", &rule)),
        }
    });
    Ok(Origin {
        idempotency_key: idempotency_key.transpose()?,
        traceparent: headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned),
        reply: None,
        beside: None,
    })
}

/// A parameter or header has a wrong value.
pub(super) fn invalid(name: &str, message: &str) -> Problem {
    Problem::new(Code::ParameterInvalid, format!("{name}: {message}"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn the_wait_is_found_among_other_preferences() {
        let wait = |value| prefer_wait(&headers("prefer", value)).map_err(|problem| problem.code);
        assert_eq!(wait("respond-async, wait=10"), Ok(Some(Duration::from_secs(10))));
        assert_eq!(wait("respond-async; Wait=\"3\""), Ok(Some(Duration::from_secs(3))));
        assert_eq!(wait("return=minimal"), Ok(None));
        assert_eq!(wait("wait=soon"), Err(Code::ParameterInvalid));
        assert_eq!(wait("wait"), Err(Code::ParameterInvalid));
    }

    #[test]
    fn unknown_repeated_and_wrong_parameters_are_refused_by_name() {
        let read = |query: &'static str| {
            let params = Params::of(&Uri::from_static(query), &["limit", "wait", "cursor"])?;
            params.one("cursor")?;
            Ok((params.limit()?, params.wait()?.as_secs()))
        };
        let detail = |query| read(query).map_err(|problem: Problem| problem.detail);
        assert_eq!(detail("/?limit=7&wait=2"), Ok((7, 2)));
        assert_eq!(detail("/"), Ok((50, 0)));
        assert_eq!(detail("/?limits=7"), Err("limits: unknown parameter; did you mean limit?".into()));
        assert_eq!(detail("/?limit=0"), Err("limit: must be a whole number from 1 to 200".into()));
        assert_eq!(detail("/?wait=x"), Err("wait: must be a whole number of seconds".into()));
        assert_eq!(detail("/?cursor=a&cursor=b"), Err("cursor: is given twice".into()));
    }

    #[test]
    fn idempotency_keys_are_short_and_printable() {
        let key = |value| origin(&headers("idempotency-key", value)).map(|origin| origin.idempotency_key);
        assert_eq!(key("order-1"), Ok(Some("order-1".into())));
        assert!(key("").is_err());
    }
}
