//! What a job costs in each store, operation by operation: alone, and as one of 64 that are under way at the same time
//! (stores commit or send such together, so this is what a busy fleet sees).
//!
//! `EmbeddedSynced` is what `sortie serve` does: what must not be lost is on the disk before the answer.

use std::sync::Arc;

use conformance::sample;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use futures_util::future::join_all;
use protocol::id::{TenantId, WorkerId};
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::ports::{Appended, Claim, Created, Finished, NewJob, Store};

use crate::places::{Embedded, EmbeddedSynced, HasStore, RUNTIME, Redis};

/// Operations that are under way at the same time.
const AT_ONCE: [usize; 2] = [1, 64];

fn worker() -> WorkerId {
    sample::worker("bench-4711-3f9a0c")
}

async fn created(store: &Arc<dyn Store>) -> JobSpec {
    let spec = sample::job();
    assert!(matches!(store.create(sample::new(&spec)).await.unwrap(), Created::New(_)));
    spec
}

async fn claim_one(store: &Arc<dyn Store>, spec: &JobSpec) {
    let claim = store.claim(spec, &worker(), Isolation::Sandbox).await.unwrap();
    assert!(matches!(claim, Claim::Granted { attempt: 1, .. }), "{claim:?}");
}

async fn running(store: &Arc<dyn Store>) -> JobSpec {
    let spec = created(store).await;
    claim_one(store, &spec).await;
    spec
}

async fn finish_one(store: &Arc<dyn Store>, spec: &JobSpec) {
    let finish = sample::succeed(r#"{"celsius":-3.5}"#);
    assert_eq!(store.finish(spec, 1, &finish).await.unwrap(), Finished::Recorded);
}

async fn finished(store: &Arc<dyn Store>) -> JobSpec {
    let spec = running(store).await;
    finish_one(store, &spec).await;
    spec
}

/// Makes `at_once` jobs with `prepare`, which isn't counted, then does `work` with all of them.
fn measure(
    bencher: Bencher<'_, '_>,
    at_once: usize,
    prepare: impl AsyncFn() -> JobSpec,
    work: impl AsyncFn(&JobSpec),
) {
    let all = || RUNTIME.block_on(join_all((0..at_once).map(|_| prepare())));
    bencher
        .counter(ItemsCount::new(at_once))
        .with_inputs(all)
        .bench_local_refs(|jobs| RUNTIME.block_on(join_all(jobs.iter().map(|spec| work(spec)))));
}

#[divan::bench(types = [Embedded, EmbeddedSynced, Redis], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn create<B: HasStore>(bencher: Bencher<'_, '_>, at_once: usize) {
    let store = B::store();
    let jobs = || -> Vec<NewJob> { (0..at_once).map(|_| sample::new(&sample::job())).collect() };
    bencher.counter(ItemsCount::new(at_once)).with_inputs(jobs).bench_local_values(|jobs| {
        for created in RUNTIME.block_on(join_all(jobs.into_iter().map(|job| store.create(job)))) {
            assert!(matches!(created.unwrap(), Created::New(_)));
        }
    });
}

#[divan::bench(types = [Embedded, EmbeddedSynced, Redis], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn claim<B: HasStore>(bencher: Bencher<'_, '_>, at_once: usize) {
    let store = B::store();
    measure(bencher, at_once, async || created(&store).await, async |spec| claim_one(&store, spec).await);
}

/// Ten chunks of an attempt in one batch.
#[divan::bench(types = [Embedded, EmbeddedSynced, Redis], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn append<B: HasStore>(bencher: Bencher<'_, '_>, at_once: usize) {
    let (store, batch) = (B::store(), sample::chunks(1, 1..=10));
    let append = async |spec: &JobSpec| {
        assert_eq!(store.append(spec, 1, &batch).await.unwrap(), Appended::Stored);
    };
    measure(bencher, at_once, async || running(&store).await, append);
}

#[divan::bench(types = [Embedded, EmbeddedSynced, Redis], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn finish<B: HasStore>(bencher: Bencher<'_, '_>, at_once: usize) {
    let store = B::store();
    measure(bencher, at_once, async || running(&store).await, async |spec| finish_one(&store, spec).await);
}

/// A finished job: what a poll reads.
#[divan::bench(types = [Embedded, Redis], args = AT_ONCE, sample_size = 1, max_time = 1)]
fn get<B: HasStore>(bencher: Bencher<'_, '_>, at_once: usize) {
    let store = B::store();
    let spec = RUNTIME.block_on(finished(&store));
    let tenant = TenantId::standard();
    bencher.counter(ItemsCount::new(at_once)).bench_local(|| {
        for job in RUNTIME.block_on(join_all((0..at_once).map(|_| store.get(&tenant, spec.id)))) {
            black_box(job.unwrap().unwrap());
        }
    });
}
