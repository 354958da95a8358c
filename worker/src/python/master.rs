//! The masters of the slots: each a Python that has something loaded, in the outer sandbox, and forks a slot whenever it is
//! asked to. Started again when it dies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::{Control, Launched, Namespaces, Plan, Policy};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::loaded::{Core, Loaded};
use super::{Error, Options};
use crate::backoff::Backoff;

/// How long the libraries may take to be imported, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
/// A master that lived this long was fine: its successor need not wait.
const LIVED: Duration = Duration::from_secs(5);
/// How long a dead master's last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How much of a line of them is kept.
const LINE_BYTES: usize = 4 * 1024;
/// Descriptors that a template may have open. A call may have a quarter (sortie_runner/child.py): descriptors that are
/// under way in messages are counted for the user, over all slots, and are refused to whoever has a limit below them.
const OPEN_FILES: u64 = 4096;
/// What a slot's private directories may hold each.
pub(super) const TMP_BYTES: u64 = 64 * 1024 * 1024;
const TMP_FILES: u64 = 16 * 1024;
/// Processes and threads of a slot.
pub(super) const PROCESSES: u64 = 128;
/// The file in the runner's directory that holds the filters of system calls.
pub(super) const FILTERS: &str = "filters.bpf";

/// What every master of a worker has in common.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    /// Our own binary.
    pub(super) helper: PathBuf,
    /// The interpreter and its installation.
    pub(super) interpreter: sandbox::Probe,
    /// The runner's files.
    pub(super) runner: PathBuf,
    /// An empty directory.
    pub(super) root: PathBuf,
    /// What the host can do.
    pub(super) plan: Plan,
}

/// The settings of the runner (worker/runner/sortie_runner/master.py).
#[derive(Serialize)]
struct Settings {
    libraries: bool,
    namespaces: bool,
    filters: Option<PathBuf>,
    tmp_bytes: u64,
    tmp_files: u64,
    processes: u64,
    file_bytes: u64,
}

/// Both masters.
#[derive(Debug)]
pub(super) struct Masters {
    core: Master,
    libraries: Master,
    modules: Core,
}

impl Masters {
    /// Starts them and keeps them alive until `closing`; returns when the one with the core is ready. The other one waits for
    /// `idle`: when slots start, there is enough to do.
    pub(super) async fn start(
        blueprint: Blueprint,
        closing: CancellationToken,
        idle: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, Error> {
        let (core, modules) = Running::start(&blueprint, Loaded::Core).await?;
        let libraries = Master::keep(blueprint.clone(), Loaded::Libraries, None, idle, closing.clone());
        let core = Master::keep(blueprint, Loaded::Core, Some(core), std::future::ready(()), closing);
        Ok(Self { core, libraries, modules })
    }

    /// What a handler with this source wants to be loaded.
    pub(super) fn wanted_by(&self, source: &str) -> Loaded {
        self.modules.wanted_by(source)
    }

    /// The master that has this loaded.
    pub(super) const fn with(&self, loaded: Loaded) -> &Master {
        match loaded {
            Loaded::Core => &self.core,
            Loaded::Libraries => &self.libraries,
        }
    }
}

/// The way to a master, whichever process it is at the moment.
#[derive(Debug)]
pub(super) struct Master {
    current: watch::Receiver<Option<Arc<Control>>>,
}

impl Master {
    fn keep(
        blueprint: Blueprint,
        loaded: Loaded,
        first: Option<Running>,
        begin: impl Future<Output = ()> + Send + 'static,
        closing: CancellationToken,
    ) -> Self {
        let (tell, current) = watch::channel(None);
        tokio::spawn(async move {
            begin.await;
            keep(&blueprint, loaded, first, &tell, &closing).await;
        });
        Self { current }
    }

    /// True if it can fork now.
    pub(super) fn is_ready(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Has a slot forked, whose calls start in `directory`; its control socket.
    pub(super) async fn fork(&self, directory: &Path) -> Result<Control, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            kind: &'static str,
            directory: &'a Path,
        }
        let failed = |error: &dyn std::fmt::Display| Error::Template(error.to_string());
        let mut current = self.current.clone();
        let ready = timeout(START, current.wait_for(Option::is_some)).await;
        let master = match ready.map_err(|error| failed(&error))?.as_deref() {
            Ok(Some(master)) => master.clone(),
            _ => return Err(Error::Template("the worker stops".into())),
        };
        let (ours, theirs) = Control::pair().map_err(|error| failed(&error))?;
        let request = serde_json::to_vec(&Request { kind: "slot", directory }).map_err(|e| failed(&e))?;
        let descriptors = [std::os::fd::AsFd::as_fd(&theirs)];
        master.send_with(&request, &descriptors).await.map_err(|error| failed(&error))?;
        Ok(ours)
    }
}

