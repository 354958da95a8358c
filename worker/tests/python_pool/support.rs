//! A pool of real Python processes, and short words for what the tests ask of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../support/python.rs"]
mod python;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use protocol::action::Reuse;
use protocol::error::{Code, JobError};
use protocol::json::Json;
use protocol::outcome::Ending;
use serde_json::{Value, json};
use worker::Metrics;
use worker::egress::Gate;
use worker::handler::Call;
use worker::python::{Error, Isolation, Options, Python};

pub(crate) use python::{Ran, interpreter};

pub(crate) const UNIVERSAL: &str = include_str!("../../../tests/fixtures/handlers/universal.py");

/// With all isolation and with none. A slot is ended in another way in each: by the end of its namespace, or by a hunt.
pub(crate) const BOTH: [Isolation; 2] = [Isolation::Required, Isolation::None];

/// A pool with a directory of its own.
pub(crate) struct Pool {
    pub(crate) python: Arc<Python>,
    pub(crate) isolation: Isolation,
    pub(crate) dir: Dir,
}

/// A directory that is removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

pub(crate) fn options() -> Options {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sortie-python-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Options {
        interpreter: interpreter(),
        helper: env!("CARGO_BIN_EXE_sandbox-exec").into(),
        runner_dir: std::env::temp_dir().join(name),
        isolation: Isolation::Required,
    }
}

/// Starts a pool whose handlers can reach nothing but public hosts.
pub(crate) async fn start(options: Options, slots: usize) -> Result<Python, Error> {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    Python::start(options, slots, &Gate::new(&[], &[]), &metrics).await
}

impl Pool {
    /// A pool as workers have it by default.
    pub(crate) async fn start(slots: usize) -> Self {
        Self::with(Isolation::Required, slots).await
    }

    pub(crate) async fn with(isolation: Isolation, slots: usize) -> Self {
        let options = Options { isolation, ..options() };
        let dir = Dir(options.runner_dir.clone());
        Self { python: Arc::new(start(options, slots).await.unwrap()), isolation, dir }
    }

    /// Runs `source` with `input` and a generous limit.
    pub(crate) async fn source(&self, source: &str, input: Value) -> Ran {
        self.call(call(source, input, Reuse::Fresh), Duration::from_secs(30)).await
    }

    /// Runs one behaviour of the universal handler.
    pub(crate) async fn run(&self, input: Value) -> Ran {
        self.source(UNIVERSAL, input).await
    }

    /// Runs a call and stops it after `limit`, as an attempt does.
    pub(crate) async fn call(&self, call: Call, limit: Duration) -> Ran {
        python::run(&self.python, call, limit).await
    }

    /// The pool serves a plain call as if nothing had happened.
    pub(crate) async fn assert_unharmed(&self) {
        let ran = self.run(json!({"do": "counter"})).await;
        assert_eq!(ran.ending, Ending::Returned(Json::of(&1).unwrap()), "the next call is harmed");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // Templates may still remove their own; what is left then is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Ran {
    pub(crate) fn failure(&self) -> &JobError {
        match &self.ending {
            Ending::Failed { error, .. } => error,
            other => panic!("no failure: {other:?}"),
        }
    }

    pub(crate) fn assert_fails(&self, code: Code, part: &str) -> &JobError {
        let error = self.failure();
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(part), "{:?} lacks {part:?}", error.message);
        error
    }

    /// All logged text of a stream.
    pub(crate) fn text(&self, stream: &str) -> String {
        let logs = self.of_kind("log").into_iter().filter(|data| data["stream"] == stream);
        logs.filter_map(|data| data["text"].as_str()).collect()
    }
}

pub(crate) fn call(source: &str, input: Value, reuse: Reuse) -> Call {
    let content = json!({
        "handler": {"kind": "python", "source": source},
        "reuse": reuse,
        "memory_mb": 128,
    });
    python::call(content, input, Duration::from_secs(30))
}

/// Waits until `condition` holds; fails the test after 10 s.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
