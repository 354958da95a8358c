//! The command line: arguments only. Doc comments are the help text.

mod remote;
mod secrets;
mod server;

use clap::{Parser, Subcommand};

pub(crate) use remote::{ActionsCommand, ContentArgs, JobsCommand, KeysCommand, Remote, Submit, Test};
pub(crate) use secrets::SecretsCommand;
pub(crate) use server::Server;

use crate::exit::Exit;

/// Runs the actions of AI agents: jobs with deadlines on a queue, results by polling or as a stream.
#[derive(Debug, Parser)]
#[command(name = "sortie", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = format!("{FIRST_STEPS}\n\n{}", Exit::HELP), max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST_STEPS: &str = "First steps:
  sortie demo                     # start everything and see three actions at work
  sortie serve                    # start everything
  sortie doctor                   # what this host can do, and how to mend what it can't
  sortie submit NAME --input JSON --wait
The commands that talk to a server find it at SORTIE_URL with the key SORTIE_KEY.";

/// What `sortie` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: dispatcher, worker and, unless servers are named, an embedded store.
    #[command(after_help = "Examples:
  sortie serve                                  # embedded store, http://127.0.0.1:7300
  sortie serve --data ./data --listen 127.0.0.1:8000
  sortie serve --amqp-url amqp://... --redis-url redis://...
  SORTIE_SLOTS=8 sortie serve --config sortie.toml

Settings: a flag wins over its environment variable, that over the file, that over the default. In the
file they have the names of the flags with underscores: slots = 8, lanes = [\"default\", \"gpu\"].")]
    Serve(Server),
    /// Run a dispatcher: takes requests, hands out results. Needs RabbitMQ and Redis.
    #[command(after_help = "Example:
  sortie dispatcher --listen 127.0.0.1:7300 --amqp-url amqp://... --redis-url redis://...")]
    Dispatcher(Server),
    /// Run a worker: takes jobs from the queue, runs their handlers. Needs RabbitMQ and Redis.
    #[command(after_help = "Example:
  sortie worker --slots 8 --lanes default,gpu --amqp-url amqp://... --redis-url redis://...")]
    Worker(Server),
    /// Submit a job; with --wait or --follow also see its end, which the exit code tells.
    #[command(after_help = "Examples:
  sortie submit weather.get --input '{\"city\": \"Oslo\"}' --wait
  sortie submit report.write --input @input.json --follow --deadline 5m
  echo '{\"city\": \"Oslo\"}' | sortie submit weather.get --input - --label team=travel

Without --wait and --follow, the job's id goes to stdout. With --wait it is the result; with --follow the
chunks as they come (text as it is, other values as JSON, one a line) while logs go to stderr.")]
    Submit(Submit),
    /// Look at jobs, wait for them, read their events, cancel them.
    #[command(after_help = "Examples:
  sortie jobs list --state queued,running
  sortie jobs events 01936f4e-7b1a-7c3d-8e5f-0123456789ab
  sortie jobs list --json | jq -r '.jobs[].id'")]
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Publish actions, look at them, switch them on and off, test drafts.
    #[command(after_help = "Examples:
  sortie actions put weather.get --python weather.py --schema weather.schema.json --timeout 3s
  sortie actions put weather.get --file weather.json
  sortie actions test weather.get --python draft.py --input '{\"city\": \"Oslo\"}'")]
    Actions {
        #[command(subcommand)]
        command: ActionsCommand,
    },
    /// Make API keys, list them, switch them off, delete them.
    #[command(after_help = "Examples:
  sortie keys create planner --scope jobs:write --scope jobs:read --action weather.get --expires-in 30d
  sortie keys disable key_5f2a")]
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Set the secrets that handlers get, list them, delete them.
    #[command(after_help = "Examples:
  sortie secrets set STRIPE_KEY --file stripe.key
  pass show stripe | sortie secrets set STRIPE_KEY
An action gets the secrets that it names: \"secrets\": [\"STRIPE_KEY\"] for context.secrets in Python, or the
auth of an HTTP handler. A value never stands on a command line, where others on this host could read it.")]
    Secrets {
        #[command(subcommand)]
        command: SecretsCommand,
    },
    /// Explain an error code; without one, list them all.
    #[command(after_help = "Example:
  sortie explain input_invalid")]
    Explain {
        /// The code, as in `\"code\": \"input_invalid\"`.
        code: Option<String>,
    },
    /// Say what this host and the servers named can do, and how to mend what they can't.
    #[command(after_help = "Examples:
  sortie doctor
  sortie doctor --amqp-url amqp://... --redis-url redis://... --json")]
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Start everything, publish three actions, run them, say what happens; then leave the server up.
    #[command(after_help = "Examples:
  sortie demo
  sortie demo --exit --data /tmp/demo --listen 127.0.0.1:0")]
    Demo {
        /// End after the demo, with 0 if everything went as it should and 1 if not.
        #[arg(long)]
        exit: bool,
        #[command(flatten)]
        server: Server,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
