//! Asks the host, piece by piece, for what the sandbox is made of: each piece is tried for real in a process of its
//! own, by our binary started as a helper.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};

use crate::helper::SUBCOMMAND;
use crate::mounts;
use crate::namespaces::{self, Side};

/// The argument that makes the helper probe.
pub(crate) const PROBE: &str = "--probe";
/// The oldest kernel: it counts processes per user namespace (RLIMIT_NPROC), which bounds each slot by itself.
const KERNEL: (u32, u32) = (5, 14);

/// What the sandbox is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// A kernel that is new enough.
    Kernel,
    /// User namespaces.
    User,
    /// User namespaces inside of one: each slot has its own.
    NestedUser,
    /// Where the worker is root: a user without rights for handlers.
    HandlerUser,
    /// Mount namespaces.
    Mount,
    /// Namespaces of process numbers.
    Pid,
    /// Namespaces of System V objects.
    Ipc,
    /// Namespaces of host names.
    Uts,
    /// Network namespaces.
    Network,
    /// A file system of its own.
    Root,
    /// A `/proc` of its own.
    Proc,
    /// No privileges for whatever is executed.
    NoNewPrivileges,
    /// Filters of system calls.
    Filter,
}

/// All pieces, in the order in which they are tried.
pub const PIECES: &[Piece] = &[
    Piece::Kernel,
    Piece::User,
    Piece::NestedUser,
    Piece::HandlerUser,
    Piece::Mount,
    Piece::Pid,
    Piece::Ipc,
    Piece::Uts,
    Piece::Network,
    Piece::Root,
    Piece::Proc,
    Piece::NoNewPrivileges,
    Piece::Filter,
];

impl Piece {
    /// What it is, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "Linux 5.14 or newer",
            Self::User => "user namespaces",
            Self::NestedUser => "nested user namespaces",
            Self::HandlerUser => "an unprivileged user for handlers",
            Self::Mount => "mount namespaces",
            Self::Pid => "process namespaces",
            Self::Ipc => "IPC namespaces",
            Self::Uts => "host name namespaces",
            Self::Network => "network namespaces",
            Self::Root => "a private file system",
            Self::Proc => "a private /proc",
            Self::NoNewPrivileges => "no_new_privs",
            Self::Filter => "system call filters (seccomp)",
        }
    }

    /// True if only a user namespace gives the right to it.
    const fn needs_user(self) -> bool {
        !matches!(self, Self::Kernel | Self::User | Self::NoNewPrivileges | Self::Filter)
    }

    /// How to get it.
    pub const fn mend(self) -> &'static str {
        match self {
            Self::Kernel => "boot a newer kernel",
            Self::User | Self::NestedUser => {
                "allow user namespaces: sysctl user.max_user_namespaces=15000; on Debian also \
                 kernel.unprivileged_userns_clone=1, on Ubuntu 24.04 and newer \
                 kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile with `userns`; in a container, \
                 a seccomp profile that allows clone and unshare with CLONE_NEWUSER (deploy/container has one)"
            }
            Self::HandlerUser => {
                "give root the capabilities SETUID and SETGID and a user 65534, or run the worker as an ordinary user"
            }
            Self::Mount => "sysctl user.max_mnt_namespaces=15000",
            Self::Pid => "sysctl user.max_pid_namespaces=15000",
            Self::Ipc => "sysctl user.max_ipc_namespaces=15000, and a kernel with CONFIG_IPC_NS",
            Self::Uts => "sysctl user.max_uts_namespaces=15000",
            Self::Network => "sysctl user.max_net_namespaces=15000",
            Self::Root => {
                "in a container, a seccomp profile that allows mount and pivot_root (deploy/container has one), and no \
                 AppArmor profile that denies mounts"
            }
            Self::Proc => {
                "in a container, /proc must not be masked: Docker --security-opt systempaths=unconfined, \
                 Kubernetes procMount: Unmasked"
            }
            Self::NoNewPrivileges => "boot a newer kernel",
            Self::Filter => "a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
        }
    }
}

/// The problem of a piece that was not tried, because it can't be there without user namespaces.
const FOLLOWS: &str = "needs user namespaces";

/// What was found about a piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The piece.
    pub piece: Piece,
    /// Why it isn't there; `None` if it is.
    pub problem: Option<String>,
}

