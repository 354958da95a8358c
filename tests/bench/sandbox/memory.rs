//! The memory of the Python side at rest: what the kernel says of each of our descendants (PSS: pages that several
//! processes share count for each of them by its share).

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// Figures that differ by less are the same.
const NOISE_KIB: u64 = 64;

/// Memory in KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The helper, which only waits, and the master.
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
    while !below(std::process::id(), &parents()?).is_empty() {
        if Instant::now() > until {
            bail!("processes of a pool outlive it");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// We start a helper; its one child is the master, whose children are the templates.
fn read() -> anyhow::Result<Memory> {
    let parents = parents()?;
    let mut slots = Vec::new();
    let (mut master, mut templates) = (0, Vec::new());
    for helper in below(std::process::id(), &parents) {
        master += pss(helper)?;
        for pid in below(helper, &parents) {
            master += pss(pid)?;
            templates.extend(below(pid, &parents));
        }
    }
    for template in templates {
        let [call] = below(template, &parents)[..] else {
            bail!("a slot without the process of its next call")
        };
        slots.push((pss(template)?, pss(call)?));
    }
    Ok(Memory { master, slots })
}

/// The parent of each process.
fn parents() -> anyhow::Result<BTreeMap<u32, u32>> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(processes.filter_map(|pid: u32| Some((pid, parent(pid)?))).collect())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn below(parent: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    parents.iter().filter(|(_, above)| **above == parent).map(|(pid, _)| *pid).collect()
}

fn pss(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path} (which needs root)"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