async fn keep(
    blueprint: &Blueprint,
    loaded: Loaded,
    first: Option<Running>,
    tell: &watch::Sender<Option<Arc<Control>>>,
    closing: &CancellationToken,
) {
    let mut next = first;
    let mut pauses = Backoff::default();
    while !closing.is_cancelled() {
        let started = Instant::now();
        let running = match next.take() {
            Some(first) => Ok(first),
            None => Running::start(blueprint, loaded).await.map(|(running, _)| running),
        };
        match running {
            Ok(mut running) => {
                tell.send_replace(Some(running.control.clone()));
                tokio::select! {
                    _ = running.child.wait() => tracing::warn!(%loaded, "a Python master ended and is started again"),
                    () = closing.cancelled() => {}
                }
                tell.send_replace(None);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, %loaded, "a Python master can't start");
            }
        }
        if closing.is_cancelled() {
            return;
        }
        if started.elapsed() > LIVED {
            pauses = Backoff::default();
        }
        closing.run_until_cancelled(pauses.wait()).await;
    }
}

/// A master that is ready. Dropping it closes its socket, which ends it.
#[derive(Debug)]
struct Running {
    child: Child,
    control: Arc<Control>,
}

/// What a master tells when it is ready.
#[derive(Deserialize)]
struct Ready {
    modules: Vec<String>,
}

impl Running {
    /// One with this loaded, and the modules that it has.
    async fn start(blueprint: &Blueprint, loaded: Loaded) -> Result<(Self, Core), Error> {
        let policy = policy(blueprint, loaded)?;
        let helper = &blueprint.helper;
        let Launched { mut child, control } = sandbox::launch(helper, &policy)
            .map_err(|source| Error::Helper { helper: helper.clone(), source })?;
        let words = tokio::spawn(listen(child.stderr.take()));
        let told = timeout(START, control.receive()).await;
        let ready = match &told {
            Ok(Ok(Some(packet))) => serde_json::from_slice::<Ready>(&packet.bytes).ok(),
            _ => None,
        };
        match ready {
            Some(Ready { modules }) => Ok((Self { child, control: Arc::new(control) }, Core::new(modules))),
            None => {
                drop(control);
                let _ = child.kill().await;
                Err(Error::Template(last_words(words).await))
            }
        }
    }
}

/// What a master may have: nothing but its interpreter, the runner and, below, a directory for each slot.
fn policy(blueprint: &Blueprint, loaded: Loaded) -> Result<Policy, Error> {
    let namespaces = blueprint.plan.namespaces;
    let runner = if namespaces { Path::new(sandbox::RUNNER) } else { &blueprint.runner };
    let settings = Settings {
        libraries: loaded == Loaded::Libraries,
        namespaces,
        filters: blueprint.plan.filter.then(|| runner.join(FILTERS)),
        tmp_bytes: TMP_BYTES,
        tmp_files: TMP_FILES,
        processes: PROCESSES,
        file_bytes: TMP_BYTES,
    };
    let settings = serde_json::to_string(&settings).map_err(|error| Error::Template(error.to_string()))?;
    let environment = BTreeMap::from([
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
    ]);
    // Isolated from the user's settings, without writing byte code, in UTF-8.
    let mut arguments: Vec<String> = ["-I", "-B", "-X", "utf8"].map(str::to_owned).into();
    arguments.extend([runner.to_string_lossy().into_owned(), settings]);
    Ok(Policy {
        program: blueprint.interpreter.executable.clone(),
        arguments,
        environment,
        directory: "/".into(),
        open_files: OPEN_FILES,
        namespaces: namespaces.then(|| Namespaces {
            root: blueprint.root.clone(),
            host_user: sandbox::HANDLER_USER,
            tree: sandbox::tree(&blueprint.interpreter.prefixes, &blueprint.runner),
        }),
    })
}

/// Logs what a master and its templates write to their standard error; the last of it.
async fn listen(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let mut lines = BufReader::new(pipe).lines();
    let mut last = String::new();
    while let Ok(Some(mut line)) = lines.next_line().await {
        line.truncate(line.floor_char_boundary(LINE_BYTES));
        tracing::warn!(line, "a Python master says");
        last = line;
    }
    last
}

async fn last_words(words: JoinHandle<String>) -> String {
    // Somebody who got away may hold the pipe open.
    let words = timeout(LAST_WORDS, words).await.ok().and_then(Result::ok).unwrap_or_default();
    if words.is_empty() { "it ended without a word".into() } else { words }
}

/// Where a worker keeps what its slots need on the disk.
pub(super) fn directories(options: &Options) -> std::io::Result<(PathBuf, PathBuf)> {
    let (slots, root) = (options.runner_dir.join("slots"), options.runner_dir.join("root"));
    std::fs::create_dir_all(&slots)?;
    std::fs::create_dir_all(&root)?;
    Ok((slots, root))
}
