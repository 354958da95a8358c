//! Being woken instead of asking again and again. A needless wake-up is allowed, a missing one is not.
//! Where several clients can be, the one that changes the job is another one than the one that watches.

use std::time::Duration;

use protocol::hub::Watch;
use protocol::id::JobId;
use protocol::job::{Job, JobSpec};
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Finish, Renewal};
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{fail, finish, job, job_with_deadline_in, succeed};
use crate::wait::{soon, until};

impl Fixture {
    /// A watch that wakes at every change: of whoever reads the job's events.
    async fn follow(&self, spec: &JobSpec) -> Watch {
        let watch = self.watch(spec.id);
        self.events(&spec.tenant, spec.id, 0, 1).await.unwrap().unwrap();
        watch
    }

    /// Sleeps until the watch wakes with the job as expected. It must wake: the job may be so already.
    async fn wakes(&self, watch: &mut Watch, spec: &JobSpec, expected: impl Fn(&Job) -> bool) {
        loop {
            soon("the watch wakes", watch.changed()).await;
            if expected(&self.read(spec).await) {
                return;
            }
        }
    }
}

pub async fn a_watch_wakes_on_every_change(store: Fixture) {
    let (worker, spec) = (store.other().await, store.scheduled_in(200).await);
    let mut watch = store.follow(&spec).await;
    until("the job is due", || async { worker.due(10).await.unwrap().pop() }).await;
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Queued).await;
    // A new watch for each change, so that no earlier wake-up is left over.
    let mut watch = store.follow(&spec).await;
    worker.start(&spec).await;
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Running).await;
    let mut watch = store.follow(&spec).await;
    worker.add_chunks(&spec, 1, 1, [1]).await;
    store.wakes(&mut watch, &spec, |job| job.last_seq == 4).await;
    let mut watch = store.follow(&spec).await;
    worker.cancel(&spec.tenant, spec.id).await.unwrap();
    store.wakes(&mut watch, &spec, |job| job.cancel_requested).await;
    let mut watch = store.follow(&spec).await;
    worker.end(&spec, 1, &succeed("1")).await;
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Succeeded).await;
}

pub async fn who_waits_for_an_end_reads_it_as_it_is_recorded(store: Fixture) {
    let worker = store.other().await;
    let large = format!("[{}1]", "1,".repeat(2_000));
    let ends = ["null", "\"\\n\"", "{\n \"a\":\n1.50 }", &large].map(succeed).into_iter().chain([fail()]);
    for end in ends {
        let spec = store.queued().await;
        let mut watch = store.watch(spec.id);
        let attempt = worker.start(&spec).await;
        worker.end(&spec, attempt, &end).await;
        loop {
            soon("the watch wakes", watch.ended()).await;
            let job = store.read(&spec).await;
            if job.state.is_terminal() {
                assert_eq!(job.last_seq, 3);
                break;
            }
        }
    }
}

pub async fn a_watch_wakes_when_a_waiting_job_is_cancelled(store: Fixture) {
    let spec = store.queued().await;
    let mut watch = store.follow(&spec).await;
    store.other().await.cancel(&spec.tenant, spec.id).await.unwrap();
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Cancelled).await;
}

pub async fn a_watch_wakes_when_a_sweep_ends_the_job(store: Fixture) {
    let store = store.with_short_leases().await;
    let (lost, expired, sweeper) = (store.running().await, job_with_deadline_in(50), store.other().await);
    store.add(&expired).await;
    let (mut of_lost, mut of_expired) = (store.follow(&lost).await, store.follow(&expired).await);
    until("the job is expired", || async { (sweeper.expire(10).await.unwrap() > 0).then_some(()) }).await;
    store.wakes(&mut of_expired, &expired, |job| job.state == JobState::Expired).await;
    until("the attempt is reaped", || async { sweeper.reap(10).await.unwrap().pop() }).await;
    store.wakes(&mut of_lost, &lost, |job| job.state == JobState::Queued).await;
}

pub async fn who_waits_for_the_end_wakes_however_the_job_ends(store: Fixture) {
    let (sweeper, expired) = (store.other().await, job_with_deadline_in(50));
    let (finished, cancelled) = (store.running().await, store.queued().await);
    store.add(&expired).await;
    let mut watches = [&finished, &cancelled, &expired].map(|spec| (spec, store.watch(spec.id)));
    sweeper.end(&finished, 1, &succeed("1")).await;
    sweeper.cancel(&cancelled.tenant, cancelled.id).await.unwrap();
    until("the job is expired", || async { (sweeper.expire(10).await.unwrap() > 0).then_some(()) }).await;
    for (spec, watch) in &mut watches {
        loop {
            soon("the watch wakes", watch.ended()).await;
            if store.read(spec).await.state.is_terminal() {
                break;
            }
        }
    }
}

