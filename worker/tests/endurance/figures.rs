//! What the kernel says of this process and of everything below it: memory, descriptors, mounts, namespaces, zombies,
//! threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Changes of memory that are none, in KiB.
const NOISE_KIB: u64 = 64;

/// Everything at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    worker: Side,
    python: Side,
}

/// A group of processes, together.
#[derive(Debug, Default)]
struct Side {
    processes: usize,
    zombies: usize,
    threads: usize,
    descriptors: usize,
    /// Mounts of all their mount namespaces.
    mounts: usize,
    /// Different ones, of all kinds.
    namespaces: usize,
    rss_kib: u64,
    pss_kib: u64,
}

impl Figures {
    /// `None` if a process ended while it was looked at.
    pub(crate) fn take() -> Option<Self> {
        let worker = std::process::id();
        Some(Self { worker: Side::of(&[worker])?, python: Side::of(&below(worker))? })
    }

    /// How many processes there are below this one.
    pub(crate) fn processes(&self) -> usize {
        self.python.processes
    }

    /// True if the memory of the Python side is the same.
    pub(crate) fn is_as_large_as(&self, other: &Self) -> bool {
        self.python.pss_kib.abs_diff(other.python.pss_kib) < NOISE_KIB
    }

    /// The names of what there is more of than before. Memory may have grown by so many KiB.
    pub(crate) fn grown_since(&self, before: &Self, worker_kib: u64, python_kib: u64) -> Vec<String> {
        let mut grown = Vec::new();
        for (side, now, then, kib) in [
            ("the worker", &self.worker, &before.worker, worker_kib),
            ("Python", &self.python, &before.python, python_kib),
        ] {
            for ((name, now), (_, then)) in now.rows().into_iter().zip(then.rows()) {
                let tolerance = if name.ends_with("KiB") { kib } else { 0 };
                if now > then + tolerance {
                    grown.push(format!("{name} of {side} ({then} before, {now} after)"));
                }
            }
        }
        grown
    }

    /// Both as a table.
    pub(crate) fn beside(&self, after: &Self) -> String {
        let mut table =
            "| | worker before | after | Python before | after |\n|---|---:|---:|---:|---:|\n".to_owned();
        let sides = [&self.worker, &after.worker, &self.python, &after.python].map(Side::rows);
        for row in 0..sides[0].len() {
            let [a, b, c, d] = sides.each_ref().map(|side| side[row].1);
            let _ = writeln!(table, "| {} | {a} | {b} | {c} | {d} |", sides[0][row].0);
        }
        table
    }
}

impl Side {
    fn of(pids: &[u32]) -> Option<Self> {
        let mut side = Self { processes: pids.len(), ..Self::default() };
        let (mut namespaces, mut mounts) = (BTreeSet::new(), BTreeMap::new());
        for pid in pids {
            let process = Path::new("/proc").join(pid.to_string());
            let status = fs::read_to_string(process.join("status")).ok()?;
            side.threads += number::<usize>(&status, "Threads:")?;
            if status.contains("\nState:\tZ") {
                side.zombies += 1;
                continue;
            }
            side.descriptors += entries(&process.join("fd"))?.len();
            let memory = fs::read_to_string(process.join("smaps_rollup")).ok()?;
            side.rss_kib += number::<u64>(&memory, "Rss:")?;
            side.pss_kib += number::<u64>(&memory, "Pss:")?;
            namespaces
                .extend(entries(&process.join("ns"))?.iter().filter_map(|path| fs::read_link(path).ok()));
            let mounted = fs::read_to_string(process.join("mountinfo")).ok()?;
            mounts.insert(fs::read_link(process.join("ns/mnt")).ok()?, mounted.lines().count());
        }
        side.namespaces = namespaces.len();
        side.mounts = mounts.values().sum();
        Some(side)
    }

    fn rows(&self) -> [(&'static str, u64); 8] {
        [
            ("processes", self.processes as u64),
            ("zombies", self.zombies as u64),
            ("threads", self.threads as u64),
            ("descriptors", self.descriptors as u64),
            ("mounts", self.mounts as u64),
            ("namespaces", self.namespaces as u64),
            ("RSS, KiB", self.rss_kib),
            ("PSS, KiB", self.pss_kib),
        ]
    }
}

/// All descendants, dead ones too as long as nobody has waited for them.
fn below(root: u32) -> Vec<u32> {
    let all = entries(Path::new("/proc")).unwrap_or_default();
    let parents: BTreeMap<u32, u32> = all
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            Some((pid, number(&status, "PPid:")?))
        })
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let above = found[at];
        found.extend(parents.iter().filter(|(_, parent)| **parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

fn entries(directory: &Path) -> Option<Vec<PathBuf>> {
    fs::read_dir(directory).ok()?.map(|entry| Some(entry.ok()?.path())).collect()
}

/// The first word after `name` at the start of a line.
fn number<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
