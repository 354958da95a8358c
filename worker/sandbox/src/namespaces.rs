//! New namespaces: a child of ours that is the first process in all of them, and who it is outside.
//!
//! Nothing here needs root: a user namespace gives its first process all capabilities over the other namespaces that
//! are made with it, and none over anything else.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::helper::{HelperError, step};
use crate::tree::USER;

/// User, mount, process, IPC, host name and network namespace.
pub(crate) const ALL: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET;

/// How long room for a namespace is waited for.
const ROOM: Duration = Duration::from_millis(500);

/// The parent's side of a new process.
pub(crate) struct Child {
    pid: Pid,
    go: OwnedFd,
}

/// Where a fork has come out.
pub(crate) enum Side {
    /// Here is the process that was there before.
    Parent(Child),
    /// Here is the new one. It must wait for [`Go`] before it does anything.
    Child(Go),
}

/// Tells the new process that its user is known.
pub(crate) struct Go(OwnedFd);

impl Go {
    /// Waits until the parent has mapped our user. Fails if the parent gave up.
    pub(crate) fn wait(self) -> io::Result<()> {
        fs::File::from(self.0).read_exact(&mut [0])
    }
}

/// Tries again for a moment where there seems to be no room for a namespace: the kernel gives back the place of one that
/// has ended only some time later, and all the machine's in one queue.
pub(crate) fn with_room<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + ROOM;
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Makes a child in new namespaces (`flags`). The process must have one thread.
pub(crate) fn split(flags: libc::c_int) -> io::Result<Side> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok(match fork_into(flags)? {
        Some(pid) => Side::Parent(Child { pid, go }),
        None => Side::Child(Go(wait)),
    })
}

impl Child {
    /// Says who the child is outside, and lets it go on. Where we are root, it stays root for its mounts and can
    /// become `host_user`, if there is to be one; else it is ourselves.
    pub(crate) fn map_user(&mut self, host_user: Option<u32>) -> Result<(), HelperError> {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let map = |own: u32| match (user, host_user) {
            (0, Some(other)) => format!("0 0 1\n{USER} {other} 1\n"),
            (0, None) => "0 0 1\n".to_owned(),
            _ => format!("{USER} {own} 1\n"),
        };
        let write = |name: &str, text: String| fs::write(format!("/proc/{}/{name}", self.pid), text);
        step("writing uid_map", write("uid_map", map(user)))?;
        step("writing setgroups", write("setgroups", "deny".into()))?;
        step("writing gid_map", write("gid_map", map(group)))?;
        step("waking the child", fs::File::from(self.go.try_clone().map_err(into_step)?).write_all(&[1]))
    }

    /// Waits for the child's end; its exit status, or 128 and the signal that killed it.
    pub(crate) fn wait(self) -> io::Result<u8> {
        drop(self.go);
        loop {
            let waited = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
            let status = match waited {
                Err(rustix::io::Errno::INTR) => continue,
                waited => waited?,
            };
            let Some((_, status)) = status else { continue };
            let told =
                status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal + 128));
            if let Some(told) = told {
                return Ok(u8::try_from(told).unwrap_or(u8::MAX));
            }
        }
    }
}

fn into_step(source: io::Error) -> HelperError {
    HelperError::Step { step: "duplicating a pipe", source }
}

/// `clone` in the manner of `fork`, with namespaces; the child's number in the parent, `None` in the child.
#[expect(unsafe_code, reason = "no library forks into namespaces")]
fn fork_into(flags: libc::c_int) -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack of its own the child is a copy of us, as after fork(). The helper has
    // a single thread, so no lock is held by a thread that the child doesn't have.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `unshare` for a process with one thread.
#[expect(unsafe_code, reason = "the library's function is unsafe for a case that we don't have")]
pub(crate) fn unshare_user() -> rustix::io::Result<()> {
    // SAFETY: UnshareFlags::FILES, the one that is unsafe, is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }
}
