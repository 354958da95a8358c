//! What is true of the embedded backend only: one folder, one process, one file.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend_embedded::{Embedded, OpenError, Options, open};
use conformance::Folder;
use protocol::action::Content;
use protocol::id::{ActionName, ContentHash, JobId, Lane, TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::{JobSpec, Priority};
use protocol::json::Json;
use protocol::ports::{Claim, Confirmed, Created, Kind, NewJob, Renewal, StoreOptions};
use protocol::retry::RetryPolicy;
use protocol::time::Timestamp;

fn job() -> JobSpec {
    let created_at = Timestamp::now();
    JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new("weather.get").unwrap(),
        version: Some(1),
        content_hash: ContentHash::new("0".repeat(64)).unwrap(),
        input: Json::parse(r#"{"city":"Oslo"}"#.into()).unwrap(),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at,
        run_at: None,
        deadline: created_at.plus(Duration::from_secs(60)),
        timeout_ms: 5_000,
        retry: RetryPolicy::default(),
        labels: BTreeMap::new(),
        traceparent: None,
        reply: None,
        key: None,
    }
}

async fn opened(dir: &Path) -> Embedded {
    open(Options::new(dir)).await.unwrap()
}

async fn refused(dir: &Path) -> OpenError {
    match open(Options::new(dir)).await {
        Ok(_) => panic!("the folder was opened"),
        Err(error) => error,
    }
}

/// Records the job and publishes it.
async fn accept(embedded: &Embedded, job: &JobSpec) {
    let new = NewJob { spec: job.clone(), idempotency: None };
    assert!(matches!(embedded.store().create(new).await.unwrap(), Created::New(_)));
    let began = Instant::now();
    embedded.queue().publish(job).await.unwrap();
    embedded.store().published(&[Confirmed { job: job.id, began }]).await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_what_to_do() {
    let folder = Folder::new();
    let first = opened(folder.path()).await;
    let error = refused(folder.path()).await;
    assert!(matches!(&error, OpenError::InUse { dir } if dir == folder.path()));
    let text = error.to_string();
    assert!(text.contains(&folder.path().display().to_string()) && text.contains("--data"), "{text}");
    first.close().await;
    opened(folder.path()).await.close().await;
}

#[tokio::test]
async fn what_was_accepted_is_there_after_everything_was_dropped() {
    let folder = Folder::new();
    let (job, name) = (job(), ActionName::new("weather.get").unwrap());
    let content: Content = serde_json::from_str(r#"{"handler":{"kind":"python","source":"x"}}"#).unwrap();
    {
        let embedded = opened(folder.path()).await;
        embedded.registry().publish(&job.tenant, &name, &content, None).await.unwrap();
        accept(&embedded, &job).await;
    }
    let embedded = opened(folder.path()).await;
    let action = embedded.registry().action(&job.tenant, &name).await.unwrap().unwrap();
    assert_eq!(action.latest.content_hash, content.hash());
    assert_eq!(embedded.store().get(&job.tenant, job.id).await.unwrap().unwrap().spec, job);
    let mut consumer = embedded.queue().consume(&[Lane::standard()], 1).await.unwrap();
    assert_eq!(consumer.next().await.job, job);
}

#[tokio::test]
async fn after_closing_every_port_says_that_it_is_unavailable() {
    let folder = Folder::new();
    let embedded = opened(folder.path()).await;
    let (queue, store, registry) = (embedded.queue(), embedded.store(), embedded.registry());
    embedded.close().await;
    let job = job();
    let errors = [
        queue.publish(&job).await.unwrap_err(),
        store.get(&job.tenant, job.id).await.unwrap_err(),
        registry.ping().await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.kind == Kind::Unavailable), "{errors:?}");
}

#[tokio::test]
async fn only_this_user_can_read_the_files() {
    let folder = Folder::new();
    let dir = folder.path().join("data");
    let embedded = opened(&dir).await;
    accept(&embedded, &job()).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_to_date_and_keeps_its_attempts() {
    let (folder, job) = (Folder::new(), job());
    let worker = WorkerId::new("w").unwrap();
    let embedded = opened(folder.path()).await;
    accept(&embedded, &job).await;
    let claim = embedded.store().claim(&job, &worker, Isolation::Sandbox).await.unwrap();
    assert!(matches!(claim, Claim::Granted { attempt: 1, .. }));
    embedded.close().await;
    let raw = rusqlite::Connection::open(folder.path().join("sortie.db")).unwrap();
    raw.execute_batch(
        "ALTER TABLE attempts DROP COLUMN isolation; DROP TABLE secrets; PRAGMA user_version = 1",
    )
    .unwrap();
    drop(raw);
    let embedded = opened(folder.path()).await;
    let attempts = embedded.store().get(&job.tenant, job.id).await.unwrap().unwrap().attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.isolation).collect::<Vec<_>>(), [Isolation::None]);
    assert_eq!(embedded.registry().secrets(&job.tenant).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused_and_left_alone() {
    let folder = Folder::new();
    opened(folder.path()).await.close().await;
    let file = folder.path().join("sortie.db");
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let error = refused(folder.path()).await;
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    let raw = rusqlite::Connection::open(&file).unwrap();
    let version: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("sortie.db"), "not a database, but long enough to look at".repeat(99))
        .unwrap();
    assert!(matches!(refused(folder.path()).await, OpenError::File { .. }));
}

#[tokio::test]
async fn a_message_that_is_no_job_is_put_aside() {
    let folder = Folder::new();
    opened(folder.path()).await.close().await;
    let file = folder.path().join("sortie.db");
    let insert =
        "INSERT INTO messages (lane, priority, published_at, body) VALUES ('default', 'high', 0, ?1)";
    rusqlite::Connection::open(&file).unwrap().execute(insert, [&b"{\"v\":7}"[..]]).unwrap();

    let (embedded, job) = (opened(folder.path()).await, job());
    embedded.queue().publish(&job).await.unwrap();
    let mut consumer = embedded.queue().consume(&[Lane::standard()], 1).await.unwrap();
    let delivery = consumer.next().await;
    assert_eq!(delivery.job, job);
    delivery.ack();
    drop(consumer);
    embedded.close().await;

    let raw = rusqlite::Connection::open(&file).unwrap();
    let reason: String = raw.query_row("SELECT reason FROM dead_messages", [], |row| row.get(0)).unwrap();
    assert!(reason.contains("version 7"), "{reason}");
    let left: i64 = raw.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_does_not_lapse_while_its_renewal_waits_for_the_disk() {
    let lease = Duration::from_secs(2);
    let folder = Folder::new();
    let store = StoreOptions { lease, ..StoreOptions::default() };
    let embedded = open(Options { store, ..Options::new(folder.path()) }).await.unwrap();
    let (store, job) = (embedded.store(), job());
    accept(&embedded, &job).await;
    let worker = WorkerId::new("worker-1").unwrap();
    store.claim(&job, &worker, Isolation::None).await.unwrap();
    let until = Instant::now() + lease;

    // Nothing is written before the lease is over.
    let disk = rusqlite::Connection::open(folder.path().join("sortie.db")).unwrap();
    disk.busy_timeout(lease).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = [(&job, 1)];
    let (reaped, renewed, ()) = tokio::join!(biased; store.reap(10), store.renew(&held), async {
        assert!(Instant::now() < until, "asked for while the lease lives");
        tokio::time::sleep_until(until.into()).await;
        disk.execute_batch("COMMIT").unwrap();
    });
    assert_eq!((reaped.unwrap(), renewed.unwrap()), (vec![], vec![Renewal::Held]));
    drop(store);
    embedded.close().await;
}

/// The files as they are while jobs are being accepted are what a process leaves that is killed then. They
/// are copied before SQLite moves the log into the database for the first time (after 1,000 pages), because
/// a copy, unlike a kill, is not of one instant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_survives_a_kill_in_the_middle() {
    let (folder, copy) = (Folder::new(), Folder::new());
    let embedded = Arc::new(opened(folder.path()).await);
    let answered: Vec<JobSpec> = std::iter::repeat_with(job).take(10).collect();
    for job in &answered {
        accept(&embedded, job).await;
    }
    let writing = tokio::spawn({
        let embedded = Arc::clone(&embedded);
        async move {
            for _ in 0..10 {
                accept(&embedded, &job()).await;
            }
        }
    });
    for file in ["sortie.db", "sortie.db-wal"] {
        std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    writing.await.unwrap();

    let survivor = opened(copy.path()).await;
    for job in &answered {
        let kept = survivor.store().get(&job.tenant, job.id).await.unwrap().expect("the job is there");
        assert_eq!(kept.spec, *job);
    }
    let mut consumer = survivor.queue().consume(&[Lane::standard()], 100).await.unwrap();
    let mut held = Vec::new();
    for job in &answered {
        let delivery = consumer.next().await;
        assert_eq!((delivery.job.id, delivery.redelivered), (job.id, true));
        held.push(delivery);
    }
}
