//! From settings to backends, dispatcher and worker: the only wiring of the program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backend_embedded::Embedded;
use backend_rabbitmq::RabbitMq;
use backend_wrappers::metered;
use dispatcher::Dispatcher;
use protocol::id::WorkerId;
use protocol::limits;
use protocol::ports::{Inbox, Queue, Registry, Store, StoreOptions};
use protocol::seal::MasterKeys;
use protocol::secret::Secret;
use worker::Worker;

use crate::exit::{Exit, Failure};
use crate::settings::{Servers, Settings};
use crate::{isolation, own_servers};

/// The ports of this process, each measured, and what must be closed at its end.
pub(crate) struct Backends {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<dyn Registry>,
    inbox: Option<Arc<dyn Inbox>>,
    carrier: Carrier,
}

/// Who carries the ports.
enum Carrier {
    Embedded(Embedded),
    Servers(RabbitMq),
}

impl Backends {
    /// Opens the embedded store, or the way to the servers (which may be away; that is no error).
    pub(crate) async fn open(settings: &Settings, metrics: &prometheus::Registry) -> Result<Self, Failure> {
        let metrics = metered::Metrics::register(metrics).context("can't register metrics")?;
        let store =
            StoreOptions { lease: settings.lease, retention: settings.retention, crashes: limits::CRASHES };
        let backends = match &settings.servers {
            None => embedded(settings, store).await?,
            Some(servers) => distributed(settings, servers, store)?,
        };
        Ok(Self {
            queue: metered::queue(backends.queue, &metrics),
            store: metered::store(backends.store, &metrics),
            registry: metered::registry(backends.registry, &metrics),
            ..backends
        })
    }

    /// Writes what is left to write, and lets the servers know that we go.
    pub(crate) async fn close(self) {
        match self.carrier {
            Carrier::Embedded(embedded) => embedded.close().await,
            Carrier::Servers(rabbitmq) => rabbitmq.close().await,
        }
    }
}

async fn embedded(settings: &Settings, store: StoreOptions) -> Result<Backends, Failure> {
    let options = backend_embedded::Options { dir: settings.data.clone(), sync: settings.sync, store };
    // The error says itself how to mend it.
    let embedded = backend_embedded::open(options)
        .await
        .map_err(|error| Failure::new(Exit::Configuration, format!("{:#}", anyhow::Error::from(error))))?;
    Ok(Backends {
        queue: embedded.queue(),
        store: embedded.store(),
        registry: embedded.registry(),
        inbox: None,
        carrier: Carrier::Embedded(embedded),
    })
}

fn distributed(settings: &Settings, servers: &Servers, store: StoreOptions) -> Result<Backends, Failure> {
    let wrong = |error: anyhow::Error| Failure::new(Exit::Configuration, format!("{error:#}"));
    let prefix = &settings.prefix;
    let redis = backend_redis::Options { url: servers.redis.clone(), prefix: prefix.clone(), store };
    let redis = backend_redis::connect(redis).context("redis_url").map_err(wrong)?;
    let rabbitmq = backend_rabbitmq::Options {
        url: servers.amqp.clone(),
        prefix: prefix.clone(),
        queues: settings.queues,
    };
    let rabbitmq = backend_rabbitmq::connect(rabbitmq).context("amqp_url").map_err(wrong)?;
    Ok(Backends {
        queue: rabbitmq.queue(),
        store: redis.store(),
        registry: redis.registry(),
        inbox: Some(rabbitmq.inbox()),
        carrier: Carrier::Servers(rabbitmq),
    })
}

/// The dispatcher over these backends.
pub(crate) fn dispatcher(
    settings: &Settings,
    backends: &Backends,
    admin_key: Secret,
    master_keys: Option<Arc<MasterKeys>>,
    metrics: &prometheus::Registry,
) -> anyhow::Result<Dispatcher> {
    let ports = dispatcher::Ports {
        queue: backends.queue.clone(),
        store: backends.store.clone(),
        registry: backends.registry.clone(),
        inbox: backends.inbox.clone(),
    };
    let options = dispatcher::Options {
        admin_key: Some(admin_key),
        master_keys,
        deadline_ceiling: settings.deadline_ceiling,
        mercy: mercy(settings),
        ..dispatcher::Options::default()
    };
    let metrics = dispatcher::Metrics::register(metrics).context("can't register metrics")?;
    Ok(Dispatcher::new(ports, options, metrics))
}

/// Time for a worker to renew its leases once: it tries every third of a lease; a try that is under way when servers come
/// back may hang for the two seconds after which a call is given up.
fn mercy(settings: &Settings) -> Duration {
    let call = if settings.servers.is_some() { Duration::from_secs(2) } else { Duration::ZERO };
    settings.lease / 3 + call + Duration::from_millis(200)
}

/// The worker over these backends, its slots ready. `listen` is where the process listens.
pub(crate) async fn worker(
    settings: &Settings,
    backends: &Backends,
    python: PathBuf,
    listen: SocketAddr,
    master_keys: Option<Arc<MasterKeys>>,
    metrics: &prometheus::Registry,
) -> anyhow::Result<Worker> {
    let ports = worker::Ports {
        queue: backends.queue.clone(),
        store: backends.store.clone(),
        registry: backends.registry.clone(),
    };
    let options = worker::Options {
        id: worker_id()?,
        lanes: settings.lanes.clone(),
        slots: settings.slots,
        drain: settings.drain,
        lease: settings.lease,
        egress_allow: settings.egress_allow.clone(),
        egress_own: own_servers::list(listen, settings.servers.as_ref())?,
        master_keys,
        python: worker::python::Options {
            interpreter: python,
            helper: isolation::helper()?,
            runner_dir: settings.data.join("runner"),
            isolation: settings.isolation,
        },
    };
    let metrics = worker::Metrics::register(metrics).context("can't register metrics")?;
    Worker::start(ports, options, metrics).await.context("the worker can't start")
}

/// `host-4711-3f9a0c`: readable in a job's attempts, and never given twice.
fn worker_id() -> anyhow::Result<WorkerId> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    let host = host.trim_start_matches('-');
    let random = protocol::id::JobId::generate().to_string();
    let name = format!(
        "{}-{}-{}",
        if host.is_empty() { "worker" } else { host },
        std::process::id(),
        &random[24..30]
    );
    WorkerId::new(name).context("no name for this worker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_have_names_of_their_own() {
        assert_ne!(worker_id().unwrap(), worker_id().unwrap());
    }
}
