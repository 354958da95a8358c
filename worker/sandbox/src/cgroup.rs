//! Limits for all processes of a slot together, by control groups of version 2, where the host has delegated them to
//! the worker (systemd: `Delegate=yes`; a container with a writable cgroup namespace of its own).
//!
//! Version 2 allows limits only on groups without processes of their own, so the worker moves itself into a group
//! beside those of its slots. Where nothing is delegated, [`Groups::open`] says why, and rlimits and the worker's
//! watch (`memory`) remain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The group that the worker moves into.
const WORKER: &str = "sortie-worker";
/// Controllers that limits need; without one of them there is no delegation.
const NEEDED: &[&str] = &["memory", "pids"];
/// The worker's share of the processor against that of a slot (100): it must keep its deadlines.
const WORKER_WEIGHT: &str = "1000";

/// Why there are no groups.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The host has no version 2, or not with the controllers that are needed.
    #[error("{0}")]
    Missing(String),
    /// They are there, but not for us.
    #[error("{path} can't be used: {source}", path = .path.display())]
    Refused {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The worker's own part of the tree of groups.
#[derive(Debug)]
pub struct Groups {
    base: PathBuf,
    has_cpu: bool,
}

/// The group of a slot. Dropping it removes it, if nothing runs in it any more.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Groups {
    /// Takes over the group that this process is in, if it is ours alone. Reads `/proc` and writes to the tree of
    /// groups.
    pub fn open() -> Result<Self, GroupError> {
        Self::take_over(base()?, std::process::id())
    }

    /// What [`Groups::open`] would be able to bound; changes nothing.
    pub fn look() -> Result<&'static str, GroupError> {
        Self::judge(base()?, std::process::id()).map(|groups| groups.bounds())
    }

    /// The group at `base`, if it can be taken over.
    fn judge(base: PathBuf, this: u32) -> Result<Self, GroupError> {
        let controllers = read(&base.join("cgroup.controllers"))?;
        let has = |name: &str| controllers.split_whitespace().any(|controller| controller == name);
        if let Some(missing) = NEEDED.iter().find(|name| !has(name)) {
            return Err(GroupError::Missing(format!(
                "the cgroup {} has no controller {missing}",
                base.display()
            )));
        }
        let members = read(&base.join("cgroup.procs"))?;
        let foreign = members.split_whitespace().find(|pid| pid.parse() != Ok(this));
        if let Some(foreign) = foreign {
            let message = format!(
                "the process {foreign} shares the cgroup {}; start the worker in one of its own (systemd: Delegate=yes)",
                base.display()
            );
            return Err(GroupError::Missing(message));
        }
        for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
            let path = base.join(name);
            rustix::fs::access(&path, rustix::fs::Access::WRITE_OK)
                .map_err(|source| refused(&path, source.into()))?;
        }
        let has_cpu = has("cpu");
        Ok(Self { base, has_cpu })
    }

    fn take_over(base: PathBuf, this: u32) -> Result<Self, GroupError> {
        let Self { base, has_cpu } = Self::judge(base, this)?;
        let worker = base.join(WORKER);
        create(&worker)?;
        write(&worker.join("cgroup.procs"), &this.to_string())?;
        let enabled = if has_cpu { "+memory +pids +cpu" } else { "+memory +pids" };
        write(&base.join("cgroup.subtree_control"), enabled)?;
        if has_cpu {
            write(&worker.join("cpu.weight"), WORKER_WEIGHT)?;
        }
        Ok(Self { base, has_cpu })
    }

    /// What it bounds, for people.
    pub const fn bounds(&self) -> &'static str {
        if self.has_cpu { "memory, processes and processor time" } else { "memory and processes" }
    }

    /// A group for the slot of that number, with that many processes and threads at most.
    pub fn slot(&self, number: usize, processes: u64) -> Result<Group, GroupError> {
        let path = self.base.join(format!("sortie-slot-{number}"));
        create(&path)?;
        write(&path.join("pids.max"), &processes.to_string())?;
        // The largest process is killed, not the template with it.
        write(&path.join("memory.oom.group"), "0")?;
        // Not every kernel has swap, and without it there is nothing to forbid.
        let _ = fs::write(path.join("memory.swap.max"), "0");
        Ok(Group { path })
    }
}

impl Group {
    /// Puts a process (a number of our process namespace) and all that it forks from now on into the group.
    pub fn add(&self, process: u32) -> Result<(), GroupError> {
        write(&self.path.join("cgroup.procs"), &process.to_string())
    }

