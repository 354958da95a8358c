//! Ends processes: one by its pidfd, or a root with all its descendants.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long [`kill_tree`] hunts descendants before it kills the root alone.
const HUNT: Duration = Duration::from_millis(500);
/// How often it looks at least.
const LOOKS: u32 = 4;

/// One process, named so that its number can't be taken by another.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
}

impl Process {
    /// The process behind a pidfd.
    pub const fn new(pidfd: OwnedFd) -> Self {
        Self { pidfd }
    }

    /// Its number in our process namespace; `None` if it has been reaped, or is no process of this namespace.
    pub fn number(&self) -> Option<u32> {
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).ok()?;
        told.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
    }

    /// Waits until it has ended. Fails if the runtime, which must be Tokio's, has nothing left to wait with.
    #[expect(unsafe_code, reason = "the library wants to know that the descriptor stays open")]
    pub async fn ended(&self) -> io::Result<()> {
        // Only where somebody waits: most processes of calls end when nobody cares any more.
        // SAFETY: what is borrowed here stays open for as long as the `AsyncFd` lives, which doesn't leave this function.
        let registered = unsafe { AsyncFd::register_with_interest(self.pidfd.as_fd(), Interest::READABLE) };
        // A pidfd becomes readable when its process ends.
        registered?.readable().await.map(drop)
    }

    /// Kills it with SIGKILL. One that has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// True if it has ended, whether or not somebody has waited for it.
    pub fn has_ended(&self) -> bool {
        is_readable(&self.pidfd)
    }
}

/// True if the descriptor has something to read, a connection to accept or, of a process, its end to tell; at once.
pub fn is_readable(descriptor: &impl AsFd) -> bool {
    let mut watched = [PollFd::new(descriptor, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut watched, Some(&at_once)), Ok(1))
}

/// Kills the process `root` and everything that descends from it; blocks for a moment. `root` must not have been
/// reaped yet, so that the number is still its own.
///
/// Descendants first: while `root` lives it adopts their orphans, so none gets away.
pub fn kill_tree(root: u32) {
    let Some(root) = i32::try_from(root).ok().and_then(Pid::from_raw) else { return };
    let until = Instant::now() + HUNT;
    let (mut dead, mut looks) = (BTreeSet::new(), 0);
    // A few looks, whatever the clock says: it may be us who were held up.
    while looks < LOOKS || Instant::now() < until {
        looks += 1;
        let (living, now_dead) = descendants(root.as_raw_nonzero().get());
        // One that died while we looked may have left children to `root` after we had read its list: look again.
        if living.is_empty() && now_dead.is_subset(&dead) {
            break;
        }
        dead = now_dead;
        for pid in living.into_iter().filter_map(Pid::from_raw) {
            kill(pid);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(root);
}

fn kill(pid: Pid) {
    // It may have ended meanwhile: then there is nothing to kill.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// All processes below `root`: those that live, and those that are dead (whether or not somebody reaped them).
pub(crate) fn descendants(root: i32) -> (BTreeSet<i32>, BTreeSet<i32>) {
    let mut seen = BTreeSet::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            if seen.insert(child) {
                open.push(child);
            }
        }
    }
    seen.into_iter().partition(|pid| alive(*pid))
}

/// The children of all threads of a process; none if it is gone.
fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// False for a process that is gone, or is a zombie that only waits to be reaped.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
    fn a_tree_is_killed_to_its_leaves() {
        let script = "sleep 1000 & (sleep 1000 & wait) & wait";
        let mut root = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let number = i32::try_from(root.id()).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while descendants(number).0.len() < 3 {
            assert!(Instant::now() < until, "the shell never started its children");
            std::thread::yield_now();
        }
        let (tree, _) = descendants(number);
        kill_tree(root.id());
        root.wait().unwrap();
        // A shell adopts no orphans, as a template does: what lost its parent is killed, and not waited for.
        while tree.iter().any(|pid| alive(*pid)) {
            assert!(Instant::now() < until, "not all of {tree:?} are dead");
            std::thread::yield_now();
        }
    }
}
