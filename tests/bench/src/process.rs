//! Processes as the kernel accounts for them: who started whom, their memory (PSS: pages that several processes
//! share count for each of them by its share), and the processor time that they have used.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// The unit of times in `/proc/PID/stat`: USER_HZ, which programs see as 100 whatever the kernel was built with.
const TICK: Duration = Duration::from_millis(10);
/// A listening socket's state in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Every process's parent, at one moment.
pub struct Tree(BTreeMap<u32, u32>);

impl Tree {
    /// As it is now.
    pub fn read() -> anyhow::Result<Self> {
        let parent = |pid: u32| fields(pid)?.first()?.parse().ok();
        Ok(Self(all()?.filter_map(|pid| Some((pid, parent(pid)?))).collect()))
    }

    /// Processes that this one started, and those that fell to it.
    pub fn children(&self, parent: u32) -> Vec<u32> {
        self.0.iter().filter(|(_, above)| **above == parent).map(|(pid, _)| *pid).collect()
    }

    /// Its children, their children, and so on.
    pub fn descendants(&self, of: u32) -> Vec<u32> {
        let mut found = self.children(of);
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(self.children(*pid));
            next += 1;
        }
        found
    }
}

/// Memory of one process, in KiB.
pub fn pss(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path} (which needs root)"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Memory of several processes together, in KiB: their PSS, but a file in memory that they map counts as a whole, with what none
/// of them has touched, and each page that one of them has changed in its copy counts in full. Those that have ended are
/// left out.
pub fn together(pids: &[u32]) -> u64 {
    let (mut own, mut file) = (0, 0);
    for text in pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps")).ok()) {
        let (mut in_file, mut mapped) = (false, 0);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let value = |words: &mut std::str::SplitWhitespace<'_>| words.next()?.parse::<u64>().ok();
            match words.next() {
                Some("Size:") if in_file => mapped += value(&mut words).unwrap_or_default(),
                Some("Pss:") if !in_file => own += value(&mut words).unwrap_or_default(),
                Some("Anonymous:") if in_file => own += value(&mut words).unwrap_or_default(),
                // The head of a mapping: its place, and at the end what is mapped.
                Some(place) if !place.ends_with(':') => in_file = line.contains("/memfd:"),
                _ => {}
            }
        }
        file = file.max(mapped);
    }
    own + file
}

/// Processor time of one process, in user and kernel mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Its own, of all its threads.
    pub own: Duration,
    /// Of its children that have ended and were waited for, with all that they had gathered in the same way.
    pub ended: Duration,
}

/// What a process has used so far; `None` if it has ended.
pub fn cpu(pid: u32) -> Option<Cpu> {
    let fields = fields(pid)?;
    // utime, stime, cutime, cstime: fields 14 to 17, counted from 1; these here begin with the fourth.
    let time = |at: usize| Some(TICK * fields.get(at)?.parse().ok()?);
    Some(Cpu { own: time(10)? + time(11)?, ended: time(12)? + time(13)? })
}

/// What the calling thread has used so far, to the nanosecond.
pub fn thread_cpu() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().context("no time in schedstat")?;
    Ok(Duration::from_nanos(first.parse()?))
}

/// Processor time of the whole machine, without what it idled.
pub fn machine() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let times: Vec<u32> = line.split_whitespace().skip(1).filter_map(|time| time.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq.
    Ok([0, 1, 2, 5, 6].iter().filter_map(|at| times.get(*at)).map(|time| TICK * *time).sum())
}

/// The process that listens on this port of this machine.
pub fn listener(port: u16) -> anyhow::Result<u32> {
    let (v4, v6) = (fs::read_to_string("/proc/net/tcp")?, fs::read_to_string("/proc/net/tcp6")?);
    let sockets = v4.lines().chain(v6.lines()).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let here = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == LISTENING;
        here.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    });
    let sockets: Vec<String> = sockets.collect();
    all()?.find(|pid| holds(*pid, &sockets)).with_context(|| format!("no process of ours listens on {port}"))
}

fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn all() -> anyhow::Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// The fields of `/proc/PID/stat` from the fourth on: what stands before may hold blanks.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().skip(1).map(str::to_owned).collect())
}