    /// Bounds the memory of all processes and of the files that they keep in memory, in bytes.
    pub fn limit_memory(&self, bytes: u64) -> Result<(), GroupError> {
        write(&self.path.join("memory.max"), &bytes.to_string())
    }

    /// How many processes the kernel has killed here for want of memory, so far.
    pub fn kills(&self) -> u64 {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that is still in use is taken over by the next slot of its number.
        let _ = fs::remove_dir(&self.path);
    }
}

/// The group that this process is in.
fn base() -> Result<PathBuf, GroupError> {
    let text = |path: &str| fs::read_to_string(path).map_err(|source| refused(Path::new(path), source));
    let (mounts, own) = (text("/proc/self/mountinfo")?, text("/proc/self/cgroup")?);
    let mount = mount_point(&mounts)
        .ok_or_else(|| GroupError::Missing("the host has no cgroups of version 2".into()))?;
    let path = own_path(&own)
        .ok_or_else(|| GroupError::Missing("this process is in no cgroup of version 2".into()))?;
    Ok(mount.join(path.trim_start_matches('/')))
}

/// Where version 2 is mounted, out of `/proc/self/mountinfo` (proc(5): the type follows a lone hyphen).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The group of version 2 that a process is in, out of `/proc/self/cgroup` (cgroups(7): hierarchy 0).
fn own_path(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

fn create(path: &Path) -> Result<(), GroupError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(refused(path, error)),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, GroupError> {
    fs::read_to_string(path).map_err(|source| refused(path, source))
}

fn write(path: &Path, text: &str) -> Result<(), GroupError> {
    fs::write(path, text).map_err(|source| refused(path, source))
}

fn refused(path: &Path, source: io::Error) -> GroupError {
    GroupError::Refused { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 4711;

    /// A directory with the files that the kernel shows in a delegated group.
    fn tree(name: &str, controllers: &str, members: &str) -> PathBuf {
        let base = std::env::temp_dir().join(format!("sortie-cgroup-{}-{name}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("cgroup.controllers"), controllers).unwrap();
        fs::write(base.join("cgroup.procs"), members).unwrap();
        fs::write(base.join("cgroup.subtree_control"), "").unwrap();
        base
    }

    #[test]
    fn a_delegated_group_is_divided_and_its_slots_are_bounded() {
        let base = tree("all", "cpu memory pids\n", "4711\n");
        assert_eq!(
            Groups::judge(base.clone(), OURS).unwrap().bounds(),
            "memory, processes and processor time"
        );
        assert!(!base.join(WORKER).exists(), "a look changes nothing");
        let groups = Groups::take_over(base.clone(), OURS).unwrap();
        let told = |path: &str| fs::read_to_string(base.join(path)).unwrap();
        assert_eq!(told("sortie-worker/cgroup.procs"), "4711");
        assert_eq!(told("cgroup.subtree_control"), "+memory +pids +cpu");
        let slot = groups.slot(3, 64).unwrap();
        slot.add(99).unwrap();
        slot.limit_memory(1 << 20).unwrap();
        assert_eq!(told("sortie-slot-3/pids.max"), "64");
        assert_eq!(told("sortie-slot-3/cgroup.procs"), "99");
        assert_eq!(told("sortie-slot-3/memory.max"), "1048576");
        fs::write(base.join("sortie-slot-3/memory.events"), "max 4\noom 1\noom_kill 2\n").unwrap();
        assert_eq!(slot.kills(), 2);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_is_not_delegated_is_left_alone_and_named() {
        let base = tree("controllers", "cpu pids\n", "4711\n");
        let error = Groups::take_over(base.clone(), OURS).unwrap_err().to_string();
        assert!(error.contains("no controller memory"), "{error}");
        fs::remove_dir_all(base).unwrap();
        let base = tree("shared", "memory pids\n", "4711\n1234\n");
        let error = Groups::take_over(base.clone(), OURS).unwrap_err().to_string();
        assert!(error.contains("1234") && error.contains("Delegate=yes"), "{error}");
        assert!(!base.join(WORKER).exists());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn the_kernels_files_are_read() {
        let mounts = "35 24 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      36 24 0:31 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("22 1 0:5 / /proc rw - proc proc rw\n"), None);
        assert_eq!(
            own_path("4:memory:/x\n0::/system.slice/sortie.service\n"),
            Some("/system.slice/sortie.service")
        );
    }
}
