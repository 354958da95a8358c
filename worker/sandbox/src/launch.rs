//! Starts a program behind the helper, with one control socket and nothing else of ours.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Child;

use crate::{Control, Policy, SUBCOMMAND};

/// A started program.
#[derive(Debug)]
pub struct Launched {
    /// Its process. Standard error is a pipe; it is not killed when this is dropped (the closed socket ends it).
    pub child: Child,
    /// The socket that is the program's standard input.
    pub control: Control,
}

/// Starts `helper` (our own binary), which becomes the program of `policy`. Needs a Tokio runtime. An error of the
/// program's start shows as its exit, with the reason on its standard error.
pub fn launch(helper: &Path, policy: &Policy) -> io::Result<Launched> {
    let (control, theirs) = Control::pair()?;
    let child = command(helper)
        .arg(SUBCOMMAND)
        .arg(serde_json::to_string(policy)?)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Launched { child, control })
}

#[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
fn command(program: &Path) -> tokio::process::Command {
    tokio::process::Command::new(program)
}
