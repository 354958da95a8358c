//! What all parts of a run work with.

use std::path::PathBuf;

use anyhow::Context;

use crate::figures::Figures;
use crate::options::Options;
use crate::peers::Peer;
use crate::servers::Servers;
use crate::sortie::Setup;

/// The name of Sortie over RabbitMQ and Redis in the figures.
pub(crate) const SORTIE: &str = "Sortie";
/// The same with classic queues instead of quorum queues: what the peers have.
pub(crate) const CLASSIC: &str = "classic";
/// The name of Sortie over its embedded store.
pub(crate) const EMBEDDED: &str = "embedded";
/// The name of what bounds everybody.
pub(crate) const CEILING: &str = "ceiling";

/// One run.
pub(crate) struct Session {
    pub(crate) options: Options,
    pub(crate) servers: Servers,
    pub(crate) setup: Setup,
    pub(crate) figures: Figures,
}

impl Session {
    /// Adds to the figures what is measured of Sortie alone.
    pub(crate) fn add(&mut self, what: &str, value: f64) {
        self.figures.add(SORTIE, what, value);
    }

    /// The peers that take part.
    pub(crate) fn peers(&self) -> &'static [Peer] {
        match &self.options.peers {
            Some(_) if !self.options.no_peers => &Peer::ALL,
            _ => &[],
        }
    }

    /// Their Python.
    pub(crate) fn python_of_peers(&self) -> anyhow::Result<PathBuf> {
        self.options.peers.clone().context("no Python of the peers was named")
    }
}

/// Tells people what is going on.
#[expect(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}
