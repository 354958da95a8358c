//! The settings of a server as arguments. All are text here: `settings` checks them together with the
//! environment and the file, and reports everything that is wrong at once.
//!
//! An argument's id is its name in the file; its variable is `SORTIE_` and the id in capitals.

use clap::Args;

/// Settings of `serve`, `dispatcher`, `worker`, `doctor` and `demo`.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Read settings from this TOML file too.
    #[arg(long, env = "SORTIE_CONFIG", value_name = "FILE", help_heading = "Settings")]
    config: Option<String>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:7300; worker: 127.0.0.1:7301].
    #[arg(long, env = "SORTIE_LISTEN", value_name = "ADDRESS", help_heading = "Settings")]
    listen: Option<String>,
    /// Folder for everything that is kept [default: $XDG_DATA_HOME/sortie or ~/.local/share/sortie].
    #[arg(long, env = "SORTIE_DATA", value_name = "DIR", help_heading = "Settings")]
    data: Option<String>,
    /// The first API key, which may do everything [default: made at the first start, in DATA/admin.key].
    /// Better set as SORTIE_ADMIN_KEY: others on this host can read a command line.
    #[arg(
        long,
        env = "SORTIE_ADMIN_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Settings"
    )]
    admin_key: Option<String>,
    /// What seals the secrets of handlers: 32 bytes in Base64, the same in every process; several separated by
    /// commas, the new one first [default: `serve` makes one at its first start, in DATA/master.key]. Better set as
    /// SORTIE_MASTER_KEY, or in a file: others on this host can read a command line.
    #[arg(
        long,
        env = "SORTIE_MASTER_KEY",
        hide_env_values = true,
        value_name = "KEYS",
        help_heading = "Settings"
    )]
    master_key: Option<String>,
    /// A file with what --master-key would say.
    #[arg(long, env = "SORTIE_MASTER_KEY_FILE", value_name = "FILE", help_heading = "Settings")]
    master_key_file: Option<String>,
    /// RabbitMQ, which carries the jobs; together with --redis-url.
    #[arg(
        long,
        env = "SORTIE_AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Servers"
    )]
    amqp_url: Option<String>,
    /// Redis, which keeps jobs, results and actions; together with --amqp-url.
    #[arg(
        long,
        env = "SORTIE_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Servers"
    )]
    redis_url: Option<String>,
    /// What the names of queues and keys on these servers begin with.
    #[arg(
        long,
        env = "SORTIE_PREFIX",
        value_name = "NAME",
        default_value = "sortie",
        help_heading = "Servers"
    )]
    prefix: Option<String>,
    /// How RabbitMQ keeps jobs: `quorum` replicates them, `classic` is quicker, for a server of a single node. The same in every
    /// process; existing queues must be deleted before it is changed.
    #[arg(
        long,
        env = "SORTIE_QUEUES",
        value_name = "KIND",
        default_value = "quorum",
        help_heading = "Servers"
    )]
    queues: Option<String>,
    /// Embedded store: `full` survives a power failure, `normal` only the end of the process, but is faster.
    #[arg(long, env = "SORTIE_SYNC", value_name = "MODE", default_value = "full", help_heading = "Servers")]
    sync: Option<String>,
    /// How many handlers run at the same time [default: the number of processors].
    #[arg(long, env = "SORTIE_SLOTS", value_name = "N", help_heading = "Worker")]
    slots: Option<String>,
    /// The lanes to take jobs from, separated by commas.
    #[arg(
        long,
        env = "SORTIE_LANES",
        value_name = "LANES",
        default_value = "default",
        help_heading = "Worker"
    )]
    lanes: Option<String>,
    /// How long running handlers may go on after SIGTERM, in milliseconds; then their jobs are given back.
    #[arg(
        long,
        env = "SORTIE_DRAIN_MS",
        value_name = "MS",
        default_value = "10000",
        help_heading = "Worker"
    )]
    drain_ms: Option<String>,
    /// Python 3.12 or newer for handlers [default: DATA/python/bin/python, else the first on the PATH that runs].
    #[arg(long, env = "SORTIE_PYTHON", value_name = "FILE", help_heading = "Worker")]
    python: Option<String>,
    /// What keeps handlers apart from this host: `required` refuses to start where the kernel lacks a piece of it,
    /// `best-effort` uses what there is, `none` uses nothing. `sortie doctor` shows the pieces.
    #[arg(
        long,
        env = "SORTIE_ISOLATION",
        value_name = "LEVEL",
        default_value = "required",
        help_heading = "Worker"
    )]
    isolation: Option<String>,
    /// Private address ranges that HTTP handlers may call, separated by commas: 10.1.0.0/16,127.0.0.1/32.
    #[arg(
        long,
        env = "SORTIE_EGRESS_ALLOW",
        value_name = "RANGES",
        default_value = "",
        hide_default_value = true,
        help_heading = "Worker"
    )]
    egress_allow: Option<String>,
    /// How long a worker holds a job without news, in milliseconds. The same in every process.
    #[arg(long, env = "SORTIE_LEASE_MS", value_name = "MS", default_value = "1500", help_heading = "Limits")]
    lease_ms: Option<String>,
    /// How long finished jobs are kept, in milliseconds. The same in every process.
    #[arg(
        long,
        env = "SORTIE_RETENTION_MS",
        value_name = "MS",
        default_value = "86400000",
        help_heading = "Limits"
    )]
    retention_ms: Option<String>,
    /// The longest deadline that a request may ask for, in milliseconds.
    #[arg(
        long,
        env = "SORTIE_DEADLINE_CEILING_MS",
        value_name = "MS",
        default_value = "86400000",
        help_heading = "Limits"
    )]
    deadline_ceiling_ms: Option<String>,
    /// What to log: error, warn, info, debug, trace, or directives such as `info,worker=debug`.
    #[arg(long, env = "SORTIE_LOG", value_name = "FILTER", default_value = "info", help_heading = "Logs")]
    log: Option<String>,
    /// How to log, on stderr: `text` for people, `json` for machines.
    #[arg(
        long,
        env = "SORTIE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logs"
    )]
    log_format: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_flag_and_a_variable_of_its_name() {
        let command = Server::augment_args(clap::Command::new("test"));
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            assert_eq!(argument.get_long(), Some(id.replace('_', "-").as_str()));
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("SORTIE_{}", id.to_uppercase()));
        }
    }
}
