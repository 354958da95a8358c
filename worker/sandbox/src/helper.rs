//! The body of the hidden subcommand `sortie sandbox-exec`: prepares this process and becomes the program.
//!
//! It runs before anything else of our binary does (no threads, no runtime). Standard input is the control socket,
//! standard output and error are set by the launcher.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use rustix::process::{Gid, Resource, Rlimit, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::namespaces::{self, Side};
use crate::policy::{Entry, Namespaces};
use crate::tree::USER;
use crate::{Policy, host, mounts};

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "sandbox-exec";

/// The exit status of a helper that could not become the program.
const NOT_STARTED: u8 = 72;
/// The name of the host, as the program sees it.
const HOST_NAME: &[u8] = b"sandbox";

/// Why the program was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    #[error("the last argument is not a policy")]
    Policy(#[source] Option<serde_json::Error>),
    #[error("{step} failed: {source}")]
    Step { step: &'static str, source: io::Error },
    #[error("{entry:?} of the file system failed: {source}")]
    Entry { entry: Entry, source: io::Error },
}

impl From<HelperError> for io::Error {
    fn from(error: HelperError) -> Self {
        match error {
            HelperError::Step { source, .. } | HelperError::Entry { source, .. } => source,
            HelperError::Policy(_) => Self::other(error),
        }
    }
}

/// Prepares this process as the policy in the last argument says, and becomes the program. Returns only on failure,
/// with the reason on standard error, or after the end of the program, with its status.
pub fn helper_main() -> ExitCode {
    let argument = std::env::args_os().next_back();
    if argument.as_deref() == Some(host::PROBE.as_ref()) {
        return host::probe_main();
    }
    match run(argument) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to report a failed write to.
            let _ = writeln!(io::stderr(), "{SUBCOMMAND}: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn run(argument: Option<OsString>) -> Result<ExitCode, HelperError> {
    let text = argument.and_then(|text| text.into_string().ok()).ok_or(HelperError::Policy(None))?;
    let policy: Policy = serde_json::from_str(&text).map_err(|error| HelperError::Policy(Some(error)))?;

    // 1. A session of its own: no terminal, and a signal to the worker's group (Ctrl-C) doesn't reach it.
    step("setsid", rustix::process::setsid().map(drop))?;
    // 2. No core files; a bound on descriptors. What it writes is its own.
    limit("setrlimit RLIMIT_CORE", Resource::Core, 0)?;
    limit("setrlimit RLIMIT_NOFILE", Resource::Nofile, policy.open_files)?;
    // When the machine runs out of memory, handlers are killed first. Not worth failing for.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let Some(namespaces) = &policy.namespaces else {
        let Err(error) = become_program(&policy);
        return Err(error);
    };
    // 3. No group of the worker's user.
    if rustix::process::geteuid().is_root() {
        step("setgroups", rustix::thread::set_thread_groups(&[]))?;
    }
    // 4. A child that is the first process of all its namespaces; we only wait for its end.
    match step("making namespaces", namespaces::with_room(|| namespaces::split(namespaces::ALL)))? {
        Side::Parent(mut child) => {
            // 5. Who the child is outside; then it goes on.
            child.map_user(Some(namespaces.host_user))?;
            // The worker must see the control socket close when the child closes it.
            step("closing the control socket", close_input())?;
            step("waiting for the program", child.wait()).map(ExitCode::from)
        }
        Side::Child(go) => {
            step("waiting for the parent", go.wait())?;
            let Err(error) = enter(&policy, namespaces);
            Err(error)
        }
    }
}

/// The rest, in the child.
fn enter(policy: &Policy, namespaces: &Namespaces) -> Result<Infallible, HelperError> {
    // 6. A file system that has what the policy names, read-only; the old one is gone.
    mounts::enter(namespaces)?;
    // 7. A host name that tells nothing.
    step("sethostname", rustix::system::sethostname(HOST_NAME))?;
    // 8. Nothing that it executes can have a capability, whatever a file says.
    bound_capabilities()?;
    // 9. The one user that there is; root's rights over the namespaces end here.
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    step("setresgid", rustix::thread::set_thread_res_gid(group, group, group))?;
    step("setresuid", rustix::thread::set_thread_res_uid(user, user, user))?;
    // 10. No capability.
    drop_capabilities()?;
    // 11. If the one that waits for us is killed, so are we. After the change of user, which would undo it.
    let kill = Some(Signal::KILL);
    step("prctl PR_SET_PDEATHSIG", rustix::process::set_parent_process_death_signal(kill))?;
    become_program(policy)
}

fn become_program(policy: &Policy) -> Result<Infallible, HelperError> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // 12. No program it starts can gain privileges (setuid).
    step("prctl PR_SET_NO_NEW_PRIVS", rustix::thread::set_no_new_privs(true))?;
    // 13. Its directory.
    step("chdir to its directory", rustix::process::chdir(&policy.directory))?;
    // 14. Only the environment of the policy. Our own descriptors are all close-on-exec; what somebody else left open
    //     in the worker, the program closes first of all.
    let source = command(policy).exec();
    Err(HelperError::Step { step: "exec of the interpreter", source })
}

#[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
fn command(policy: &Policy) -> std::process::Command {
    let mut command = std::process::Command::new(&policy.program);
    command.args(&policy.arguments).env_clear().envs(&policy.environment);
    command
}

fn bound_capabilities() -> Result<(), HelperError> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel is older than this capability.
            Err(rustix::io::Errno::INVAL) => {}
            done => step("prctl PR_CAPBSET_DROP", done)?,
        }
    }
    Ok(())
}

fn drop_capabilities() -> Result<(), HelperError> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    step("capset", rustix::thread::set_capabilities(None, sets))?;
    step("prctl PR_CAP_AMBIENT_CLEAR_ALL", rustix::thread::clear_ambient_capability_set())
}

fn close_input() -> io::Result<()> {
    let nothing = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&nothing)?)
}

fn limit(name: &'static str, resource: Resource, most: u64) -> Result<(), HelperError> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    step(name, rustix::process::setrlimit(resource, limit))
}

pub(crate) fn step<T, E: Into<io::Error>>(step: &'static str, done: Result<T, E>) -> Result<T, HelperError> {
    done.map_err(|error| HelperError::Step { step, source: error.into() })
}
