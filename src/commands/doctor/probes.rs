//! What doctor looks at. Every look is bounded in time and ends with what was seen, never with an error.

mod servers;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backend_embedded::OpenError;
use clap::ArgMatches;
use protocol::seal::MasterKeys;
use protocol::time::Timestamp;
use sandbox::Finding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use worker::python::Isolation as Level;

use crate::interpreter::Search;
use crate::master_key::{self, Origin};
use crate::settings::{self, Problem, Role, Settings, default_data};

pub(super) use servers::{RabbitFacts, RedisFacts, Refused, Server};

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// What is wrong with the settings.
    pub(super) settings: Vec<Problem>,
    /// The search for a Python.
    pub(super) python: Search,
    /// The data folder.
    pub(super) data: Folder,
    /// What seals secrets, if the settings can be used.
    pub(super) master_key: Option<MasterKey>,
    /// The address to listen on.
    pub(super) port: Port,
    /// RabbitMQ, if it is named.
    pub(super) rabbitmq: Option<Server<RabbitFacts>>,
    /// Redis, if it is named.
    pub(super) redis: Option<Server<RedisFacts>>,
    /// What isolates handlers.
    pub(super) isolation: Isolation,
    /// This host's clock.
    pub(super) now: Timestamp,
}

/// The data folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// False if the first start will make it.
    pub(super) exists: bool,
    /// Why nothing can be written there.
    pub(super) refused: Option<String>,
    /// What became of opening the embedded store, if there is one.
    pub(super) store: Option<Result<(), OpenError>>,
}

/// What seals secrets.
#[derive(Debug)]
pub(super) struct MasterKey {
    /// Where it is, or will be.
    pub(super) origin: Origin,
    /// The ids of the keys, the one that seals first; none if there is no key yet. Or why they can't be used.
    pub(super) ids: Result<Vec<String>, String>,
}

/// The address to listen on.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: String,
    pub(super) taken: Option<io::Error>,
    /// A Sortie answers there already.
    pub(super) ours: bool,
}

/// What isolates handlers.
#[derive(Debug)]
pub(super) struct Isolation {
    /// What the settings demand.
    pub(super) wanted: Level,
    /// What was found about each piece, or why nothing was.
    pub(super) findings: Result<Vec<Finding>, String>,
    /// What control groups can bound, or why there are none.
    pub(super) groups: Result<&'static str, String>,
}

/// The longest look at one server.
const PATIENCE: Duration = Duration::from_secs(8);

/// Looks at everything.
pub(super) async fn look(arguments: &ArgMatches) -> Seen {
    let (settings, problems) = match settings::examine(Role::Serve, arguments) {
        Ok(settings) => (Some(settings), Vec::new()),
        Err(problems) => (None, problems),
    };
    let data =
        settings.as_ref().map(|settings| settings.data.clone()).or_else(default_data).unwrap_or_default();
    let named = settings.as_ref().and_then(|settings| settings.python.clone());
    let listen =
        settings.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], 7300)), |settings| settings.listen);
    let named_servers =
        settings.as_ref().and_then(|settings| settings.servers.clone().map(|servers| (settings, servers)));
    let master_key = settings.as_ref().map(master_key);
    let python = Search::run(named, data.clone());
    let isolation = isolation(settings.as_ref().map_or(Level::Required, |settings| settings.isolation));
    let servers = async {
        match named_servers {
            Some((settings, named)) => {
                let (rabbitmq, redis) =
                    tokio::join!(servers::rabbitmq(settings, &named), servers::redis(settings, &named));
                (Some(rabbitmq), Some(redis))
            }
            None => (None, None),
        }
    };
    let (python, isolation, port, (rabbitmq, redis)) = tokio::join!(python, isolation, port(listen), servers);
    Seen {
        settings: problems,
        python,
        data: folder(&data).await,
        master_key,
        port,
        rabbitmq,
        redis,
        isolation,
        now: Timestamp::now(),
    }
}

async fn isolation(wanted: Level) -> Isolation {
    let findings = crate::isolation::look().await.map_err(|error| format!("{error:#}"));
    Isolation { wanted, findings, groups: sandbox::Groups::look().map_err(|error| error.to_string()) }
}

/// Reads the keys, and makes none.
fn master_key(settings: &Settings) -> MasterKey {
    let keys = master_key::read(settings).map_err(|error| format!("{error:#}"));
    let ids = keys.map(|keys| keys.iter().flat_map(MasterKeys::ids).map(str::to_owned).collect());
    MasterKey { origin: master_key::origin(settings), ids }
}

async fn folder(path: &Path) -> Folder {
    // What isn't there yet will be made below the nearest folder that is.
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    // Rights, a full disc, a read-only file system: only an attempt tells.
    let attempt = there.join(format!(".sortie-doctor-{}", std::process::id()));
    let written = std::fs::write(&attempt, [0_u8; 4_096]);
    let removed = if written.is_ok() { std::fs::remove_file(&attempt) } else { Ok(()) };
    let refused = written.and(removed).err().map(|error| format!("{}: {error}", there.display()));
    let store = match refused.is_none() && path.join("sortie.db").exists() {
        true => Some(store(path).await),
        false => None,
    };
    Folder { path: path.to_owned(), exists: path.exists(), refused, store }
}

/// Opens the embedded store as a start would, and closes it again.
async fn store(path: &Path) -> Result<(), OpenError> {
    let embedded = backend_embedded::open(backend_embedded::Options::new(path)).await?;
    embedded.close().await;
    Ok(())
}

async fn port(address: SocketAddr) -> Port {
    let taken = TcpListener::bind(address).await.err();
    let ours =
        taken.is_some() && timeout(PATIENCE, is_ours(address)).await.is_ok_and(|ours| ours.unwrap_or(false));
    Port { address: address.to_string(), taken, ours }
}

/// Only a Sortie has our description at this path.
async fn is_ours(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(16_384).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.contains("\"ready\":") && answer.contains("\"role\":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let seen = folder(&std::env::temp_dir().join("sortie-not-there/deep")).await;
        assert!(!seen.exists && seen.refused.is_none() && seen.store.is_none());
        assert!(folder(Path::new("/proc/version/x")).await.refused.is_some());
    }
}
