//! A server that is away, silent, or forgot our scripts.

use std::time::{Duration, Instant};

use conformance::unique;
use futures_util::future::join_all;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::ports::{Claim, Kind, PortError, Retry};

use crate::proxy::{Mode, Proxy};
use crate::{BOUND, backend, clean, job, new, raw, until, url, worker};

/// The longest that a call may take while the server is away.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// The error of a call that must fail soon and be worth another try.
async fn fails<T: std::fmt::Debug>(call: impl Future<Output = Result<T, PortError>>) -> PortError {
    let started = Instant::now();
    let error = call.await.expect_err("the server is away");
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    assert_eq!(error.retry(), Retry::Later, "{error:?}");
    error
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_no_error_and_is_found_later() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Cut).await);
    let backend = backend(&proxy.url(), &prefix);
    let (store, registry, spec) = (backend.store(), backend.registry(), job());
    assert_eq!(fails(store.create(new(&spec))).await.kind, Kind::Unavailable);
    fails(store.ping()).await;
    fails(registry.ping()).await;
    fails(store.due(10)).await;
    proxy.set(Mode::Open);
    until("the server is found", || async { store.ping().await.ok() }).await;
    store.create(new(&spec)).await.unwrap();
    clean(&prefix).await;
}

#[tokio::test]
async fn calls_work_again_after_the_server_was_cut_off() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Open).await);
    let backend = backend(&proxy.url(), &prefix);
    let (store, spec) = (backend.store(), job());
    for _ in 0..3 {
        store.create(new(&spec)).await.unwrap();
        proxy.set(Mode::Cut);
        proxy.connections(0).await;
        fails(store.get(&spec.tenant, spec.id)).await;
        fails(store.renew(&[(&spec, 1)])).await;
        proxy.set(Mode::Open);
        until("the server is found", || async { store.ping().await.ok() }).await;
    }
    assert!(store.get(&spec.tenant, spec.id).await.unwrap().is_some());
    clean(&prefix).await;
}

#[tokio::test]
async fn a_connection_that_broke_while_nobody_used_it_fails_no_call() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Open).await);
    let backend = backend(&proxy.url(), &prefix);
    let store = backend.store();
    store.ping().await.unwrap();
    proxy.set(Mode::Cut);
    proxy.connections(0).await;
    proxy.set(Mode::Open);
    // The client is told by its own reading task, which may need a moment.
    tokio::time::sleep(Duration::from_millis(500)).await;
    store.ping().await.unwrap();
    clean(&prefix).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_for_a_new_connection() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Open).await);
    let backend = backend(&proxy.url(), &prefix);
    let store = backend.store();
    store.ping().await.unwrap();
    proxy.set(Mode::Silent);
    assert_eq!(fails(store.due(1)).await.kind, Kind::Timeout);
    proxy.set(Mode::Open);
    until("a new connection is made", || async { store.ping().await.ok() }).await;
    clean(&prefix).await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let prefix = unique();
    let (store, spec, mut raw) = (backend(&url(), &prefix).store(), job(), raw().await);
    let mut flush = async || redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut raw).await.unwrap();
    flush().await;
    store.create(new(&spec)).await.unwrap();
    flush().await;
    let claim = store.claim(&spec, &worker(), Isolation::None).await.unwrap();
    assert_eq!(claim, Claim::Granted { attempt: 1, failures: 0, crashes: 0 });
    flush().await;
    let many: Vec<_> = std::iter::repeat_n((&spec, 1), 50).collect();
    assert_eq!(store.renew(&many).await.unwrap().len(), 50);
    clean(&prefix).await;
}

#[tokio::test]
async fn whoever_watches_is_woken_after_the_subscription_was_lost() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Open).await);
    let (watching, direct) = (backend(&proxy.url(), &prefix), backend(&url(), &prefix));
    let (spec, store) = (job(), direct.store());
    store.create(new(&spec)).await.unwrap();
    let mut changes = watching.store().watch(spec.id);
    let mut cancels = watching.store().watch_cancel(spec.id);
    // Two subscriptions; each wakes everybody once it is there.
    proxy.connections(2).await;
    for watch in [&mut changes, &mut cancels] {
        tokio::time::timeout(BOUND, watch.changed()).await.expect("woken when subscribed");
    }
    // A start is told where somebody reads the job's events.
    watching.store().events(&spec.tenant, spec.id, 0, 1).await.unwrap().unwrap();
    store.claim(&spec, &worker(), Isolation::None).await.unwrap();
    tokio::time::timeout(BOUND, changes.changed()).await.expect("woken by the claim");

    proxy.set(Mode::Cut);
    proxy.connections(0).await;
    store.cancel(&spec.tenant, spec.id).await.unwrap();
    proxy.set(Mode::Open);
    for watch in [&mut changes, &mut cancels] {
        tokio::time::timeout(BOUND, watch.changed()).await.expect("woken when subscribed again");
    }
    clean(&prefix).await;
}

#[tokio::test]
async fn connections_end_with_the_backend() {
    let proxy = Proxy::start(Mode::Open).await;
    let prefix = unique();
    let backend = backend(&proxy.url(), &prefix);
    let (store, spec) = (backend.store(), job());
    store.ping().await.unwrap();
    let watches = (store.watch(spec.id), store.watch_cancel(spec.id));
    proxy.connections(3).await;
    drop((backend, store));
    proxy.connections(0).await;
    drop(watches);
    clean(&prefix).await;
}

#[tokio::test]
async fn steps_that_go_together_fail_soon_and_work_again() {
    let (prefix, proxy) = (unique(), Proxy::start(Mode::Open).await);
    let store = backend(&proxy.url(), &prefix).store();
    let first = job();
    let specs: Vec<_> =
        (0..50).map(|_| JobSpec { id: first.id.generate_beside(), ..first.clone() }).collect();
    for mode in [Mode::Cut, Mode::Silent] {
        store.ping().await.unwrap();
        proxy.set(mode);
        join_all(specs.iter().map(|spec| fails(store.create(new(spec))))).await;
        proxy.set(Mode::Open);
        until("the server is found", || async { store.ping().await.ok() }).await;
    }
    // The server may lose its scripts at any time.
    let mut raw = raw().await;
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut raw).await.unwrap();
    join_all(specs.iter().map(async |spec| store.create(new(spec)).await.unwrap())).await;
    let claims = join_all(
        specs.iter().map(|spec| async { store.claim(spec, &worker(), Isolation::Sandbox).await.unwrap() }),
    );
    for claim in claims.await {
        assert!(matches!(claim, Claim::Granted { attempt: 1, .. }));
    }
    clean(&prefix).await;
}
