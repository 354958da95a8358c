//! What the tests of the whole binary share: starting it in any role, talking to it over HTTP, and waiting
//! for a condition instead of sleeping.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]

pub(crate) mod client;
pub(crate) mod process;

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Client};
pub(crate) use process::Sortie;

/// The admin key of every installation that a test starts.
pub(crate) const ADMIN_KEY: &str = "sk_00000000000000000000000000000000000000000000000000000000000test1";

/// The master key of every dispatcher and worker over servers.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A folder that is removed at the end.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("sortie-test-{}", protocol::id::JobId::generate()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that is free, and that nobody is given before the server under test has it: below those that the system
/// hands out to clients, each one once in this process, and other ones in other processes.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + number % (PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An environment variable that the test run must set.
#[expect(
    clippy::disallowed_methods,
    reason = "the test run tells by environment variables what it has started"
)]
pub(crate) fn needed(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run `make test`, which starts what is needed"))
}

/// Asks again and again until the answer is `Some`, at most for `patience`.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    patience: Duration,
    ask: impl FnMut() -> F,
) -> T {
    within(patience, ask).await.unwrap_or_else(|| panic!("gave up after {patience:?} waiting until {what}"))
}

/// The same for those who have more to say when it didn't happen.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if begun.elapsed() >= patience {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The servers that the test run has started, or that its user has named.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) amqp: String,
    pub(crate) redis: String,
    /// Keys and queues of one test begin with this.
    pub(crate) prefix: String,
}

impl Servers {
    pub(crate) fn of_the_run() -> Self {
        let id = protocol::id::JobId::generate().to_string();
        Self {
            amqp: needed("SORTIE_TEST_AMQP_URL"),
            redis: needed("SORTIE_TEST_REDIS_URL"),
            prefix: format!("e2e-{}", &id[24..]),
        }
    }
}
