//! The actions that are run, the input of their jobs, and what a right answer is.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use protocol::action::Reuse;
use protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::http::{Answer, Connection};

const NOOP: &str = "def handle_event(data):\n    return data\n";
/// Does nothing either, but has imported what most handlers do that reach something.
const LIBRARIES: &str = "import requests\ndef handle_event(data):\n    return data\n";
/// One millisecond of processor time, whatever else runs on the machine.
const CPU: &str = "import time
def handle_event(data):
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass
    return data
";
const WAIT: &str = "import time
def handle_event(data):
    time.sleep(0.05)
    return data
";

/// Gives so many chunks, a pause apart, after another pause.
const STREAM: &str = "import time
def handle_event(data):
    time.sleep(data['wait'])
    for n in range(data['chunks']):
        if data['pause']:
            time.sleep(data['pause'])
        yield {'n': n, 'at': time.time()}
    return {'n': data['chunks']}
";

/// An action whose jobs get a number and give it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Python that does nothing.
    Noop(Reuse),
    /// Python that imports `requests` and does nothing, in a process of its own.
    Libraries,
    /// Python that needs the processor for a millisecond.
    Cpu(Reuse),
    /// Python that waits for 50 ms.
    Wait(Reuse),
    /// A described request to the server in this process.
    Http,
}

impl Action {
    pub(crate) const ALL: [Self; 8] = [
        Self::Noop(Reuse::Warm),
        Self::Noop(Reuse::Fresh),
        Self::Libraries,
        Self::Cpu(Reuse::Warm),
        Self::Cpu(Reuse::Fresh),
        Self::Wait(Reuse::Warm),
        Self::Wait(Reuse::Fresh),
        Self::Http,
    ];

    /// Its name in the API and in the figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Noop(Reuse::Warm) => "noop_warm",
            Self::Noop(Reuse::Fresh) => "noop_fresh",
            Self::Libraries => "libraries_fresh",
            Self::Cpu(Reuse::Warm) => "cpu_warm",
            Self::Cpu(Reuse::Fresh) => "cpu_fresh",
            Self::Wait(Reuse::Warm) => "wait_warm",
            Self::Wait(Reuse::Fresh) => "wait_fresh",
            Self::Http => "http",
        }
    }

    /// The body that publishes it.
    fn content(self, target: SocketAddr) -> Value {
        let python = |source: &str| json!({"kind": "python", "source": source});
        let (handler, reuse) = match self {
            Self::Noop(reuse) => (python(NOOP), reuse),
            Self::Libraries => (python(LIBRARIES), Reuse::Fresh),
            Self::Cpu(reuse) => (python(CPU), reuse),
            Self::Wait(reuse) => (python(WAIT), reuse),
            Self::Http => (json!({"kind": "http", "url": format!("http://{target}/?n={{n}}")}), Reuse::Fresh),
        };
        json!({
            "handler": handler,
            "reuse": reuse,
            "input_schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 0}},
                "required": ["n"],
                "additionalProperties": false,
            },
            // The last job of a long backlog must not expire.
            "deadline_ms": 3_600_000,
        })
    }

    /// Publishes all of them.
    pub(crate) async fn publish_all(admin: &mut Connection, target: SocketAddr) -> anyhow::Result<()> {
        for action in Self::ALL {
            publish(admin, action.name(), &action.content(target)).await?;
        }
        let handler = json!({"kind": "python", "source": STREAM});
        publish(admin, "stream", &json!({"handler": handler, "timeout_ms": 60_000})).await
    }

    /// The request for job number `n`.
    pub(crate) fn request(self, n: u64) -> String {
        format!(r#"{{"action":"{}","input":{{"n":{n}}}}}"#, self.name())
    }
}

async fn publish(admin: &mut Connection, name: &str, content: &Value) -> anyhow::Result<()> {
    let path = format!("/v1/actions/{name}");
    let answer = admin.send("PUT", &path, "", content.to_string().as_bytes()).await?;
    ensure!(matches!(answer.status, 200 | 201), "publishing {name}: {}", answer.text());
    Ok(())
}

/// What an answer says of a job.
#[derive(Debug, Deserialize)]
pub(crate) struct Job<'a> {
    pub(crate) id: &'a str,
    state: &'a str,
    #[serde(default)]
    pub(crate) finished_at: Option<Timestamp>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// The answers to a batch.
#[derive(Debug, Deserialize)]
pub(crate) struct Answers<'a> {
    #[serde(borrow)]
    answers: Vec<Item<'a>>,
}

#[derive(Debug, Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    job: Option<Job<'a>>,
}

impl<'a> Answers<'a> {
    pub(crate) fn read(answer: &Answer<'a>) -> anyhow::Result<Self> {
        ensure!(answer.status == 200, "refused with {}: {}", answer.status, answer.text());
        serde_json::from_slice(answer.body).with_context(|| answer.text())
    }

    /// The jobs, in the order of the requests; an error for one that was refused.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = anyhow::Result<&Job<'a>>> {
        self.answers.iter().map(|item| item.job.as_ref().context("a job of a batch was refused"))
    }
}

/// What the handlers return.
#[derive(Debug, Deserialize)]
struct Echo {
    n: u64,
}

impl<'a> Job<'a> {
    pub(crate) fn read(answer: &Answer<'a>) -> anyhow::Result<Self> {
        ensure!(matches!(answer.status, 200 | 202), "refused with {}: {}", answer.status, answer.text());
        serde_json::from_slice(answer.body).with_context(|| answer.text())
    }

    /// Fails unless this is the finished job number `n` with the right result.
    pub(crate) fn check(&self, n: u64) -> anyhow::Result<()> {
        ensure!(self.state == "succeeded", "job {} is {} and not succeeded", self.id, self.state);
        let result = self.result.context("a job without a result")?.get();
        let echo: Echo = serde_json::from_str(result).with_context(|| format!("the result {result}"))?;
        ensure!(echo.n == n, "job {} gave {} and not {n}", self.id, echo.n);
        Ok(())
    }
}