impl Finding {
    /// True if the piece is missing only because user namespaces are.
    pub fn follows(&self) -> bool {
        self.problem.as_deref() == Some(FOLLOWS)
    }
}

/// Why the host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The helper did not run.
    #[error("the helper {helper} can't be started")]
    Start {
        /// Our own binary.
        helper: String,
        /// Why not.
        source: io::Error,
    },
    /// It said something else.
    #[error("the helper told what is no report: {0}")]
    Answer(String),
}

/// Has `helper` (our own binary) try every piece. Blocks for some milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
pub fn probe_host(helper: &Path) -> Result<Vec<Finding>, HostError> {
    let output = std::process::Command::new(helper)
        .args([SUBCOMMAND, PROBE])
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|source| HostError::Start { helper: helper.display().to_string(), source })?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        HostError::Answer(format!("{error}; {}", said.lines().last().unwrap_or("it said nothing")))
    })
}

/// The helper's side: tries every piece and writes the report.
pub(crate) fn probe_main() -> ExitCode {
    let mut findings: Vec<Finding> = Vec::new();
    for &piece in PIECES {
        let lacks_user = findings.iter().any(|other| other.piece == Piece::User && other.problem.is_some());
        let problem = match lacks_user && piece.needs_user() {
            true => Some(FOLLOWS.to_owned()),
            false => namespaces::with_room(|| attempt(piece)).err().map(|error| error.to_string()),
        };
        findings.push(Finding { piece, problem });
    }
    let written = serde_json::to_writer(io::stdout(), &findings);
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn attempt(piece: Piece) -> io::Result<()> {
    let user = libc::CLONE_NEWUSER;
    match piece {
        Piece::Kernel => kernel(),
        Piece::User => in_child(user, None, || Ok(())),
        Piece::NestedUser => in_child(user, None, || Ok(namespaces::unshare_user()?)),
        Piece::HandlerUser if !rustix::process::geteuid().is_root() => Ok(()),
        Piece::HandlerUser => in_child(user, Some(crate::HANDLER_USER), || {
            let handler = rustix::process::Uid::from_raw(crate::tree::USER);
            Ok(rustix::thread::set_thread_res_uid(handler, handler, handler)?)
        }),
        Piece::Mount => in_child(user | libc::CLONE_NEWNS, None, || Ok(())),
        Piece::Pid => in_child(user | libc::CLONE_NEWPID, None, || Ok(())),
        Piece::Ipc => in_child(user | libc::CLONE_NEWIPC, None, || Ok(())),
        Piece::Uts => in_child(user | libc::CLONE_NEWUTS, None, || Ok(())),
        Piece::Network => in_child(user | libc::CLONE_NEWNET, None, || Ok(())),
        Piece::Root => in_child(user | libc::CLONE_NEWNS, None, || Ok(mounts::rehearse()?)),
        Piece::Proc => in_child(user | libc::CLONE_NEWNS | libc::CLONE_NEWPID, None, || {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            Ok(rustix::mount::mount("proc", "/proc", "proc", flags, None)?)
        }),
        Piece::NoNewPrivileges => Ok(rustix::thread::no_new_privs().map(drop)?),
        Piece::Filter => filter(),
    }
}

fn kernel() -> io::Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version >= KERNEL { Ok(()) } else { Err(io::Error::other(format!("this is Linux {release}"))) }
}

/// Runs `body` as the first process of new namespaces; its error is ours.
fn in_child(
    flags: libc::c_int,
    host_user: Option<u32>,
    body: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match namespaces::split(flags)? {
        Side::Parent(mut child) => {
            let mapped = child.map_user(host_user);
            let code = child.wait()?;
            mapped.map_err(io::Error::other)?;
            if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(i32::from(code))) }
        }
        Side::Child(go) => {
            let done = go.wait().and_then(|()| body());
            let code = done.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            #[expect(clippy::exit, reason = "the child of a fork must not return into its parent's work")]
            std::process::exit(code);
        }
    }
}

#[expect(unsafe_code, reason = "no library asks for actions of seccomp")]
fn filter() -> io::Result<()> {
    crate::seccomp::filters().map_err(io::Error::other)?;
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads four bytes at the pointer, which outlive the call.
    let known =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if known == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
