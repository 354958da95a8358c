//! The command line as people and scripts use it: the real binary as a child process, its output, its exit code.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod description;
mod doctor;
mod exit_codes;
mod help;
mod isolation;
mod journey;
mod secrets;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{ADMIN_KEY, Dir, Sortie};

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// What it printed as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// What it printed, without the end of the line.
    pub(crate) fn line(&self) -> &str {
        self.out.trim_end()
    }
}

/// The binary under test, in an environment that says nothing about Sortie and has its home in `dir`.
#[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sortie"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that needs no server.
pub(crate) fn sortie(arguments: &[&str]) -> Outcome {
    let dir = Dir::new();
    run(command(dir.path(), arguments))
}

/// Runs a command against a running server.
pub(crate) fn ask(server: &Sortie, dir: &Dir, arguments: &[&str]) -> Outcome {
    let mut command = command(dir.path(), arguments);
    command.env("SORTIE_URL", &server.url).env("SORTIE_KEY", ADMIN_KEY);
    run(command)
}

/// Writes a file into the test's folder.
pub(crate) fn write(dir: &Dir, name: &str, text: &str) {
    std::fs::write(dir.path().join(name), text).unwrap();
}
