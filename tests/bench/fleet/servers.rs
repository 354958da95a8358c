//! The RabbitMQ and the Redis of the run, and the processes that they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bench::process;

use crate::usage::Watched;

/// Hundreds of thousands of jobs are not gone at once.
const EMPTYING: Duration = Duration::from_secs(60);

/// The servers that everybody shares.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) amqp: String,
    pub(crate) redis: String,
    /// Where their clients log.
    logs: PathBuf,
    /// The process of RabbitMQ.
    amqp_pid: u32,
    /// The process of Redis.
    redis_pid: u32,
}

impl Servers {
    /// They must run on this machine: their processor time is counted.
    pub(crate) fn find(amqp: &str, redis: &str, logs: &Path) -> anyhow::Result<Self> {
        let pid = |url: &str| process::listener(port(url)?);
        let (amqp_pid, redis_pid) = (pid(amqp)?, pid(redis)?);
        Ok(Self { amqp: amqp.into(), redis: redis.into(), logs: logs.into(), amqp_pid, redis_pid })
    }

    /// Where the client of this name logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{}.log", name.to_lowercase()))
    }

    /// Their processes, for whoever counts what they use.
    pub(crate) const fn watched(&self) -> [Watched; 2] {
        [Watched::alone("rabbitmq", self.amqp_pid), Watched::alone("redis", self.redis_pid)]
    }

    /// Forgets all that is in Redis, so that everybody starts from the same.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(EMPTYING));
        let client = redis::Client::open(self.redis.as_str())?;
        let mut redis = client.get_multiplexed_async_connection_with_config(&patient).await?;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.context("emptying Redis")
    }
}

fn port(url: &str) -> anyhow::Result<u16> {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let port = authority.and_then(|authority| authority.rsplit_once(':')).map(|(_, port)| port);
    port.with_context(|| format!("{url} names no port"))?.parse().context("the port of a URL")
}
