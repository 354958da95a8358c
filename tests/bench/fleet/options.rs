//! What the program is told, and how much of everything each form measures.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures Sortie over RabbitMQ and Redis, against Celery, Dramatiq and Taskiq on the same servers.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// How long and how often everything is measured.
    #[arg(value_enum, default_value = "quick")]
    pub(crate) form: Form,
    /// Only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Only Sortie.
    #[arg(long)]
    pub(crate) no_peers: bool,
    /// Slots of Sortie's worker where handlers need the processor [default: one for each core, like the peers' processes].
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// How often the parts that are measured in turns are measured [default: 2, or 3 in the full form].
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// How long one closed loop runs, in seconds [default: 2, or 6 in the full form].
    #[arg(long, value_name = "SECONDS")]
    span: Option<u64>,
    /// Only these actions in closed loops, separated by commas: noop_warm, noop_fresh, cpu_warm ...
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    actions: Vec<String>,
    /// The program that is measured.
    #[arg(long, default_value = "target/dist/sortie", value_name = "FILE")]
    pub(crate) sortie: PathBuf,
    /// The Python of its handlers.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: PathBuf,
    /// The Python of the peers (`tests/bench/peers/run prepare`); without, only Sortie is measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) peers: Option<PathBuf>,
    /// A folder for everything that is written, and for the figures (`fleet.md`, `fleet.json`).
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// RabbitMQ.
    #[arg(long, env = "SORTIE_TEST_AMQP_URL", value_name = "URL")]
    pub(crate) amqp: String,
    /// Redis; emptied again and again.
    #[arg(long, env = "SORTIE_TEST_REDIS_URL", value_name = "URL")]
    pub(crate) redis: String,
}

/// How long and how often everything is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// At most five minutes.
    Quick,
    /// At most forty minutes.
    Full,
}

/// What can be measured for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Jobs per second, and the processor time of each.
    Throughput,
    /// Times of one client, and at half of the maximum rate.
    Latency,
    /// Both of them, where they are asked for, for one process over the embedded store.
    Embedded,
    /// What RabbitMQ and Redis can do without HTTP and Python.
    Ceiling,
    /// Streams: the first chunk, chunks per second, many readers.
    Stream,
    /// Memory and processor time at rest and under load.
    Footprint,
    /// Jobs that wait before there is a worker.
    Backlog,
    /// The start of a worker until its first result.
    Start,
    /// What the load generator itself can do.
    Generator,
}

impl Options {
    /// Whether this part is wanted.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether the action of this name is wanted.
    pub(crate) fn wants_action(&self, name: &str) -> bool {
        self.actions.is_empty() || self.actions.iter().any(|action| action == name)
    }

    /// Slots of Sortie's worker where handlers need the processor.
    pub(crate) fn slots(&self) -> usize {
        self.slots.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// How often the parts that are measured in turns are measured.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(self.form.of(2, 3))
    }

    /// How long one closed loop runs.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.span.unwrap_or(self.form.of(2, 6)))
    }
}

impl Form {
    /// One of two.
    pub(crate) fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
