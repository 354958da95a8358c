//! The life of a server process: what starts, in which order, and what stops first and why.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use protocol::secret::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};
use crate::settings::{Role, Settings};
use crate::shutdown::Signals;
use crate::telemetry::{self, Watched};
use crate::{admin_key, announce, assemble, interpreter, isolation, master_key};

/// Runs a role until a signal ends it.
pub(crate) async fn run(settings: Settings) -> Result<Exit, Failure> {
    telemetry::start_logging(&settings.log);
    let mut signals = Signals::install()?;
    let running = tokio::select! {
        running = Running::start(&settings) => running?,
        _ = signals.next() => return Ok(Exit::Ok),
    };
    announce::started(&settings, &running);
    announce::next_steps(&settings, &running);
    until_signal(running, &mut signals).await
}

/// Waits for a signal, then ends orderly; a second signal ends at once.
pub(crate) async fn until_signal(running: Running, signals: &mut Signals) -> Result<Exit, Failure> {
    let name = tokio::select! {
        name = signals.next() => name,
        () = tell_trouble(&running.watched) => signals.next().await,
    };
    tracing::info!(signal = name, "stopping; a second signal stops at once");
    tokio::select! {
        () = running.stop() => {
            tracing::info!("stopped");
            Ok(Exit::Ok)
        }
        name = signals.next() => Err(Failure::new(Exit::Unexpected, format!("stopped at once by a second {name}"))),
    }
}

/// Says so if the process can't do its work once the servers have had time to answer. That is no reason to
/// end: it goes on by itself when they are there.
async fn tell_trouble(watched: &Watched) {
    let begun = Instant::now();
    while let Some(trouble) = watched.readiness().await.trouble() {
        if begun.elapsed() > SETTLED {
            tracing::warn!(
                "not ready yet, and goes on by itself: {trouble}; see `sortie doctor` and /readyz"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How long the first connections may take.
const SETTLED: Duration = Duration::from_secs(3);

/// How long open connections may take to get their last answer after the work is done.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A server process at work.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its readiness.
    pub(crate) watched: Watched,
    /// The operator's key, and whether it was made just now.
    pub(crate) admin_key: Option<(Secret, bool)>,
    /// The interpreter of its worker.
    pub(crate) python: Option<String>,
    backends: assemble::Backends,
    worker: Option<Part>,
    background: Option<Part>,
    http: Part,
}

/// One task with its own way to be stopped.
struct Part {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Part {
    fn spawn<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(run(stop.clone())), stop }
    }

    /// Tells the task to end and waits until it has.
    async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = &error as &dyn std::error::Error, "a part of the process ended badly");
        }
    }
}

impl Running {
    /// Starts everything that the role needs. From the inside out: whoever can reach us finds us ready.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, Failure> {
        let python = match settings.role.works() {
            true => {
                isolation::demand(settings.isolation).await?;
                Some(interpreter::choose(settings).await?)
            }
            false => None,
        };
        admin_key::make_folder(&settings.data).map_err(unusable)?;
        let master_keys = master_key::load(settings).map_err(unusable)?;
        let metrics = prometheus::Registry::new();
        let draining = CancellationToken::new();

        // 1. The port: if another process has it, nothing was touched yet. Connections wait until step 5.
        let listener = TcpListener::bind(settings.listen).await.map_err(|error| taken(settings, &error))?;
        let address = listener.local_addr().context("the listener has no address")?;
        // 2. What carries the jobs.
        let backends = assemble::Backends::open(settings, &metrics).await?;
        // 3. The worker, so that its slots are ready before the first request is.
        let python_version = python.as_ref().map(interpreter::version);
        let (worker, status) = match python {
            Some(python) => {
                let worker = assemble::worker(
                    settings,
                    &backends,
                    python.executable,
                    address,
                    master_keys.clone(),
                    &metrics,
                )
                .await
                .map_err(unusable)?;
                let status = worker.status();
                (Some(Part::spawn(|stop| worker.run(stop))), Some(status))
            }
            None => (None, None),
        };
        // 4. The dispatcher's background work, and its API.
        let (mut router, mut dispatches, mut background, mut key) = (Router::new(), None, None, None);
        if settings.role.dispatches() {
            let (secret, made) = match &settings.admin_key {
                Some(secret) => (secret.clone(), false),
                None => admin_key::read_or_make(&settings.data).map_err(unusable)?,
            };
            let dispatcher =
                assemble::dispatcher(settings, &backends, secret.clone(), master_keys, &metrics)?;
            router = dispatcher::http::router(dispatcher.clone());
            dispatches = Some(dispatcher.clone());
            background = Some(Part::spawn(|stop| dispatcher::background::run(dispatcher, stop)));
            key = Some((secret, made));
        }
        // 5. HTTP.
        let watched = Watched {
            role: settings.role,
            queue: backends.queue.clone(),
            store: backends.store.clone(),
            registry: backends.registry.clone(),
            dispatcher: dispatches,
            worker: status,
            draining,
            metrics,
        };
        let router = router.merge(telemetry::router(watched.clone()));
        let http = Part::spawn(|stop| serve(listener, router, stop));
        Ok(Self {
            address,
            watched,
            admin_key: key,
            python: python_version,
            backends,
            worker,
            background,
            http,
        })
    }

    /// Ends everything, from the outside in: no job is taken that would not be finished, and no answer is
    /// lost that somebody waits for.
    pub(crate) async fn stop(self) {
        // 1. No new connections; readiness says so to those who still ask.
        self.watched.draining.cancel();
        self.http.stop.cancel();
        // 2. The worker finishes what it holds, up to its drain time, and gives back the rest. Whoever waits
        //    for one of these results still gets it.
        if let Some(worker) = self.worker {
            worker.stop().await;
        }
        // 3. The dispatcher answers everyone who waits for something else with what there is and cuts the
        //    streams (their readers come back with Last-Event-ID); then the inbox and the sweepers end.
        if let Some(background) = self.background {
            background.stop().await;
        }
        // 4. These last answers go out.
        if tokio::time::timeout(LAST_ANSWERS, self.http.task).await.is_err() {
            tracing::debug!("open connections were cut");
        }
        // 5. What carries the jobs, after everyone who uses it.
        drop(self.watched);
        self.backends.close().await;
    }

    /// The address that clients use.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn std::error::Error, "the HTTP server ended");
    }
}

/// This host lacks something that the settings ask for.
fn unusable(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Configuration, format!("{error:#}")).hint("`sortie doctor` says what this host can do")
}

fn taken(settings: &Settings, error: &std::io::Error) -> Failure {
    let role = match settings.role {
        Role::Serve | Role::Dispatcher => "another sortie, perhaps",
        Role::Worker => "another worker, perhaps",
    };
    Failure::new(Exit::Configuration, format!("can't listen on {}: {error}", settings.listen))
        .hint(format!("stop what uses it ({role}), or choose another with --listen; port 0 takes a free one"))
}
