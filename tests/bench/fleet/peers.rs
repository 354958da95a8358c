//! The programs that Sortie is compared with, as child processes: their workers and their clients, both through
//! `tests/bench/peers/run`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::time::timeout;

use crate::servers::Servers;
use crate::usage::Watched;

const RUN: &str = "tests/bench/peers/run";
/// How long a worker may take to start.
const READY: Duration = Duration::from_secs(30);
/// How long a worker may take to stop: nothing waits for it any more.
const PATIENCE: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Celery,
    Dramatiq,
    Taskiq,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Celery, Self::Dramatiq, Self::Taskiq];

    /// Its name in the figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Celery => "Celery",
            Self::Dramatiq => "Dramatiq",
            Self::Taskiq => "Taskiq",
        }
    }
}

/// A worker of a peer, ready.
pub(crate) struct Worker(Program);

impl Worker {
    /// Returns when it takes jobs. It runs so many at once, or as many as suits it best.
    pub(crate) async fn start(
        peer: Peer,
        python: &Path,
        servers: &Servers,
        slots: Option<usize>,
    ) -> anyhow::Result<Self> {
        let slots = slots.map(|slots| slots.to_string());
        let more: Vec<&str> = slots.iter().map(String::as_str).collect();
        let mut program = Program::start("worker", peer, python, servers, &more)?;
        let line = timeout(READY, program.line()).await.context("the worker is not ready")??;
        ensure!(line.trim() == "ready", "the worker of {} says {line:?}", peer.name());
        Ok(Self(program))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// Its processes, all together.
    pub(crate) fn watched(&self) -> Watched {
        Watched { name: "worker", pid: self.pid(), below: Some("python") }
    }

    /// Ends it in good order, or else by force.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.0.signal(Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while self.0.child.try_wait()?.is_none() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// A client of a peer that measures.
pub(crate) struct Load(Program);

impl Load {
    pub(crate) fn start(
        peer: Peer,
        python: &Path,
        servers: &Servers,
        measure: &[&str],
    ) -> anyhow::Result<Self> {
        Program::start("load", peer, python, servers, measure).map(Self)
    }

    /// What it tells next.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Value> {
        let line = self.0.line().await?;
        serde_json::from_str(&line).with_context(|| format!("a client said {line:?}"))
    }
}

/// Has a client measure, to its end.
pub(crate) async fn load(
    peer: Peer,
    python: &Path,
    servers: &Servers,
    measure: &[&str],
) -> anyhow::Result<Value> {
    let mut load = Load::start(peer, python, servers, measure)?;
    load.line().await.with_context(|| format!("{} {}", peer.name(), measure.join(" ")))
}

/// A process in a group of its own, which is killed when this is dropped.
struct Program {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Program {
    #[expect(clippy::disallowed_methods, reason = "this starts what is measured")]
    fn start(
        what: &str,
        peer: Peer,
        python: &Path,
        servers: &Servers,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(RUN);
        command.arg(what).arg(peer.name().to_lowercase()).arg(python).args(more).process_group(0);
        command.env("SORTIE_TEST_AMQP_URL", &servers.amqp).env("SORTIE_TEST_REDIS_URL", &servers.redis);
        let log = File::options().create(true).append(true).open(servers.log(peer.name()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("starting {RUN}"))?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    /// The next line that it prints.
    async fn line(&mut self) -> anyhow::Result<String> {
        let mut output = self.output.take().context("it has no output any more")?;
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| (line, output))
        });
        let (line, output) = read.await??;
        self.output = Some(output);
        if line.is_empty() {
            bail!("a peer's process ended early; its log is beside the figures");
        }
        Ok(line)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process_group(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whatever is left of the group; usually nothing.
        let _ = self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
