//! Sortie: one binary for dispatcher, worker and command line. This file decides nothing.

mod admin_key;
mod announce;
mod assemble;
mod cli;
mod client;
mod commands;
mod exit;
mod interpreter;
mod isolation;
mod key_file;
mod master_key;
mod own_servers;
mod render;
mod run;
mod settings;
mod shutdown;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use cli::{Cli, Command};
use exit::{Exit, Failure};
use settings::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: a handler's process starts as `sortie sandbox-exec`, many times a second.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == sandbox::SUBCOMMAND) {
        return sandbox::helper_main();
    }
    let matches = Cli::command().get_matches();
    match start(&matches) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                render::say(&failure.to_string());
            }
            failure.exit.into()
        }
    }
}

fn start(matches: &ArgMatches) -> Result<Exit, Failure> {
    let cli = Cli::from_arg_matches(matches).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    // One TLS provider for the whole program. It fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime().context("can't start the async runtime")?;
    let (_, arguments) = matches.subcommand().context("no command")?;
    let end = runtime.block_on(Box::pin(command(cli.command, arguments)));
    // What still runs after an orderly end is nothing that anyone waits for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    end
}

/// Half of the processors are for our own threads: handlers need some too, and the servers where they are on this machine.
/// With two threads on two cores, calls wander from one to the other, and a job costs a tenth more processor time in
/// dispatcher and worker. Who wants another number sets TOKIO_WORKER_THREADS.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads((processors / 2).max(1));
    }
    builder.enable_all().build()
}

async fn command(command: Command, arguments: &ArgMatches) -> Result<Exit, Failure> {
    match command {
        Command::Serve(_) => run::run(settings::load(Role::Serve, arguments)?).await,
        Command::Dispatcher(_) => run::run(settings::load(Role::Dispatcher, arguments)?).await,
        Command::Worker(_) => run::run(settings::load(Role::Worker, arguments)?).await,
        Command::Submit(arguments) => commands::submit::run(arguments).await,
        Command::Jobs { command } => commands::jobs::run(command).await,
        Command::Actions { command } => commands::actions::run(command).await,
        Command::Keys { command } => commands::keys::run(command).await,
        Command::Secrets { command } => commands::secrets::run(command).await,
        Command::Explain { code } => commands::explain::run(code.as_deref()),
        Command::Doctor { json, .. } => commands::doctor::run(arguments, json).await,
        Command::Demo { exit, .. } => {
            commands::demo::run(settings::load(Role::Serve, arguments)?, exit).await
        }
    }
}
