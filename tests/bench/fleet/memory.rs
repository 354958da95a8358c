//! The memory of a program with all that it started (PSS; see `together`), now and at its peak.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bench::process::{Tree, together};

/// Looking costs processor time: the kernel walks all pages.
const PAUSE: Duration = Duration::from_millis(500);

/// What it takes now, in MiB.
pub(crate) fn of(pid: u32) -> anyhow::Result<f64> {
    let mut all = Tree::read()?.descendants(pid);
    all.push(pid);
    Ok(together(&all) as f64 / 1024.0)
}

/// Looks again and again, in a thread of its own, until it is asked.
pub(crate) struct Peak {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<f64>>,
}

impl Peak {
    pub(crate) fn watch(pid: u32) -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let look = move || {
            let mut peak = of(pid)?;
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(PAUSE);
                peak = peak.max(of(pid)?);
            }
            Ok(peak)
        };
        let thread =
            std::thread::Builder::new().name("memory".into()).spawn(look).context("starting a thread")?;
        Ok(Self { over, thread })
    }

    /// The most that was seen, in MiB.
    pub(crate) fn seen(self) -> anyhow::Result<f64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_else(|_| anyhow::bail!("the thread that looks at memory broke off"))
    }
}
