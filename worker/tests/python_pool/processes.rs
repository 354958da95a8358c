//! The processes of a pool as the host sees them. A handler knows only the numbers of its own process namespace.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use worker::python::Isolation;

use super::support::Pool;

/// A living process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) number: i32,
    pub(crate) parent: i32,
    /// Its number in each namespace that it is in, the innermost last.
    numbers: Vec<i32>,
    /// The name of its program, shortened by the kernel.
    pub(crate) name: String,
}

impl Pool {
    /// Everything that lives of this pool.
    pub(crate) fn processes(&self) -> Vec<Process> {
        below(&self.dir.0)
    }

    /// How many processes a pool of one slot has when no call runs: two masters, the template, the process of the next
    /// call and, where there are namespaces, the helpers that wait for the ends of the masters.
    pub(crate) fn at_rest(&self) -> usize {
        if self.isolation == Isolation::None { 4 } else { 6 }
    }

    /// The template of a pool of one slot with namespaces: the first process of the innermost.
    pub(crate) fn template(&self) -> i32 {
        let all = self.processes();
        let deepest = all.iter().map(|process| process.numbers.len()).max().unwrap();
        let first =
            |process: &&Process| process.numbers.len() == deepest && process.numbers.last() == Some(&1);
        all.iter().find(first).unwrap().number
    }

    /// The host's number of the living process whose number a handler has told.
    pub(crate) fn find(&self, told: &Value) -> Option<i32> {
        let told = i32::try_from(told.as_i64().unwrap()).unwrap();
        if self.isolation == Isolation::None {
            return alive(told).then_some(told);
        }
        // Whatever lives in a namespace of this pool descends from its master: orphans go to the first process.
        let all = self.processes();
        let deepest = all.iter().map(|process| process.numbers.len()).max()?;
        all.into_iter()
            .find(|process| process.numbers.len() == deepest && process.numbers.last() == Some(&told))
            .map(|process| process.number)
    }
}

/// The processes that a pool with this directory has started: no other has it on its command line.
fn below(dir: &Path) -> Vec<Process> {
    let everybody: Vec<Process> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(look)
        .collect();
    let named = |process: &&Process| {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.number)).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(dir.to_str().unwrap())
    };
    let mut found: BTreeSet<i32> = everybody.iter().filter(named).map(|process| process.number).collect();
    loop {
        let before = found.len();
        found.extend(
            everybody
                .iter()
                .filter(|process| found.contains(&process.parent))
                .map(|process| process.number)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return everybody.into_iter().filter(|process| found.contains(&process.number)).collect();
        }
    }
}

/// The process of this number, unless it is gone or only waits to be reaped.
fn look(number: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:")?.starts_with(['Z', 'X']) {
        return None;
    }
    Some(Process {
        number,
        parent: field("PPid:")?.parse().ok()?,
        numbers: field("NSpid:")?.split_whitespace().filter_map(|number| number.parse().ok()).collect(),
        name: field("Name:")?.to_owned(),
    })
}

/// True if the process with this number of the host lives.
pub(crate) fn alive(number: i32) -> bool {
    look(number).is_some()
}

/// Sends a signal as an operator would.
#[expect(clippy::disallowed_methods, reason = "a test plays the operator")]
pub(crate) fn send(signal: &str, number: i32) {
    let sent = std::process::Command::new("kill").args(["-s", signal, &number.to_string()]).status();
    assert!(sent.unwrap().success());
}
