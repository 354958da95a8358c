//! A plain HTTP client of the API: requests and answers as JSON, streams as events.

use std::time::Duration;

use protocol::event::Event;
use serde_json::{Value, json};

/// An answer: status, headers, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The public error code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    /// The JSON pointer of its first fault.
    pub(crate) fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or("")
    }

    /// The job's id.
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no job: {self:?}")).to_owned()
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) url: String,
    key: String,
}

impl Client {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        // The first one wins; later calls find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(90)).build().unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned() }
    }

    /// The same server with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The status of a plain GET, or `None` if nobody answers.
    pub(crate) async fn status(&self, path: &str) -> Option<u16> {
        Some(self.http.get(format!("{}{path}", self.url)).send().await.ok()?.status().as_u16())
    }

    /// A request with any body; `Err` if nobody answers.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.unwrap_or_default()).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes());
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, &[], Some(body)).await
    }

    /// Publishes a Python action; `more` are further fields of the body.
    pub(crate) async fn publish(&self, name: &str, source: &str, more: Value) -> Answer {
        let mut body = json!({"handler": {"kind": "python", "source": source}});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.put(&format!("/v1/actions/{name}"), body).await;
        assert!(answer.status == 201 || answer.status == 200, "{answer:?}");
        answer
    }

    /// Submits a job and waits for its end.
    pub(crate) async fn run(&self, action: &str, input: Value) -> Value {
        let submitted = self.post("/v1/jobs", json!({"action": action, "input": input})).await;
        assert_eq!(submitted.status, 202, "{submitted:?}");
        self.finished(&submitted.id()).await
    }

    /// Waits for the end of a job.
    pub(crate) async fn finished(&self, id: &str) -> Value {
        for _ in 0..10 {
            let answer = self.get(&format!("/v1/jobs/{id}?wait=20")).await;
            if !answer.body["finished_at"].is_null() {
                return answer.body;
            }
        }
        panic!("job {id} did not end");
    }

    /// Opens a job's stream behind event `after`.
    pub(crate) async fn stream(&self, id: &str, after: u64) -> Stream {
        let request = self
            .http
            .get(format!("{}/v1/jobs/{id}/events", self.url))
            .header("authorization", format!("Bearer {}", self.key))
            .header("accept", "text/event-stream");
        let request = if after > 0 { request.header("last-event-id", after.to_string()) } else { request };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Stream { response, buffer: String::new() }
    }

    /// Every event of a job, from the first to its result.
    pub(crate) async fn events(&self, id: &str) -> Vec<Event> {
        let mut stream = self.stream(id, 0).await;
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        events
    }
}

/// A stream of server-sent events that is being read.
pub(crate) struct Stream {
    response: reqwest::Response,
    buffer: String,
}

impl Stream {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim_start().to_owned())
                };
                if let Some(data) = field("data:") {
                    let event: Event = serde_json::from_str(&data).unwrap();
                    assert_eq!(field("id:"), Some(event.seq.to_string()));
                    assert_eq!(field("event:").as_deref(), Some(event.kind.as_str()));
                    return Some(event);
                }
                continue;
            }
            let bytes = self.response.chunk().await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}
