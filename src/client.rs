//! A client of our own HTTP API, for the commands: requests, refusals as sentences, and streams of events
//! that survive a lost connection.

mod events;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use protocol::error::{Code, Fault};
use protocol::secret::Secret;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde_json::Value;

pub(crate) use events::{Events, Patience};

use crate::admin_key;
use crate::cli::Remote;
use crate::exit::{Exit, Failure};
use crate::settings::default_data;

/// A way to one server, with one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<Secret>,
    /// Where a key was looked for in vain.
    no_key: Option<String>,
}

/// What the server answered to a request that it did not refuse.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 200, 201, 202 or 204.
    pub(crate) status: u16,
    /// The body; null if there was none.
    pub(crate) body: Value,
}

/// How long a server may be silent in the middle of an answer. Long polls end after 60 s at the latest.
const SILENCE: Duration = Duration::from_secs(90);

impl Client {
    /// A client for the server that the arguments name.
    pub(crate) fn of(remote: &Remote) -> Result<Self, Failure> {
        let base = Url::parse(&remote.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{:?} is not an http or https URL", remote.url))
                .hint("such as --url http://127.0.0.1:7300 or SORTIE_URL=http://127.0.0.1:7300")
        })?;
        let (key, no_key) = match remote.key.as_deref().map(str::trim).filter(|key| !key.is_empty()) {
            Some(key) => (Some(Secret::new(key)), None),
            None => found_key(remote.data.as_ref().map(PathBuf::from).or_else(default_data)),
        };
        Self::new(base, key, no_key)
    }

    /// A client for a server of this process.
    pub(crate) fn local(url: &str, key: Secret) -> Result<Self, Failure> {
        Self::new(Url::parse(url).context("our own address")?, Some(key), None)
    }

    fn new(base: Url, key: Option<Secret>, no_key: Option<String>) -> Result<Self, Failure> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE);
        // A proxy of the environment can't reach this machine's own addresses.
        let local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if local { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build().context("can't set up HTTP")?, base, key, no_key })
    }

    /// Reads what is at this path.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path, query)?).await
    }

    /// Sends a request without a body.
    pub(crate) async fn call(&self, method: Method, path: &[&str]) -> Result<Answer, Failure> {
        self.answer(self.request(method, path, &[])?).await
    }

    /// Sends JSON.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &[&str],
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path, &[])?.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.to_string())).await
    }

    /// A job's events behind number `after`.
    pub(crate) fn events(&self, job: &str, after: u64) -> Events {
        Events::new(self.clone(), job, after)
    }

    /// Names go into the path as one segment each, whatever is in them.
    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(Failure::new(Exit::Usage, "the URL can't have a path")),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key.reveal()),
            None => request,
        })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.accepted(request).await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Answer { status, body: Value::Null });
        }
        let body = serde_json::from_slice(&bytes).map_err(|_| self.stranger(status))?;
        Ok(Answer { status, body })
    }

    /// The response, unless it is a refusal.
    async fn accepted(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => Err(refusal.failure(self.no_key.as_deref())),
            Err(_) => Err(self.stranger(status.as_u16())),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("can't reach Sortie at {}: {}", self.base, cause(error)))
            .hint("start it with `sortie serve`, or say where it is with --url or SORTIE_URL")
    }

    fn stranger(&self, status: u16) -> Failure {
        Failure::new(Exit::Unreachable, format!("{} answered {status}, but not as Sortie does", self.base))
            .hint("is the URL that of a Sortie dispatcher?")
    }
}

/// The key in a data folder, or why there is none.
fn found_key(data: Option<PathBuf>) -> (Option<Secret>, Option<String>) {
    let Some(data) = data else {
        return (None, Some("set SORTIE_KEY, or --data to the server's data folder".into()));
    };
    match admin_key::read(&data) {
        Ok(Some(key)) => (Some(key), None),
        Ok(None) => {
            let file = admin_key::path(&data);
            (
                None,
                Some(format!(
                    "set SORTIE_KEY, or --data to the server's data folder ({} is not there)",
                    file.display()
                )),
            )
        }
        Err(error) => (None, Some(format!("set SORTIE_KEY ({error:#})"))),
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// `application/problem+json`, as far as people need it.
#[derive(Debug, Deserialize)]
struct Refusal {
    code: Code,
    title: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Fault>,
}

impl Refusal {
    fn failure(self, no_key: Option<&str>) -> Failure {
        let mut message = format!("{}: {}", self.title, self.detail);
        // A single fault is told by the detail already.
        for fault in self.errors.iter().filter(|fault| !self.detail.contains(&fault.message)) {
            let place = if fault.pointer.is_empty() { "(all of it)" } else { &fault.pointer };
            message.push_str(&format!("\n  {place}: {}", fault.message));
        }
        let explain = format!("sortie explain {}", self.code);
        let hint = match (self.code, no_key) {
            (Code::KeyMissing, Some(no_key)) => format!("{no_key}; {explain}"),
            _ => explain,
        };
        let exit = if self.code.retryable() { Exit::Unreachable } else { Exit::Refused };
        Failure::new(exit, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: Code, errors: Vec<Fault>) -> Refusal {
        Refusal { code, title: code.title().into(), detail: "it is so".into(), errors }
    }

    #[test]
    fn a_refusal_reads_as_a_sentence_with_places() {
        let faults = vec![Fault::at("/city", "is missing"), Fault::at("", "it is so")];
        let failure = refusal(Code::InputInvalid, faults).failure(None);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.to_string(),
            "error: The input does not fit the action's schema: it is so\n  /city: is missing\nhint: sortie explain input_invalid"
        );
    }

    #[test]
    fn who_has_no_key_is_told_where_it_was_looked_for() {
        let failure = refusal(Code::KeyMissing, Vec::new()).failure(Some("set SORTIE_KEY"));
        assert_eq!(failure.hint.unwrap(), "set SORTIE_KEY; sortie explain key_missing");
    }

    #[test]
    fn names_can_not_leave_their_place_in_the_path() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::local("http://127.0.0.1:1/base/", Secret::new("k")).unwrap();
        let request =
            client.request(Method::GET, &["v1", "actions", "a/b?c"], &[("x", "1&2".into())]).unwrap();
        let url = request.build().unwrap().url().to_string();
        assert_eq!(url, "http://127.0.0.1:1/base/v1/actions/a%2Fb%3Fc?x=1%262");
    }
}
