//! Arguments of `sortie secrets`. There is none for the value itself: others on this host can read a command line.

use clap::Subcommand;

use super::Remote;

/// What `secrets` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Set a secret, or replace it. Its value can't be read back.
    Set {
        /// What actions call it.
        name: String,
        /// The file that has the value; - for stdin. One line break at its end is left out.
        #[arg(long, value_name = "FILE", default_value = "-")]
        file: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// List secrets, without their values.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a secret; jobs that need it fail from then on.
    Delete {
        /// The secret.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
}
