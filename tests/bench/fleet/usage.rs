//! The processor time that a measurement took, split by who used it.

use std::time::{Duration, Instant};

use bench::process::{self, Tree};

/// A process that is watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    /// What the processes that it started count as; nothing if it starts none, or they are of no interest.
    pub(crate) below: Option<&'static str>,
}

impl Watched {
    pub(crate) const fn alone(name: &'static str, pid: u32) -> Self {
        Self { name, pid, below: None }
    }
}

/// What everybody had used at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    at: Instant,
    used: Vec<(&'static str, Duration)>,
    machine: Duration,
}

/// What everybody used in a span of time.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    pub(crate) span: Duration,
    pub(crate) used: Vec<(&'static str, Duration)>,
    /// The whole machine, with what isn't watched.
    pub(crate) machine: Duration,
}

impl Reading {
    pub(crate) fn take(watched: &[Watched]) -> anyhow::Result<Self> {
        let tree = Tree::read()?;
        let mut used = Vec::new();
        for one in watched {
            let cpu = process::cpu(one.pid).unwrap_or_default();
            used.push((one.name, cpu.own));
            if let Some(below) = one.below {
                // Those that have ended count where they were waited for: calls in their template, slots nowhere.
                let alive = tree.descendants(one.pid).into_iter().filter_map(process::cpu);
                used.push((below, cpu.ended + alive.map(|cpu| cpu.own + cpu.ended).sum::<Duration>()));
            }
        }
        Ok(Self { at: Instant::now(), used, machine: process::machine()? })
    }

    /// What was used since then.
    pub(crate) fn until_now(&self, watched: &[Watched]) -> anyhow::Result<Usage> {
        let now = Self::take(watched)?;
        let used = now.used.iter().zip(&self.used).map(|(now, then)| (now.0, now.1.saturating_sub(then.1)));
        Ok(Usage {
            span: now.at - self.at,
            used: used.collect(),
            machine: now.machine.saturating_sub(self.machine),
        })
    }
}

impl Usage {
    /// What the rest of the machine used.
    pub(crate) fn others(&self) -> Duration {
        self.machine.saturating_sub(self.used.iter().map(|(_, time)| *time).sum())
    }
}
