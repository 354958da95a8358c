//! The program that is measured, as child processes: started, ready, stopped.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::actions::Action;
use crate::http::Connection;
use crate::servers::Servers;
use crate::usage::Watched;

const ADMIN_KEY: &str = "sk_0000000000000000000000000000000000000000000000000000000000bench";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const QUORUM: &str = "quorum";
const PATIENCE: Duration = Duration::from_secs(30);

/// What it takes to start it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) program: PathBuf,
    pub(crate) python: PathBuf,
    /// Logs and data of the processes go below it.
    pub(crate) dir: PathBuf,
    /// The server that HTTP handlers call.
    pub(crate) target: SocketAddr,
}

/// An installation at work, its actions published.
pub(crate) struct Sortie {
    /// Where requests go.
    pub(crate) address: SocketAddr,
    /// A registered key that may submit and read jobs, as an application would have it.
    pub(crate) key: String,
    processes: Vec<Process>,
}

impl Sortie {
    /// A dispatcher and a worker over RabbitMQ and Redis.
    pub(crate) async fn distributed(setup: &Setup, servers: &Servers, slots: usize) -> anyhow::Result<Self> {
        Self::with_queues(QUORUM, setup, servers, slots).await
    }

    /// The same with classic queues.
    pub(crate) async fn classic(setup: &Setup, servers: &Servers, slots: usize) -> anyhow::Result<Self> {
        Self::with_queues("classic", setup, servers, slots).await
    }

    async fn with_queues(kind: &str, setup: &Setup, servers: &Servers, slots: usize) -> anyhow::Result<Self> {
        servers.clear().await?;
        let queues = queues(kind);
        let dispatcher = Process::start(setup, "dispatcher", Some(servers), &queues).await?;
        let worker = [&arguments(slots)[..], &queues].concat();
        let worker = Process::start(setup, "worker", Some(servers), &worker).await?;
        Self::prepared(setup, vec![dispatcher, worker]).await
    }

    /// The same without a worker: jobs wait.
    pub(crate) async fn without_worker(setup: &Setup, servers: &Servers) -> anyhow::Result<Self> {
        servers.clear().await?;
        let dispatcher = Process::start(setup, "dispatcher", Some(servers), &queues(QUORUM)).await?;
        Self::prepared(setup, vec![dispatcher]).await
    }

    /// One process over the embedded store, which begins empty.
    pub(crate) async fn embedded(setup: &Setup, slots: usize) -> anyhow::Result<Self> {
        emptied(&setup.dir.join("data"))?;
        Self::prepared(setup, vec![Process::start(setup, "serve", None, &arguments(slots)).await?]).await
    }

    /// Starts a worker beside what runs, without waiting until it is ready.
    pub(crate) fn add_worker(
        &mut self,
        setup: &Setup,
        servers: &Servers,
        slots: usize,
    ) -> anyhow::Result<()> {
        let more = [&arguments(slots)[..], &queues(QUORUM)].concat();
        self.processes.push(Process::launch(setup, "worker", Some(servers), &more)?);
        Ok(())
    }

    /// Ends the newest process.
    pub(crate) async fn stop_worker(&mut self) -> anyhow::Result<()> {
        self.processes.pop().context("no process")?.stop().await
    }

    async fn prepared(setup: &Setup, processes: Vec<Process>) -> anyhow::Result<Self> {
        let address = processes.first().context("no process")?.address;
        let mut admin = Connection::open(address, ADMIN_KEY).await?;
        Action::publish_all(&mut admin, setup.target).await?;
        let wanted = br#"{"name":"bench","scopes":["jobs:write","jobs:read"]}"#;
        let answer = admin.send("POST", "/v1/keys", "", wanted).await?;
        ensure!(answer.status == 201, "making a key: {}", answer.text());
        let made: Value = serde_json::from_slice(answer.body)?;
        let key = made["secret"].as_str().context("a key without a secret")?.to_owned();
        Ok(Self { address, key, processes })
    }

    /// The process of this role.
    pub(crate) fn pid(&self, role: &str) -> anyhow::Result<u32> {
        let process = self.processes.iter().find(|process| process.role == role);
        Ok(process.with_context(|| format!("no process is a {role}"))?.child.id())
    }

    /// Its processes, for whoever counts what they use.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let watch = |process: &Process| Watched {
            name: process.role,
            pid: process.child.id(),
            below: (process.role != "dispatcher").then_some("python"),
        };
        self.processes.iter().map(watch).collect()
    }

    /// Ends everything in good order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // The worker first: it gives back what it holds while there is somebody to give it to.
        while let Some(process) = self.processes.pop() {
            process.stop().await?;
        }
        Ok(())
    }
}

/// One process of it; killed when dropped.
struct Process {
    role: &'static str,
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Returns when it says that it can do its work.
    async fn start(
        setup: &Setup,
        role: &'static str,
        servers: Option<&Servers>,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let process = Self::launch(setup, role, servers, more)?;
        let until = Instant::now() + PATIENCE;
        while !process.ready().await {
            if Instant::now() > until {
                bail!(
                    "`sortie {role}` is not ready after {PATIENCE:?}; its log is in {}",
                    setup.dir.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(process)
    }

    #[expect(clippy::disallowed_methods, reason = "this starts what is measured")]
    fn launch(
        setup: &Setup,
        role: &'static str,
        servers: Option<&Servers>,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        std::fs::create_dir_all(&setup.dir)?;
        let log = File::options().create(true).append(true).open(setup.dir.join(format!("{role}.log")))?;
        let mut command = Command::new(&setup.program);
        command
            .args([role, "--listen", &address.to_string(), "--data"])
            .arg(setup.dir.join("data"))
            .args(more)
            .env("SORTIE_ADMIN_KEY", ADMIN_KEY)
            .env("SORTIE_PYTHON", &setup.python)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(servers) = servers {
            command.args(["--amqp-url", &servers.amqp, "--redis-url", &servers.redis]);
            command.env("SORTIE_MASTER_KEY", MASTER_KEY);
        }
        let child = command.spawn().with_context(|| format!("starting {}", setup.program.display()))?;
        Ok(Self { role, child, address })
    }

    async fn ready(&self) -> bool {
        let asked =
            async { anyhow::Ok(Connection::open(self.address, "").await?.get("/readyz").await?.status) };
        matches!(asked.await, Ok(200))
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("`sortie {}` does not stop", self.role);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An installation with queues of this kind, which have names of their own.
fn queues(kind: &str) -> [String; 4] {
    ["--queues".into(), kind.into(), "--prefix".into(), format!("bench-{kind}")]
}

/// A worker with so many slots that may call the server in this process.
fn arguments(slots: usize) -> [String; 4] {
    ["--slots".into(), slots.to_string(), "--egress-allow".into(), "127.0.0.1/32".into()]
}

/// A folder that is empty.
pub(crate) fn emptied(dir: &Path) -> anyhow::Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir)?;
    Ok(std::path::absolute(dir)?)
}
