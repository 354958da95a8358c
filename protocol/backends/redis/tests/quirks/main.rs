//! What is special about this backend: a server that comes and goes, loses its scripts, its newest writes or
//! its mind. The rules of the ports are in `conformance.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests: a panic is how one says that it failed"
)]

mod away;
mod cache;
mod damage;
mod proxy;
mod rights;

use std::collections::BTreeMap;
use std::time::Duration;

use backend_redis::{Options, RedisBackend, connect};
use protocol::id::{ActionName, ContentHash, JobId, Lane, TenantId, WorkerId};
use protocol::job::{JobSpec, Priority};
use protocol::json::Json;
use protocol::ports::{NewJob, StoreOptions};
use protocol::retry::RetryPolicy;
use protocol::secret::Secret;
use protocol::time::Timestamp;

/// The longest that anything here may take.
const BOUND: Duration = Duration::from_secs(20);

/// The test server's URL.
fn url() -> String {
    conformance::server("SORTIE_TEST_REDIS_URL")
}

/// A backend with this prefix at this URL.
fn backend(url: &str, prefix: &str) -> RedisBackend {
    let store = StoreOptions { lease: Duration::from_secs(60), ..StoreOptions::default() };
    connect(Options { url: Secret::new(url), prefix: prefix.into(), store }).unwrap()
}

/// A plain connection to the test server, to do what no port does.
async fn raw() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url()).unwrap();
    client.get_multiplexed_async_connection().await.expect("the test server answers")
}

fn job() -> JobSpec {
    JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new("weather.get").unwrap(),
        version: Some(1),
        content_hash: ContentHash::new("0".repeat(64)).unwrap(),
        input: Json::parse("{}".into()).unwrap(),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: Timestamp::now(),
        run_at: None,
        deadline: Timestamp::now().plus(Duration::from_secs(60)),
        timeout_ms: 5_000,
        retry: RetryPolicy::default(),
        labels: BTreeMap::new(),
        traceparent: None,
        reply: None,
        key: None,
    }
}

fn new(spec: &JobSpec) -> NewJob {
    NewJob { spec: spec.clone(), idempotency: None }
}

fn worker() -> WorkerId {
    WorkerId::new("worker-1").unwrap()
}

/// Looks again and again until there is what we look for.
async fn until<T, R: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> R) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Removes everything with this prefix.
async fn clean(prefix: &str) {
    let mut raw = raw().await;
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}:*"))
            .arg("COUNT")
            .arg(1_000)
            .query_async(&mut raw)
            .await
            .unwrap();
        for key in keys {
            // One by one: on a cluster they lie in different slots.
            let _: () = redis::cmd("UNLINK").arg(key).query_async(&mut raw).await.unwrap();
        }
        if next == 0 {
            return;
        }
        cursor = next;
    }
}
