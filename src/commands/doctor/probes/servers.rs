//! What RabbitMQ and Redis say of themselves, asked as a dispatcher and a worker would.

use std::io;
use std::time::Duration;

use backend_rabbitmq::RabbitMq;
use protocol::id::Lane;
use protocol::ports::{PortError, StoreOptions};
use protocol::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use crate::announce::host;
use crate::settings::{Servers, Settings};

/// A server that was asked.
#[derive(Debug)]
pub(in super::super) struct Server<T> {
    /// Host and port.
    pub(in super::super) at: String,
    /// What it said, or why not.
    pub(in super::super) answer: Result<T, Refused>,
}

/// Why a server gave no answer.
#[derive(Debug)]
pub(in super::super) enum Refused {
    /// Nobody answers there, or not in time.
    Away(String),
    /// It answers, but not to us.
    Denied(String),
}

/// What RabbitMQ said.
#[derive(Debug, Default)]
pub(in super::super) struct RabbitFacts {
    /// Its version; not asked for behind TLS.
    pub(in super::super) version: Option<String>,
}

/// What Redis said.
#[derive(Debug, Default)]
pub(in super::super) struct RedisFacts {
    /// Its version.
    pub(in super::super) version: Option<String>,
    /// It keeps an append-only file.
    pub(in super::super) append_only: Option<bool>,
    /// What it does when its memory is full.
    pub(in super::super) eviction: Option<String>,
    /// Its clock minus ours, in milliseconds.
    pub(in super::super) ahead: Option<i64>,
}

/// Asks RabbitMQ.
pub(super) async fn rabbitmq(settings: &Settings, servers: &Servers) -> Server<RabbitFacts> {
    let at = host(&servers.amqp);
    let look = async {
        let version = match servers.amqp.reveal().starts_with("amqp://") {
            true => greeting(&at).await.map_err(|error| Refused::Away(error.to_string()))?,
            false => None,
        };
        let options = backend_rabbitmq::Options {
            url: servers.amqp.clone(),
            prefix: settings.prefix.clone(),
            queues: settings.queues,
        };
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
            Err(error) if begun.elapsed() > Duration::from_secs(7) => return Err(refused(&error)),
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

/// Asks Redis.
pub(super) async fn redis(settings: &Settings, servers: &Servers) -> Server<RedisFacts> {
    let look = async {
        let store =
            StoreOptions { lease: settings.lease, retention: settings.retention, ..StoreOptions::default() };
        let options =
            backend_redis::Options { url: servers.redis.clone(), prefix: settings.prefix.clone(), store };
        let redis = backend_redis::connect(options).map_err(|error| Refused::Denied(error.to_string()))?;
        redis.store().ping().await.map_err(|error| refused(&error))?;
        let asked = Timestamp::now();
        let info = redis.info().await.map_err(|error| refused(&error))?;
        Ok(facts(&info, asked, Timestamp::now()))
    };
    Server { answer: bounded(look).await, at: host(&servers.redis) }
}

/// What matters out of the answer to `INFO`, which was given between two moments of our clock.
fn facts(info: &str, asked: Timestamp, answered: Timestamp) -> RedisFacts {
    let value = |name: &str| {
        info.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned()))
    };
    let clock: Option<i64> = value("server_time_usec").and_then(|micros| micros.parse().ok());
    RedisFacts {
        version: value("redis_version"),
        append_only: value("aof_enabled").map(|enabled| enabled == "1"),
        eviction: value("maxmemory_policy"),
        // How far outside of them.
        ahead: clock.map(|micros| {
            let told = micros / 1_000;
            told - told.clamp(asked.millis(), answered.millis().max(asked.millis()))
        }),
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
        let told =
            |asked, answered| facts(info, Timestamp::from_millis(asked), Timestamp::from_millis(answered));
        let facts = told(3_900, 4_000);
        assert_eq!(facts.version.as_deref(), Some("7.0.15"));
        assert_eq!((facts.append_only, facts.ahead), (Some(true), Some(1_000)));
        assert_eq!(facts.eviction.as_deref(), Some("noeviction"));
        assert_eq!((told(4_000, 6_000).ahead, told(5_300, 5_400).ahead), (Some(0), Some(-300)));
    }
}
