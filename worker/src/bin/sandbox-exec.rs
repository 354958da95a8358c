//! The helper of the sandbox as a program of its own, for this crate's tests: elsewhere it is the hidden subcommand
//! `sortie sandbox-exec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::helper_main()
}
