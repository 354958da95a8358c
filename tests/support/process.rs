//! The real binary as a child process: started, ready, killed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{ADMIN_KEY, Client, Dir, MASTER_KEY, Servers, free_port, needed, until, within};

/// One running `sortie`. Killed when dropped.
pub(crate) struct Sortie {
    child: Child,
    pub(crate) url: String,
    pub(crate) client: Client,
    log: PathBuf,
}

impl Sortie {
    /// Everything in one process over the embedded store in `dir`.
    pub(crate) async fn embedded(dir: &Dir, more: &[&str]) -> Self {
        Self::ready("serve", dir, None, more).await
    }

    /// A role over RabbitMQ and Redis; `serve` is a dispatcher and a worker in one process.
    pub(crate) async fn distributed(role: &str, dir: &Dir, servers: &Servers, more: &[&str]) -> Self {
        Self::ready(role, dir, Some(servers), more).await
    }

    async fn ready(role: &str, dir: &Dir, servers: Option<&Servers>, more: &[&str]) -> Self {
        let sortie = Self::launch(role, dir, servers, free_port(), more);
        sortie.until_ready().await;
        sortie
    }

    /// Starts it and doesn't wait.
    pub(crate) fn launch(role: &str, dir: &Dir, servers: Option<&Servers>, port: u16, more: &[&str]) -> Self {
        Self::launch_by(&[], role, dir, servers, port, more)
    }

    /// The same by a command that becomes it.
    #[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
    pub(crate) fn launch_by(
        wrapper: &[&str],
        role: &str,
        dir: &Dir,
        servers: Option<&Servers>,
        port: u16,
        more: &[&str],
    ) -> Self {
        let log = dir.path().join(format!("{role}-{port}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let line = [wrapper, &[env!("CARGO_BIN_EXE_sortie"), role]].concat();
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--data")
            .arg(dir.path().join("data"))
            .args(more)
            .env("SORTIE_ADMIN_KEY", ADMIN_KEY)
            .env("SORTIE_PYTHON", needed("SORTIE_TEST_PYTHON"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        if let Some(servers) = servers {
            // `serve` alone makes its own.
            command.env("SORTIE_MASTER_KEY", MASTER_KEY);
            command.args([
                "--amqp-url",
                &servers.amqp,
                "--redis-url",
                &servers.redis,
                "--prefix",
                &servers.prefix,
            ]);
        }
        let child = command.spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        Self { child, client: Client::new(&url, ADMIN_KEY), url, log }
    }

    /// Waits until it says that it can do its work.
    pub(crate) async fn until_ready(&self) {
        let ready = || async { (self.client.status("/readyz").await == Some(200)).then_some(()) };
        // Long, for a machine that is busy with other tests.
        if within(Duration::from_secs(60), ready).await.is_none() {
            panic!("{} is not ready; its log:\n{}", self.url, self.log());
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code.
    #[expect(clippy::disallowed_methods, reason = "the standard library can't send SIGTERM")]
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").arg(self.pid().to_string()).status().unwrap();
        until("it has stopped", Duration::from_secs(40), || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await
        .code()
    }

    /// Waits for its end; `None` if it still runs after `patience`.
    pub(crate) async fn exit_code(&mut self, patience: Duration) -> Option<i32> {
        until("it has ended", patience, || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await
        .code()
    }
}

impl Drop for Sortie {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of {}:", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
