//! The interpreter started for itself, as one would without a worker: alone, and inside bubblewrap.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Namespaces, a read-only root, private /tmp: less than what a slot has (no filter of system calls, no limits, the
/// host's files in sight).
const BUBBLEWRAP: &[&str] = &[
    "bwrap",
    "--unshare-all",
    "--die-with-parent",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--tmpfs",
    "/tmp",
];

/// One command.
pub(crate) struct Bare {
    pub(crate) name: &'static str,
    words: Vec<String>,
}

impl Bare {
    /// Every command that calls are compared with.
    pub(crate) fn all(python: &Path) -> Vec<Self> {
        let command = |name, before: &[&str], code: &str| {
            let python = python.to_string_lossy().into_owned();
            let words = before.iter().map(|word| (*word).to_owned());
            Self { name, words: words.chain([python, "-c".into(), code.into()]).collect() }
        };
        vec![
            command("python3 -c pass", &[], "pass"),
            command("python3 -c 'import requests'", &[], "import requests"),
            command("bwrap … python3 -c pass", BUBBLEWRAP, "pass"),
            command("bwrap … python3 -c 'import requests'", BUBBLEWRAP, "import requests"),
        ]
    }

    /// The time of each start, to the end of the process.
    pub(crate) fn starts(&self, count: usize) -> anyhow::Result<Vec<Duration>> {
        (0..count).map(|_| self.start()).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "this is what the sandbox is compared with")]
    fn start(&self) -> anyhow::Result<Duration> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null());
        let began = Instant::now();
        let status = command.status().with_context(|| format!("starting {}", self.words[0]))?;
        ensure!(status.success(), "{} failed: {status}", self.name);
        Ok(began.elapsed())
    }
}
