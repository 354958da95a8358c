//! The memory of the Python side at rest: what the kernel says of each of our descendants.

use std::time::{Duration, Instant};

use anyhow::bail;
use bench::process::{Tree, pss};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// Figures that differ by less are the same.
const NOISE_KIB: u64 = 64;

/// Memory in KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The helpers, which only wait, and the masters.
    pub(crate) master: u64,
    /// Each slot: its template and the process of its next call.
    pub(crate) slots: Vec<(u64, u64)>,
}

impl Memory {
    pub(crate) fn total(&self) -> u64 {
        self.master + self.slots.iter().map(|(template, call)| template + call).sum::<u64>()
    }
}

/// Waits until each slot has the process of its next call and nothing changes any more.
pub(crate) async fn at_rest(slots: usize) -> anyhow::Result<Memory> {
    let until = Instant::now() + PATIENCE;
    let mut before: Option<Memory> = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = read().ok().filter(|memory| memory.slots.len() == slots);
        if let (Some(before), Some(now)) = (&before, &now)
            && before.total().abs_diff(now.total()) < NOISE_KIB
        {
            return Ok(now.clone());
        }
        if Instant::now() > until {
            let told =
                read().err().map_or_else(|| "it never came to rest".into(), |error| format!("{error:#}"));
            bail!("the memory of the slots: {told}");
        }
        before = now;
    }
}

/// Waits until all descendants have ended.
pub(crate) async fn gone() -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !Tree::read()?.children(std::process::id()).is_empty() {
        if Instant::now() > until {
            bail!("processes of a pool outlive it");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// We start helpers; the one child of each is a master, whose children are the templates.
fn read() -> anyhow::Result<Memory> {
    let tree = Tree::read()?;
    let mut slots = Vec::new();
    let (mut master, mut templates) = (0, Vec::new());
    for helper in tree.children(std::process::id()) {
        master += pss(helper)?;
        for pid in tree.children(helper) {
            master += pss(pid)?;
            templates.extend(tree.children(pid));
        }
    }
    for template in templates {
        let [call] = tree.children(template)[..] else {
            bail!("a slot without the process of its next call")
        };
        slots.push((pss(template)?, pss(call)?));
    }
    Ok(Memory { master, slots })
}
