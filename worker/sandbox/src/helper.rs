//! The body of the hidden subcommand `sortie sandbox-exec`: prepares this process and becomes the program.
//!
//! It runs before anything else of our binary does (no threads, no runtime). Standard input is the control socket,
//! standard output and error are set by the launcher.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};

use crate::Policy;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "sandbox-exec";

/// The exit status of a helper that could not become the program.
const NOT_STARTED: u8 = 72;

/// Why the program was not started.
#[derive(Debug, thiserror::Error)]
enum HelperError {
    #[error("the last argument is not a policy")]
    Policy(#[source] Option<serde_json::Error>),
    #[error("{step} failed: {source}")]
    Step { step: &'static str, source: std::io::Error },
}

/// Prepares this process as the policy in the last argument says, and becomes the program. Returns only on failure,
/// with the reason on standard error.
pub fn helper_main() -> ExitCode {
    let Err(error) = become_program(std::env::args_os().next_back());
    // Nobody is left to report a failed write to.
    let _ = writeln!(std::io::stderr(), "{SUBCOMMAND}: {error}");
    ExitCode::from(NOT_STARTED)
}

fn become_program(argument: Option<OsString>) -> Result<Infallible, HelperError> {
    let text = argument.and_then(|text| text.into_string().ok()).ok_or(HelperError::Policy(None))?;
    let policy: Policy = serde_json::from_str(&text).map_err(|error| HelperError::Policy(Some(error)))?;

    // 1. A session of its own: no terminal, and a signal to the worker's group (Ctrl-C) doesn't reach it.
    step("setsid", rustix::process::setsid().map(drop))?;
    // 2. Orphans of its descendants become its children, so that a daemon can't get out of its sight.
    let this = rustix::process::getpid();
    step("prctl PR_SET_CHILD_SUBREAPER", rustix::process::set_child_subreaper(Some(this)))?;
    // 3. No program it starts can gain privileges (setuid).
    step("prctl PR_SET_NO_NEW_PRIVS", rustix::thread::set_no_new_privs(true))?;
    // 4. No core files; a bound on descriptors.
    limit("setrlimit RLIMIT_CORE", Resource::Core, 0)?;
    limit("setrlimit RLIMIT_NOFILE", Resource::Nofile, policy.open_files)?;
    // 5. What it writes is its own.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // 6. Its directory.
    step("chdir to the slot's directory", rustix::process::chdir(&policy.directory))?;
    // 7. Only the environment of the policy. Our own descriptors are all close-on-exec; what somebody else left open
    //    in the worker, the program closes first of all.
    let source = command(&policy).exec();
    Err(HelperError::Step { step: "exec of the interpreter", source })
}

#[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
fn command(policy: &Policy) -> std::process::Command {
    let mut command = std::process::Command::new(&policy.program);
    command.args(&policy.arguments).env_clear().envs(&policy.environment);
    command
}

fn limit(name: &'static str, resource: Resource, most: u64) -> Result<(), HelperError> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    step(name, rustix::process::setrlimit(resource, limit))
}

fn step(step: &'static str, done: rustix::io::Result<()>) -> Result<(), HelperError> {
    done.map_err(|error| HelperError::Step { step, source: error.into() })
}
