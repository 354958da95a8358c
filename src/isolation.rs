//! Whether this host can isolate handlers as the settings demand, asked before anything starts; and how the level that
//! a worker has is told to people.

use std::path::PathBuf;

use anyhow::Context;
use protocol::isolation::Isolation as Had;
use sandbox::Finding;
use worker::python::Isolation;

use crate::exit::{Exit, Failure};

/// Fails where a piece is missing that the settings demand, and names it with its mend. The worker decides again when
/// it sets its slots up, and says what it goes without.
pub(crate) async fn demand(wanted: Isolation) -> Result<(), Failure> {
    if wanted == Isolation::Required {
        let findings = look().await?;
        sandbox::decide(wanted, findings).map_err(|missing| {
            Failure::new(Exit::Configuration, format!("{missing}; nothing was started"))
        })?;
    }
    Ok(())
}

/// What was found about each piece.
pub(crate) async fn look() -> anyhow::Result<Vec<Finding>> {
    let helper = helper()?;
    let findings = tokio::task::spawn_blocking(move || sandbox::probe_host(&helper)).await?;
    findings.context("can't find out what this host allows")
}

/// The program that sets sandboxes up: our own binary.
pub(crate) fn helper() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("can't find our own binary")
}

/// The level in the words of a start-up summary. Nothing weaker is ever called by a stronger name.
pub(crate) const fn words(had: Had) -> &'static str {
    match had {
        Had::Sandbox => {
            "sandbox: a read-only file system, processes and a network of their own; the egress gate is the way out"
        }
        Had::Partial => {
            "partial, see the warnings: run only code that you trust (README.md says what that means)"
        }
        // The Python side is never kept apart by the gate alone.
        Had::None | Had::Gate => "none: run only code that you trust (README.md says what that means)",
    }
}
