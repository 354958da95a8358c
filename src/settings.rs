//! The settings of a server process: one typed struct, checked completely before anything starts.

mod check;
mod source;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use backend_embedded::Sync;
use backend_rabbitmq::Queues;
use clap::ArgMatches;
use protocol::id::Lane;
use protocol::seal::MasterKeys;
use protocol::secret::Secret;
use worker::egress::Range;
use worker::python::Isolation;

pub(crate) use source::{default_data, search_path};

use crate::exit::{Exit, Failure};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Dispatcher and worker in one.
    Serve,
    /// Takes requests, hands out results.
    Dispatcher,
    /// Runs handlers.
    Worker,
}

impl Role {
    /// The name of its command.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Dispatcher => "dispatcher",
            Self::Worker => "worker",
        }
    }

    /// True if it takes requests.
    pub(crate) const fn dispatches(self) -> bool {
        matches!(self, Self::Serve | Self::Dispatcher)
    }

    /// True if it runs handlers.
    pub(crate) const fn works(self) -> bool {
        matches!(self, Self::Serve | Self::Worker)
    }
}

/// Everything that can be set, in its final form.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the process is for.
    pub(crate) role: Role,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The folder for everything that is kept.
    pub(crate) data: PathBuf,
    /// The first API key, if it was set from outside.
    pub(crate) admin_key: Option<Secret>,
    /// What seals and opens secrets, if it was set from outside.
    pub(crate) master_key: Option<MasterKeys>,
    /// A file that has it.
    pub(crate) master_key_file: Option<PathBuf>,
    /// RabbitMQ and Redis; the embedded store if absent.
    pub(crate) servers: Option<Servers>,
    /// What names on these servers begin with.
    pub(crate) prefix: String,
    /// How RabbitMQ keeps jobs.
    pub(crate) queues: Queues,
    /// How hard the embedded store writes.
    pub(crate) sync: Sync,
    /// Handlers that run at the same time.
    pub(crate) slots: usize,
    /// Lanes that the worker serves.
    pub(crate) lanes: Vec<Lane>,
    /// How long running handlers may go on after SIGTERM.
    pub(crate) drain: Duration,
    /// The interpreter that was asked for; searched if absent.
    pub(crate) python: Option<PathBuf>,
    /// What must keep handlers apart from the host.
    pub(crate) isolation: Isolation,
    /// Private ranges that HTTP handlers may call.
    pub(crate) egress_allow: Vec<Range>,
    /// How long a claim holds without being renewed.
    pub(crate) lease: Duration,
    /// How long finished jobs are kept.
    pub(crate) retention: Duration,
    /// The longest deadline of a job.
    pub(crate) deadline_ceiling: Duration,
    /// What is logged, and how.
    pub(crate) log: Log,
}

/// The servers of a distributed installation. Their URLs hold passwords.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    /// RabbitMQ.
    pub(crate) amqp: Secret,
    /// Redis.
    pub(crate) redis: Secret,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub(crate) filter: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The setting's name.
    pub(crate) key: String,
    /// What was written, unless it is secret, and where.
    written: Option<source::Text>,
    /// What is wrong.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) hint: String,
}

/// Settings whose text is never shown.
const SECRETS: [&str; 4] = ["admin_key", "master_key", "amqp_url", "redis_url"];

impl Problem {
    /// A problem with the setting `key`.
    pub(crate) fn new(
        key: &str,
        written: Option<&source::Text>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let written = written.cloned().map(|text| match SECRETS.contains(&key) {
            true => source::Text { text: String::new(), ..text },
            false => text,
        });
        Self { key: key.to_owned(), written, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(source::Text { text, origin }) = &self.written {
            if !text.is_empty() {
                write!(f, " = {text:?}")?;
            }
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Reads and checks the settings for `role`.
pub(crate) fn load(role: Role, matches: &ArgMatches) -> Result<Settings, Failure> {
    examine(role, matches).map_err(refusal)
}

/// The same, with the problems one by one.
pub(crate) fn examine(role: Role, matches: &ArgMatches) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let layers = source::layers(matches, &mut problems);
    match check::check(role, &layers, &check::Host::here(&layers)) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        Ok(_) => Err(problems),
        Err(more) => Err(problems.into_iter().chain(more).collect()),
    }
}

/// All problems in one message.
fn refusal(problems: Vec<Problem>) -> Failure {
    let count = match problems.len() {
        1 => "a setting is wrong".to_owned(),
        count => format!("{count} settings are wrong"),
    };
    let list: String =
        problems.iter().map(|problem| format!("\n  {problem}\n    {}", problem.hint)).collect();
    Failure::new(Exit::Configuration, format!("{count}; nothing was started{list}"))
}
