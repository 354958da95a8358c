//! A stage for a worker: a real embedded backend behind ports that fail on demand, and one handler whose input
//! says how it behaves.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backend_wrappers::faulty::{self, Faults};
use conformance::sample;
use protocol::action::Content;
use protocol::error::{Code, JobError};
use protocol::id::{ActionName, JobId, Lane, SecretName, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::json::Json;
use protocol::outcome::Ending;
use protocol::ports::{Confirmed, NewJob, StoreOptions};
use protocol::seal::{self, MasterKeys};
use protocol::secret::Secret;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::handler::{Call, EventSink, Handler, LogStream};
use worker::{Handlers, Metrics, Options, Ports, Status, Worker};

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// The lease of the store and of the workers, where none is to lapse.
pub const LEASE: Duration = Duration::from_secs(60);
/// One that lapses while a test waits for it.
pub const SHORT_LEASE: Duration = Duration::from_millis(1_500);

/// A backend, a script, and the workers that run on them.
pub struct Stage {
    /// Makes the workers' ports fail.
    pub faults: Faults,
    /// Behind the faults.
    pub ports: Ports,
    /// Past the faults: what is really there.
    pub real: Ports,
    /// The one handler.
    pub script: Arc<Script>,
    /// The workers' metrics.
    pub metrics: Metrics,
    /// Where they are registered.
    pub registry: prometheus::Registry,
    lease: Duration,
    dir: PathBuf,
    workers: Mutex<Vec<CancellationToken>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for stop in self.workers.lock().unwrap().iter() {
            stop.cancel();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A worker that runs.
pub struct Running {
    /// Tells it to stop.
    pub stop: CancellationToken,
    /// What it tells about itself.
    pub status: Status,
    /// Ends when it has drained.
    pub task: JoinHandle<()>,
}

impl Running {
    /// Stops the worker and waits until it has drained.
    pub async fn stopped(self) {
        self.stop.cancel();
        within(self.task).await.unwrap();
    }
}

impl Stage {
    /// An empty stage.
    pub async fn set() -> Self {
        Self::with_lease(LEASE).await
    }

    /// The same with another lease.
    pub async fn with_lease(lease: Duration) -> Self {
        let dir = std::env::temp_dir().join(format!("sortie-worker-{}", JobId::generate()));
        let store = StoreOptions { lease, ..StoreOptions::default() };
        let options = backend_embedded::Options {
            store,
            sync: backend_embedded::Sync::Normal,
            ..backend_embedded::Options::new(&dir)
        };
        let backend = backend_embedded::open(options).await.unwrap();
        let real = Ports { queue: backend.queue(), store: backend.store(), registry: backend.registry() };
        let faults = Faults::default();
        let ports = Ports {
            queue: faulty::queue(backend.queue(), &faults),
            store: faulty::store(backend.store(), &faults),
            registry: faulty::registry(backend.registry(), &faults),
        };
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let script = Arc::new(Script::default());
        Self { faults, ports, real, script, metrics, registry, lease, dir, workers: Mutex::default() }
    }

    /// Starts a worker.
    pub async fn worker(&self, slots: usize, drain: Duration) -> Running {
        let options = Options {
            id: WorkerId::new(format!("w-{}", JobId::generate())).unwrap(),
            lanes: vec![Lane::standard()],
            slots,
            drain,
            lease: self.lease,
            egress_allow: Vec::new(),
            egress_own: Vec::new(),
            master_keys: Some(master_keys()),
            python: worker::python::Options {
                interpreter: PathBuf::new(),
                helper: PathBuf::new(),
                runner_dir: PathBuf::new(),
                isolation: worker::python::Isolation::None,
            },
        };
        let handlers = Handlers { python: self.script.clone(), http: self.script.clone() };
        let worker =
            Worker::with_handlers(self.ports.clone(), options, self.metrics.clone(), handlers).await.unwrap();
        let (stop, status) = (CancellationToken::new(), worker.status());
        self.workers.lock().unwrap().push(stop.clone());
        let task = tokio::spawn(worker.run(stop.clone()));
        Running { stop, status, task }
    }

    /// Records and publishes a job of a version with these fields.
    pub async fn submit(&self, input: Value, version: Value, change: impl FnOnce(&mut JobSpec)) -> JobSpec {
        let spec = self.record(input, version, change).await;
        self.publish(&spec).await;
        spec
    }

    /// Records a job and does not publish it.
    pub async fn record(&self, input: Value, version: Value, change: impl FnOnce(&mut JobSpec)) -> JobSpec {
        let mut content = json!({"handler": {"kind": "python", "source": "x"}});
        content.as_object_mut().unwrap().extend(version.as_object().unwrap().clone());
        let content: Content = serde_json::from_value(content).unwrap();
        let (tenant, action) = (TenantId::standard(), ActionName::new("test.script").unwrap());
        self.real.registry.publish(&tenant, &action, &content, None).await.unwrap();
        let mut spec = JobSpec {
            tenant,
            action,
            content_hash: content.hash(),
            input: input.into(),
            timeout_ms: content.timeout_ms,
            retry: content.retry,
            ..sample::job()
        };
        change(&mut spec);
        self.real.store.create(NewJob { spec: spec.clone(), idempotency: None }).await.unwrap();
        spec
    }

    /// Puts a recorded job on the queue.
    pub async fn publish(&self, spec: &JobSpec) {
        let confirmed = Confirmed { job: spec.id, began: Instant::now() };
        self.real.queue.publish(spec).await.unwrap();
        self.real.store.published(&[confirmed]).await.unwrap();
    }

    /// Sets a secret of the jobs' tenant, sealed with `keys`.
    pub async fn set_secret(&self, keys: &MasterKeys, name: &str, value: &str) {
        let (tenant, name) = (TenantId::standard(), SecretName::new(name).unwrap());
        let sealed = seal::seal(keys, &tenant, &name, &Secret::new(value)).unwrap();
        self.real.registry.put_secret(&tenant, &name, &sealed).await.unwrap().unwrap();
    }

    /// What the dispatcher's background does, once.
    pub async fn sweep(&self) {
        let store = &self.real.store;
        let mut ready = store.due(100).await.unwrap();
        ready.extend(store.reap(100).await.unwrap());
        store.expire(100).await.unwrap();
        for spec in ready {
            self.publish(&spec).await;
        }
    }

    /// The job as it is now.
    pub async fn job(&self, spec: &JobSpec) -> Job {
        self.real.store.get(&spec.tenant, spec.id).await.unwrap().unwrap()
    }

    /// The job once it is over, while a dispatcher sweeps beside.
    pub async fn over(&self, spec: &JobSpec) -> Job {
        self.until(spec, |job| job.state.is_terminal()).await
    }

    /// The job once `done` says so of it, while a dispatcher sweeps beside.
    pub async fn until(&self, spec: &JobSpec, done: impl Fn(&Job) -> bool) -> Job {
        within(async {
            loop {
                self.sweep().await;
                let job = self.job(spec).await;
                if done(&job) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// How many jobs wait in the lane that the workers serve.
    pub async fn ready(&self) -> u64 {
        self.real.queue.depth(&Lane::standard()).await.unwrap().ready
    }

    /// Nothing that this worker took goes back to the queue.
    pub async fn acked(&self, running: Running) {
        running.stopped().await;
        assert_eq!(self.ready().await, 0, "a delivery was not acked");
    }

    /// Waits until `done` says so.
    pub async fn poll(&self, what: &str, done: impl AsyncFn() -> bool) {
        let waiting = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what} did not happen");
    }

    /// The text of each chunk of a job, in order.
    pub async fn chunks(&self, spec: &JobSpec) -> Vec<String> {
        let page = self.real.store.events(&spec.tenant, spec.id, 0, 20_000).await.unwrap().unwrap();
        let events = page.events;
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "numbers have a gap");
        let chunks = events.iter().filter(|event| event.kind == protocol::event::EventKind::Chunk);
        chunks.map(|event| event.data.text().to_owned()).collect()
    }

    /// The value of a metric, all labels together.
    pub fn metric(&self, name: &str) -> f64 {
        // A metric with labels is not there before it is first touched.
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        };
        family.get_metric().iter().map(value).sum()
    }
}

/// What comes of `future`, which must not take long.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened in time")
}

/// The master key of stages and of workers.
pub fn master_keys() -> Arc<MasterKeys> {
    Arc::new(MasterKeys::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap())
}

/// The one handler of these tests: its input's `do` says how it behaves.
pub struct Script {
    runs: Mutex<Vec<(JobId, u32)>>,
    /// What `wait` waits for.
    pub go: Semaphore,
}

impl Default for Script {
    fn default() -> Self {
        Self { runs: Mutex::default(), go: Semaphore::new(0) }
    }
}

impl Script {
    /// Every run so far: the job and its attempt.
    pub fn runs(&self) -> Vec<(JobId, u32)> {
        self.runs.lock().unwrap().clone()
    }

    async fn act(&self, call: &Call, events: &EventSink) -> Ending {
        let input = call.spec.input.value();
        let number = input["n"].as_u64().unwrap_or(0);
        let failed = |code, message: &str, retryable| Ending::Failed {
            error: JobError::new(code, message),
            retryable,
            retry_after: None,
        };
        match input["do"].as_str().unwrap_or("echo") {
            "wait" => {
                events.log(LogStream::Stdout, "waiting").await;
                self.go.acquire().await.unwrap().forget();
                Ending::Returned(json!({"attempt": call.attempt}).into())
            }
            "chunks" => {
                for n in 0..number {
                    events.chunk(json!(n).into()).await;
                }
                Ending::Returned(json!(number).into())
            }
            "progress" => {
                for _ in 0..number {
                    events.progress(0.5, None).await;
                }
                std::future::pending().await
            }
            // Tells its secrets, in every way that there is.
            "tell" => {
                let told: Vec<String> =
                    call.secrets.iter().map(|(name, value)| format!("{name}={}", value.reveal())).collect();
                let told = told.join(" ");
                for half in told.as_bytes().chunks(9) {
                    events.log(LogStream::Stdout, &String::from_utf8_lossy(half)).await;
                }
                events.progress(0.5, Some(&told)).await;
                events.chunk(json!([told]).into()).await;
                match input["fail"].as_bool() {
                    Some(true) => Ending::Failed {
                        error: JobError::new(Code::HandlerRaised, &told).with(json!({"told": told})),
                        retryable: false,
                        retry_after: None,
                    },
                    _ => Ending::Returned(json!({ "told": told }).into()),
                }
            }
            "fail" => failed(Code::HandlerRaised, "as told", true),
            "fail_first" if call.attempt == 1 => failed(Code::HandlerRaised, "as told", true),
            "crash" => Ending::Crashed(JobError::new(Code::HandlerCrashed, "as told")),
            "crash_first" if call.attempt == 1 => {
                Ending::Crashed(JobError::new(Code::HandlerCrashed, "as told"))
            }
            _ => Ending::Returned(Json::of(&input["value"]).unwrap()),
        }
    }
}

#[async_trait]
impl Handler for Script {
    async fn run(&self, call: Call, events: EventSink, stop: CancellationToken) -> Ending {
        self.runs.lock().unwrap().push((call.spec.id, call.attempt));
        if call.spec.input.value()["do"] == "stubborn" {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            ending = self.act(&call, &events) => ending,
            () = stop.cancelled() => Ending::Interrupted,
        }
    }

    fn isolation(&self) -> Isolation {
        Isolation::Partial
    }
}
