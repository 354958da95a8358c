//! A dispatcher that listens, with everything a test needs to ask it and to play the worker.

pub(crate) mod client;
pub(crate) mod post;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backend_embedded::{Embedded, Sync};
use backend_wrappers::faulty::{self, Faults};
use dispatcher::{Dispatcher, Metrics, Options, Ports};
use prometheus::Registry;
use protocol::event::{EventBatch, EventKind, NewEvent};
use protocol::id::{JobId, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::json::Json;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Claim, Finish, Inbox, StoreOptions};
use protocol::secret::Secret;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::{Answer, Call};

/// The operator's key of every test.
pub(crate) const ADMIN: &str = "sk_admin";

/// What a test may wish for.
pub(crate) struct Wish {
    pub(crate) options: Options,
    pub(crate) store: StoreOptions,
    pub(crate) background: bool,
    pub(crate) inbox: Option<Arc<dyn Inbox>>,
}

impl Default for Wish {
    fn default() -> Self {
        let options = Options { admin_key: Some(Secret::new(ADMIN)), ..Options::default() };
        Self { options, store: StoreOptions::default(), background: false, inbox: None }
    }
}

/// A dispatcher that listens.
pub(crate) struct World {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) ports: Ports,
    pub(crate) faults: Faults,
    pub(crate) stop: CancellationToken,
    pub(crate) background: Option<JoinHandle<()>>,
    metrics: Registry,
    server: JoinHandle<()>,
    backend: Option<Embedded>,
    dir: PathBuf,
}

impl World {
    /// One without background work.
    pub(crate) async fn start() -> Self {
        Self::with(Wish::default()).await
    }

    /// One with all of it.
    pub(crate) async fn busy() -> Self {
        Self::with(Wish { background: true, ..Wish::default() }).await
    }

    pub(crate) async fn with(wish: Wish) -> Self {
        let dir = std::env::temp_dir().join(format!("sortie-dispatcher-{}", JobId::generate()));
        let options = backend_embedded::Options { dir: dir.clone(), sync: Sync::Normal, store: wish.store };
        let backend = backend_embedded::open(options).await.unwrap();
        let faults = Faults::default();
        let ports = Ports {
            queue: faulty::queue(backend.queue(), &faults),
            store: faulty::store(backend.store(), &faults),
            registry: faulty::registry(backend.registry(), &faults),
            inbox: wish.inbox,
        };
        let metrics = Registry::new();
        let dispatcher = Dispatcher::new(ports.clone(), wish.options, Metrics::register(&metrics).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = dispatcher::http::router(dispatcher.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let stop = CancellationToken::new();
        let background = wish
            .background
            .then(|| tokio::spawn(dispatcher::background::run(dispatcher.clone(), stop.clone())));
        Self {
            address,
            dispatcher,
            ports,
            faults,
            stop,
            background,
            metrics,
            server,
            backend: Some(backend),
            dir,
        }
    }

    /// A request with the admin key.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        self.call_with(ADMIN, method, path)
    }

    /// A request with a key of the test's own.
    pub(crate) fn call_with(&self, secret: &str, method: &str, path: &str) -> Call {
        Call::new(self.address, method, path).header("authorization", &format!("Bearer {secret}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path).json(body).send().await
    }

    /// Publishes an action that takes `{"n": integer}`.
    pub(crate) async fn publish(&self, name: &str) {
        let answer = self.put(&format!("/v1/actions/{name}"), &content(json!({}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Submits a job for `action` with `{"n": 1}` and more fields, and returns its id.
    pub(crate) async fn submit(&self, action: &str, more: Value) -> JobId {
        let mut body = json!({"action": action, "input": {"n": 1}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("/v1/jobs", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    }

    /// A key with these scopes, made over HTTP; its secret.
    pub(crate) async fn key(&self, more: Value) -> String {
        let mut body = json!({"name": "test"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("/v1/keys", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.ports.store.get(&TenantId::standard(), id).await.unwrap().expect("the job is there")
    }

    /// Claims a job as a worker would.
    pub(crate) async fn claim(&self, id: JobId) -> (JobSpec, u32) {
        let spec = self.job(id).await.spec;
        let worker = WorkerId::new("test").unwrap();
        match self.ports.store.claim(&spec, &worker, Isolation::Partial).await.unwrap() {
            Claim::Granted { attempt, .. } => (spec, attempt),
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Adds chunks `from..to` to a claimed attempt: the n-th has the value n.
    pub(crate) async fn chunks(&self, claimed: &(JobSpec, u32), from: u64, to: u64) {
        let events = (from..to).map(|n| NewEvent { kind: EventKind::Chunk, data: Json::from(json!(n)) });
        let batch = EventBatch { first: from, events: events.collect() };
        self.ports.store.append(&claimed.0, claimed.1, &batch).await.unwrap();
    }

    /// Ends a claimed attempt with a result.
    pub(crate) async fn succeed(&self, claimed: &(JobSpec, u32), result: Value) {
        let finish = Finish {
            outcome: Outcome::Succeeded,
            verdict: Verdict::Succeed(Json::from(result)),
            took: Duration::from_millis(1),
            last: EventBatch::default(),
        };
        self.ports.store.finish(&claimed.0, claimed.1, &finish).await.unwrap();
    }

    /// The value of a metric with these label values, 0 if it was never touched.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metric = family.and_then(|family| {
            family.get_metric().iter().find(|metric| {
                labels.iter().all(|label| metric.get_label().iter().any(|pair| pair.value() == *label))
            })
        });
        metric.map_or(0.0, |metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_sum()
        })
    }

    /// The names of all metrics that were touched.
    pub(crate) fn metric_names(&self) -> Vec<String> {
        self.metrics.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    /// Stops everything, in order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.dispatcher.drain();
        if let Some(background) = self.background.take() {
            background.await.unwrap();
        }
        self.server.abort();
        if let Some(backend) = self.backend.take() {
            backend.close().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.abort();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// The answer to a request with a key of the test's own.
pub(crate) async fn ask(world: &World, secret: &str, method: &str, path: &str, body: Value) -> Answer {
    world.call_with(secret, method, path).json(&body).send().await
}

/// The content of an action that takes `{"n": integer}`, with more fields.
pub(crate) fn content(more: Value) -> Value {
    let mut content = json!({
        "handler": {"kind": "python", "source": "def handle_event(data):\n    return data['n']\n"},
        "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    });
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    content
}

/// Polls until `done` is true, at most 20 seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(tokio::time::Instant::now() < end, "not within 20 seconds: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
