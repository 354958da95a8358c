//! Arguments of the commands that talk to a server: where it is, and what they ask it for.

use std::time::Duration;

use clap::{Args, Subcommand};

/// Which server, with which key, and in which form to answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// Where the server is.
    #[arg(
        long,
        env = "SORTIE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7300",
        help_heading = "Server"
    )]
    pub(crate) url: String,
    /// The API key [default: what DATA/admin.key holds].
    #[arg(long, env = "SORTIE_KEY", hide_env_values = true, value_name = "KEY", help_heading = "Server")]
    pub(crate) key: Option<String>,
    /// The server's data folder, for its admin.key [default: $XDG_DATA_HOME/sortie or ~/.local/share/sortie].
    #[arg(long, env = "SORTIE_DATA", value_name = "DIR", help_heading = "Server")]
    pub(crate) data: Option<String>,
    /// Print what the server answered, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Labels given as `--label name=value`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Labels {
    /// A mark of your own; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
}

/// The input of a job.
#[derive(Debug, Clone, Args)]
pub(crate) struct Input {
    /// The input: JSON, or @FILE, or - for stdin.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) input: String,
}

/// Arguments of `submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The action to run.
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) input: Input,
    /// The version to run [default: the latest].
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u32>,
    /// When the result becomes worthless: 500ms, 30s, 5m, 2h [default: the action's own].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,
    /// Which of two waiting jobs goes first.
    #[arg(long, value_parser = ["low", "normal", "high"])]
    pub(crate) priority: Option<String>,
    /// Not to be started before this: 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) run_at: Option<String>,
    /// The lane to wait in [default: the action's own].
    #[arg(long)]
    pub(crate) lane: Option<String>,
    #[command(flatten)]
    pub(crate) labels: Labels,
    /// Your own key for this request: the same key with the same request gives the same job.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Wait for the end and print the result.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) wait: bool,
    /// Print what the handler sends while it runs.
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What `jobs` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first.
    List {
        /// Only these states, separated by commas.
        #[arg(long, value_name = "STATES")]
        state: Option<String>,
        /// Only this action.
        #[arg(long, value_name = "NAME")]
        action: Option<String>,
        /// Only jobs with this label.
        #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
        label: Option<(String, String)>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Where to go on: `next` of the page before.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a job as it is now.
    Get {
        /// The job.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Wait for a job's end and print its result.
    Wait {
        /// The job.
        id: String,
        /// Give up waiting after this: 500ms, 30s, 5m, 2h [default: never].
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Print a job's events, those to come too, until its end.
    Events {
        /// The job.
        id: String,
        /// Start behind this number.
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        remote: Remote,
    },
    /// Cancel a job.
    Cancel {
        /// The job.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// The content of an action: from a file of JSON, or from a Python file and flags.
#[derive(Debug, Args)]
pub(crate) struct ContentArgs {
    /// JSON: the body of PUT /v1/actions/NAME; - for stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["python", "schema", "description", "timeout", "deadline"])]
    pub(crate) file: Option<String>,
    /// Python source with `handle_event(data)`.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<String>,
    /// JSON Schema of the input, for --python.
    #[arg(long, value_name = "FILE", requires = "python")]
    pub(crate) schema: Option<String>,
    /// What the action does, for --python.
    #[arg(long, value_name = "TEXT", requires = "python")]
    pub(crate) description: Option<String>,
    /// How long one attempt may run, for --python: 500ms, 5s.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "python")]
    pub(crate) timeout: Option<Duration>,
    /// The deadline of jobs that name none, for --python: 30s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "python")]
    pub(crate) deadline: Option<Duration>,
}

/// Arguments of `actions test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The action.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What `actions` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionsCommand {
    /// Publish a version of an action.
    Put {
        /// The action.
        name: String,
        #[command(flatten)]
        content: ContentArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// List actions by name.
    List {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Where to go on: `next` of the page before.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show an action with its content.
    Get {
        /// The action.
        name: String,
        /// This version [default: the latest].
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the versions of an action, newest first.
    Versions {
        /// The action.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let an action take jobs.
    Enable {
        /// The action.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop an action from taking jobs.
    Disable {
        /// The action.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete an action; jobs that were accepted still run.
    Delete {
        /// The action.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Run a draft once without publishing it; without --file and --python, the latest version.
    Test(Test),
}

/// What `keys` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its secret goes to stdout, this once.
    Create {
        /// What to call it.
        name: String,
        /// What it may do; may be given several times.
        #[arg(long = "scope", required = true, value_parser = scopes())]
        scopes: Vec<String>,
        /// The only action that it may touch; may be given several times [default: all].
        #[arg(long = "action", value_name = "NAME")]
        actions: Vec<String>,
        /// When it stops working: 12h, 30d [default: never].
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires_in: Option<Duration>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List keys, without their secrets.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a key work for nothing until it is enabled again.
    Disable {
        /// The key's id (not its secret).
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a disabled key work again.
    Enable {
        /// The key's id (not its secret).
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a key.
    Delete {
        /// The key's id (not its secret).
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

fn scopes() -> clap::builder::PossibleValuesParser {
    protocol::key::Scope::ALL.map(protocol::key::Scope::as_str).into()
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// Reads `500ms`, `30s`, `5m`, `2h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("must be a number and a unit: 500ms, 30s, 5m, 2h, 7d".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "must be a whole number and a unit: 500ms, 30s".to_owned())?;
    number.checked_mul(unit).map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "5", "s", "1.5s", "-1s", "5 s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_have_a_name() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("=b").is_err());
        assert!(label("a").is_err());
    }
}
