//! Where the ports of the benchmarks are: a folder for each embedded backend, a prefix on each server. Each is opened
//! when a benchmark first asks for it, so that those without a server need none.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use backend_embedded::Sync;
use conformance::{Folder, sample};
use dispatcher::access::Caller;
use dispatcher::catalog::Publish;
use dispatcher::{Dispatcher, Metrics, Options, Ports};
use protocol::id::TenantId;
use protocol::ports::{PortError, Queue, Store, StoreOptions};
use protocol::secret::Secret;
use tokio::runtime::Runtime;

/// The action of [`dispatcher`].
pub(crate) const ACTION: &str = "search.web";

/// Our prefix on the servers. Always the same: what an ended run left is found and removed.
const PREFIX: &str = "bench-micro";
/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The runtime of everything, with as many threads as Sortie's own.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static EMBEDDED: LazyLock<Opened> = LazyLock::new(|| Opened::new(Sync::Normal));
static EMBEDDED_SYNCED: LazyLock<Opened> = LazyLock::new(|| Opened::new(Sync::Full));
static REDIS: LazyLock<Arc<dyn Store>> = LazyLock::new(open_redis);
static RABBITMQ: LazyLock<Arc<dyn Queue>> = LazyLock::new(open_rabbitmq);

/// An embedded backend and its folder.
struct Opened {
    folder: Folder,
    backend: backend_embedded::Embedded,
}

impl Opened {
    fn new(sync: Sync) -> Self {
        let folder = Folder::new();
        let options = backend_embedded::Options { sync, ..backend_embedded::Options::new(folder.path()) };
        let backend = RUNTIME.block_on(backend_embedded::open(options)).unwrap();
        Self { folder, backend }
    }
}

/// A backend with a store.
pub(crate) trait HasStore {
    fn store() -> Arc<dyn Store>;
}

/// A backend with a queue.
pub(crate) trait HasQueue {
    fn queue() -> Arc<dyn Queue>;
}

/// One SQLite file; an answer survives `kill -9`.
pub(crate) struct Embedded;
/// One SQLite file; an answer survives a power cut.
pub(crate) struct EmbeddedSynced;
/// The server in SORTIE_TEST_REDIS_URL.
pub(crate) struct Redis;
/// The server in SORTIE_TEST_AMQP_URL.
pub(crate) struct RabbitMq;

impl HasStore for Embedded {
    fn store() -> Arc<dyn Store> {
        EMBEDDED.backend.store()
    }
}

impl HasStore for EmbeddedSynced {
    fn store() -> Arc<dyn Store> {
        EMBEDDED_SYNCED.backend.store()
    }
}

impl HasStore for Redis {
    fn store() -> Arc<dyn Store> {
        Arc::clone(&REDIS)
    }
}

impl HasQueue for Embedded {
    fn queue() -> Arc<dyn Queue> {
        EMBEDDED.backend.queue()
    }
}

impl HasQueue for EmbeddedSynced {
    fn queue() -> Arc<dyn Queue> {
        EMBEDDED_SYNCED.backend.queue()
    }
}

impl HasQueue for RabbitMq {
    fn queue() -> Arc<dyn Queue> {
        Arc::clone(&RABBITMQ)
    }
}

/// A dispatcher on [`Embedded`] with the action [`ACTION`], and somebody who may submit.
pub(crate) fn dispatcher(input_schema: &str) -> (Dispatcher, Caller) {
    let (queue, store) = (Embedded::queue(), Embedded::store());
    let ports = Ports { queue, store, registry: EMBEDDED.backend.registry(), inbox: None };
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let dispatcher = Dispatcher::new(ports, Options::default(), metrics);
    let mut key = sample::key(&TenantId::standard(), "key_1", "secret");
    (key.actions, key.expires_at) = (None, None);
    let caller = Caller::of(key);
    let mut content = sample::content("def handle_event(data):\n    return data\n");
    content.input_schema = serde_json::from_str(input_schema).unwrap();
    let publish = Publish { content, enabled: None };
    RUNTIME.block_on(dispatcher.publish(&caller, &sample::action(ACTION), publish)).unwrap();
    (dispatcher, caller)
}

fn open_redis() -> Arc<dyn Store> {
    let url = server("SORTIE_TEST_REDIS_URL");
    let options = backend_redis::Options {
        url: Secret::new(url.as_str()),
        prefix: PREFIX.into(),
        store: StoreOptions::default(),
    };
    RUNTIME.block_on(async {
        let store = backend_redis::connect(options).unwrap().store();
        answers("Redis", "SORTIE_TEST_REDIS_URL", async || store.ping().await).await;
        forget(&url).await.unwrap();
        store
    })
}

fn open_rabbitmq() -> Arc<dyn Queue> {
    let url = Secret::new(server("SORTIE_TEST_AMQP_URL"));
    let options =
        backend_rabbitmq::Options { url, prefix: PREFIX.into(), queues: backend_rabbitmq::Queues::Quorum };
    RUNTIME.block_on(async {
        let queue = backend_rabbitmq::connect(options).unwrap().queue();
        answers("RabbitMQ", "SORTIE_TEST_AMQP_URL", async || queue.ping().await).await;
        queue
    })
}

#[expect(clippy::disallowed_methods, reason = "like tests, benchmarks find their servers in the environment")]
fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: `tests/bench/run micro` starts the servers that this needs and sets it"
        )
    })
}

/// A backend connects in the background.
async fn answers(what: &str, variable: &str, ping: impl AsyncFn() -> Result<(), PortError>) {
    let begin = Instant::now();
    while let Err(error) = ping().await {
        assert!(begin.elapsed() < PATIENCE, "no answer from the {what} that {variable} names: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Removes the jobs of an earlier run from Redis; nothing of anybody else's.
async fn forget(url: &str) -> redis::RedisResult<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(1_000);
        let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
        if !keys.is_empty() {
            redis::cmd("UNLINK").arg(keys).exec_async(&mut connection).await?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

/// Removes what the run made. Statics are never dropped, so this is said at its end.
pub(crate) fn leave() {
    for opened in [&EMBEDDED, &EMBEDDED_SYNCED].into_iter().filter_map(LazyLock::get) {
        drop(std::fs::remove_dir_all(opened.folder.path()));
    }
    if LazyLock::get(&REDIS).is_some() {
        RUNTIME.block_on(forget(&server("SORTIE_TEST_REDIS_URL"))).unwrap();
    }
}