pub async fn every_watch_on_a_job_wakes(store: Fixture) {
    let spec = store.queued().await;
    store.follow(&spec).await;
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (store, spec, mut watch) = (store.clone(), spec.clone(), store.watch(spec.id));
            tokio::spawn(async move {
                store.wakes(&mut watch, &spec, |job| job.state == JobState::Running).await;
            })
        })
        .collect();
    store.other().await.start(&spec).await;
    for task in waiting {
        task.await.unwrap();
    }
}

/// The reader sleeps between reads for as long as nothing comes, and still gets everything.
pub async fn no_event_is_missed_between_watch_and_read(store: Fixture) {
    let (spec, worker) = (store.running().await, store.other().await);
    let writing = {
        let spec = spec.clone();
        tokio::spawn(async move {
            for ordinal in 1..=100 {
                worker.add_chunks(&spec, 1, ordinal, [ordinal]).await;
            }
            worker.end(&spec, 1, &succeed("1")).await;
        })
    };
    let mut watch = store.watch(spec.id);
    let mut read = Vec::new();
    loop {
        let page = store.events(&spec.tenant, spec.id, read.len() as u64, 10).await.unwrap().unwrap();
        let empty = page.events.is_empty();
        read.extend(page.events);
        if page.ended {
            break;
        }
        if empty {
            soon("the watch wakes", watch.changed()).await;
        }
    }
    writing.await.unwrap();
    assert_eq!(read, store.stream(&spec).await);
    assert_eq!(read.len(), 103);
}

pub async fn a_watch_can_be_made_before_its_job(store: Fixture) {
    let spec = job();
    let mut watch = store.watch(spec.id);
    let other = store.other().await;
    other.add(&spec).await;
    store.follow(&spec).await;
    other.start(&spec).await;
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Running).await;
}

/// Who only waits for the end need not hear of anything else, and who follows later misses nothing.
pub async fn who_follows_a_job_that_runs_wakes_from_then_on(store: Fixture) {
    let (spec, worker) = (store.running().await, store.other().await);
    worker.add_chunks(&spec, 1, 1, [1]).await;
    let mut watch = store.follow(&spec).await;
    worker.add_chunks(&spec, 1, 2, [2]).await;
    store.wakes(&mut watch, &spec, |job| job.last_seq == 4).await;
}

pub async fn a_worker_that_watches_for_a_cancel_wakes(store: Fixture) {
    let spec = store.running().await;
    let mut watch = store.watch_cancel(spec.id);
    store.other().await.cancel(&spec.tenant, spec.id).await.unwrap();
    loop {
        soon("the watch wakes", watch.changed()).await;
        if store.hold(&spec, 1).await == Renewal::CancelRequested {
            return;
        }
    }
}

/// Thousands of watches on jobs that never were cost nothing that stays.
pub async fn watches_on_nothing_do_no_harm(store: Fixture) {
    for _ in 0..20 {
        let watches: Vec<_> = (0..100)
            .map(|_| (store.watch(JobId::generate()), store.watch_cancel(JobId::generate())))
            .collect();
        drop(watches);
    }
    let spec = store.queued().await;
    let mut watch = store.follow(&spec).await;
    store.start(&spec).await;
    store.wakes(&mut watch, &spec, |job| job.state == JobState::Running).await;
}

pub async fn a_pace_is_heard_of_when_a_job_has_ended(store: Fixture) {
    let content = job().content_hash;
    let took = Duration::from_millis(7);
    assert_eq!(store.pace(&content), None);
    // News that nobody listens to yet is lost, so jobs end until one is heard of.
    let pace = until("a pace is heard of", || async {
        let spec = store.running().await;
        assert_eq!(spec.content_hash, content);
        store.end(&spec, 1, &Finish { took, ..succeed("1") }).await;
        store.pace(&content)
    });
    assert_eq!(pace.await, took);
    for verdict in [Verdict::Expire, Verdict::Cancel] {
        let spec = store.running().await;
        let mut watch = store.watch(spec.id);
        let stopped = finish(Outcome::Cancelled, verdict);
        store.end(&spec, 1, &Finish { took: Duration::ZERO, ..stopped }).await;
        soon("the end is heard of", watch.ended()).await;
        assert_eq!(store.pace(&content), Some(took), "who was stopped says nothing");
    }
    let other = protocol::id::ContentHash::new("f".repeat(64)).unwrap();
    assert_eq!(store.pace(&other), None);
}
