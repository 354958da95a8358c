//! How a command ends: the documented exit codes, and the failure that carries one.

use std::fmt;
use std::io;

/// What the process tells the one who started it. Numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked.
    Ok = 0,
    /// Something that no other code says.
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A setting is wrong, or this host lacks something.
    Configuration = 3,
    /// No server answers at the URL, or it can't do its work now.
    Unreachable = 4,
    /// The server refused the request.
    Refused = 5,
    /// The job ended as failed.
    JobFailed = 6,
    /// The job expired or was cancelled.
    JobStopped = 7,
    /// `doctor` found problems.
    Unhealthy = 8,
    /// The job was still going when the time to wait was over.
    NotFinished = 9,
}

impl Exit {
    /// The list that `sortie --help` shows.
    pub(crate) const HELP: &str = "Exit codes:
  0  it worked; the job succeeded
  1  something unexpected
  2  the command line is wrong
  3  a setting is wrong, or this host lacks something
  4  no server answers at the URL, or it can't do its work now
  5  the server refused the request
  6  the job failed
  7  the job expired or was cancelled
  8  doctor found problems
  9  the job was still going when the time to wait was over";

    /// How a command ends that saw this job's end. `NotFinished` for a job that goes on.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "succeeded" => Self::Ok,
            "failed" => Self::JobFailed,
            "expired" | "cancelled" => Self::JobStopped,
            _ => Self::NotFinished,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        // The enum's numbers are the codes.
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened; nothing is printed if empty.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever reads our output has seen enough (`sortie jobs list | head`).
            return Self::new(Exit::Ok, "");
        }
        Self::new(Exit::Unexpected, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // `{:#}` prints the chain of causes on one line.
        Self::new(Exit::Unexpected, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code_once_and_in_order() {
        let listed: Vec<&str> = Exit::HELP.lines().skip(1).map(|line| &line[2..3]).collect();
        assert_eq!(listed, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(Exit::NotFinished as u8, 9);
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Ok, ""));
    }

    #[test]
    fn the_end_of_a_job_has_its_own_code() {
        for (state, exit) in [
            ("succeeded", Exit::Ok),
            ("failed", Exit::JobFailed),
            ("expired", Exit::JobStopped),
            ("cancelled", Exit::JobStopped),
            ("running", Exit::NotFinished),
        ] {
            assert_eq!(Exit::of_state(state), exit);
        }
    }
}
