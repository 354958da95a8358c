//! What doctor looks at. Every look is bounded in time and ends with what was seen, never with an error.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backend_embedded::OpenError;
use backend_rabbitmq::RabbitMq;
use clap::ArgMatches;
use protocol::id::Lane;
use protocol::ports::{PortError, StoreOptions};
use protocol::time::Timestamp;
use sandbox::Finding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use worker::python::Isolation as Level;

use crate::announce::host;
use crate::interpreter::Search;
use crate::settings::{self, Problem, Role, Servers, Settings, default_data};

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// What is wrong with the settings.
    pub(super) settings: Vec<Problem>,
    /// The search for a Python.
    pub(super) python: Search,
    /// The data folder.
    pub(super) data: Folder,
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

/// The address to listen on.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: String,
    pub(super) taken: Option<io::Error>,
    /// A Sortie answers there already.
    pub(super) ours: bool,
}

/// A server that was asked.
#[derive(Debug)]
pub(super) struct Server<T> {
    /// Host and port.
    pub(super) at: String,
    /// What it said, or why not.
    pub(super) answer: Result<T, Refused>,
}

/// Why a server gave no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nobody answers there, or not in time.
    Away(String),
    /// It answers, but not to us.
    Denied(String),
}

/// What RabbitMQ said.
#[derive(Debug, Default)]
pub(super) struct RabbitFacts {
    /// Its version; not asked for behind TLS.
    pub(super) version: Option<String>,
}

/// What Redis said.
#[derive(Debug, Default)]
pub(super) struct RedisFacts {
    /// Its version.
    pub(super) version: Option<String>,
    /// It keeps an append-only file.
    pub(super) append_only: Option<bool>,
    /// What it does when its memory is full.
    pub(super) eviction: Option<String>,
    /// Its clock minus ours, in milliseconds.
    pub(super) ahead: Option<i64>,
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
    let servers =
        settings.as_ref().and_then(|settings| settings.servers.clone().map(|servers| (settings, servers)));
    let python = Search::run(named, data.clone());
    let isolation = isolation(settings.as_ref().map_or(Level::Required, |settings| settings.isolation));
    let servers = async {
        match servers {
            Some((settings, servers)) => {
                let (rabbitmq, redis) = tokio::join!(rabbitmq(settings, &servers), redis(settings, &servers));
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

async fn rabbitmq(settings: &Settings, servers: &Servers) -> Server<RabbitFacts> {
    let at = host(&servers.amqp);
    let look = async {
        let version = match servers.amqp.reveal().starts_with("amqp://") {
            true => greeting(&at).await.map_err(|error| Refused::Away(error.to_string()))?,
            false => None,
        };
        let options =
            backend_rabbitmq::Options { url: servers.amqp.clone(), prefix: settings.prefix.clone() };
        let rabbitmq =
            backend_rabbitmq::connect(options).map_err(|error| Refused::Denied(error.to_string()))?;
        let rights = rights(&rabbitmq).await;
        rabbitmq.close().await;
        rights.map(|()| RabbitFacts { version })
    };
    Server { answer: bounded(look).await, at }
}

/// Publishing works, and our queues can be declared: what a dispatcher and a worker do first.
async fn rights(rabbitmq: &RabbitMq) -> Result<(), Refused> {
    let queue = rabbitmq.queue();
    let begun = tokio::time::Instant::now();
    // It connects in the background; before it has, the answer is "unavailable".
    loop {
        let answer = match queue.ping().await {
            Ok(()) => queue.depth(&Lane::standard()).await.map(drop),
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > Duration::from_secs(4) => return Err(refused(&error)),
            Err(error) if error.kind == protocol::ports::Kind::Denied => return Err(refused(&error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The version that RabbitMQ tells in its first frame, before anyone logs in.
async fn greeting(at: &str) -> io::Result<Option<String>> {
    let address = if at.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
        at.to_owned()
    } else {
        format!("{at}:5672")
    };
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut frame = vec![0; 4_096];
    let length = stream.read(&mut frame).await?;
    Ok(version_in(&frame[..length]))
}

/// The server property `version` out of a `connection.start` frame: a name, `S`, a length, the text.
fn version_in(frame: &[u8]) -> Option<String> {
    let name = b"\x07versionS";
    let at = frame.windows(name.len()).position(|window| window == name)? + name.len();
    let length = usize::try_from(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?)).ok()?;
    let text = frame.get(at + 4..)?.get(..length.min(64))?;
    String::from_utf8(text.to_vec()).ok()
}

async fn redis(settings: &Settings, servers: &Servers) -> Server<RedisFacts> {
    let look = async {
        let store =
            StoreOptions { lease: settings.lease, retention: settings.retention, ..StoreOptions::default() };
        let options =
            backend_redis::Options { url: servers.redis.clone(), prefix: settings.prefix.clone(), store };
        let redis = backend_redis::connect(options).map_err(|error| Refused::Denied(error.to_string()))?;
        redis.store().ping().await.map_err(|error| refused(&error))?;
        let info = redis.info().await.map_err(|error| refused(&error))?;
        Ok(facts(&info, Timestamp::now()))
    };
    Server { answer: bounded(look).await, at: host(&servers.redis) }
}

/// What matters out of the answer to `INFO`.
fn facts(info: &str, now: Timestamp) -> RedisFacts {
    let value = |name: &str| {
        info.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned()))
    };
    let clock: Option<i64> = value("server_time_usec").and_then(|micros| micros.parse().ok());
    RedisFacts {
        version: value("redis_version"),
        append_only: value("aof_enabled").map(|enabled| enabled == "1"),
        eviction: value("maxmemory_policy"),
        ahead: clock.map(|micros| micros / 1_000 - now.millis()),
    }
}

async fn bounded<T>(look: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    timeout(PATIENCE, look)
        .await
        .unwrap_or_else(|_| Err(Refused::Away(format!("no answer within {} s", PATIENCE.as_secs()))))
}

fn refused(error: &PortError) -> Refused {
    let text = std::iter::successors(std::error::Error::source(error), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind {
        protocol::ports::Kind::Unavailable | protocol::ports::Kind::Timeout => Refused::Away(text),
        _ => Refused::Denied(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rabbitmq_tells_its_version_in_its_first_frame() {
        let frame = b"\x01\0\0\0\0\x02\0\x0a\0\x0a\0\x09\0\0\x01\xd6\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8";
        assert_eq!(version_in(frame).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(&frame[..frame.len() - 3]), None);
        assert_eq!(version_in(b"HTTP/1.1 400 Bad Request"), None);
    }

    #[test]
    fn redis_tells_what_matters_in_its_info() {
        let info = "# Server\r\nredis_version:7.0.15\r\nserver_time_usec:5000000\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
        let facts = facts(info, Timestamp::from_millis(4_000));
        assert_eq!(facts.version.as_deref(), Some("7.0.15"));
        assert_eq!((facts.append_only, facts.ahead), (Some(true), Some(1_000)));
        assert_eq!(facts.eviction.as_deref(), Some("noeviction"));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let seen = folder(&std::env::temp_dir().join("sortie-not-there/deep")).await;
        assert!(!seen.exists && seen.refused.is_none() && seen.store.is_none());
        assert!(folder(Path::new("/proc/version/x")).await.refused.is_some());
    }
}
