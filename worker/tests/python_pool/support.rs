//! A pool of real Python processes, and short words for what the tests ask of it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use protocol::action::{Content, Reuse};
use protocol::deadline::Limit;
use protocol::error::{Code, JobError};
use protocol::id::{ActionName, JobId, Lane, TenantId};
use protocol::job::{JobSpec, Priority};
use protocol::json::Json;
use protocol::outcome::Ending;
use protocol::time::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::egress::Gate;
use worker::handler::{Call, EventSink, Handler};
use worker::python::{Error, Isolation, Options, Python};

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

/// One finished call.
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    /// Kind and data of each event, in order.
    pub(crate) events: Vec<(&'static str, Value)>,
    pub(crate) took: Duration,
}

pub(crate) fn interpreter() -> PathBuf {
    std::env::var_os("SORTIE_TEST_PYTHON").map(PathBuf::from).expect(
        "SORTIE_TEST_PYTHON must name a Python 3.12 or newer with `requests` (`make test` prepares one and sets it)",
    )
}

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
        let sink = EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let stop = CancellationToken::new();
        let began = Instant::now();
        let running = self.python.run(call, sink.clone(), stop.clone());
        tokio::pin!(running);
        let ending = tokio::select! {
            ending = &mut running => ending,
            () = tokio::time::sleep(limit) => {
                stop.cancel();
                running.await
            }
        };
        let took = began.elapsed();
        let events = sink.rest().events.into_iter().map(|event| (event.kind.as_str(), event.data.value()));
        Ran { ending, events: events.collect(), took }
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
    pub(crate) fn value(&self) -> Value {
        match &self.ending {
            Ending::Returned(value) => value.value(),
            other => panic!("no result: {other:?}"),
        }
    }

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

    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|(found, _)| *found == kind).map(|(_, data)| data).collect()
    }

    /// All logged text of a stream.
    pub(crate) fn text(&self, stream: &str) -> String {
        let logs = self.of_kind("log").into_iter().filter(|data| data["stream"] == stream);
        logs.filter_map(|data| data["text"].as_str()).collect()
    }
}

pub(crate) fn call(source: &str, input: Value, reuse: Reuse) -> Call {
    let content: Content = serde_json::from_value(json!({
        "handler": {"kind": "python", "source": source},
        "reuse": reuse,
        "memory_mb": 128,
    }))
    .unwrap();
    let spec = JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new("test.universal").unwrap(),
        version: Some(1),
        content_hash: content.hash(),
        input: Json::from(input),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: Timestamp::now(),
        run_at: None,
        deadline: Timestamp::now().plus(Duration::from_secs(60)),
        timeout_ms: 30_000,
        retry: Default::default(),
        labels: Default::default(),
        traceparent: None,
        reply: None,
        key: None,
    };
    let limit = Limit::Timeout(Duration::from_secs(30));
    Call { spec: Arc::new(spec), attempt: 1, content: Arc::new(content), limit, secrets: Default::default() }
}

/// Waits until `condition` holds; fails the test after 10 s.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
