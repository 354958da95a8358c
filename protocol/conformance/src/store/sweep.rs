//! What dispatchers sweep for: jobs whose time has come, attempts whose worker is gone.
//! All dispatchers sweep at once; each job is acted on by one of them.

use std::time::Duration;

use protocol::error::Code;
use protocol::job::{JobSpec, Reason};
use protocol::outcome::Outcome;
use protocol::ports::Claim;
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Fixture;
use crate::sample::{job, job_in, succeed};
use crate::wait::{pass, race, until};

impl Fixture {
    /// Sweeps from ten tasks of two clients at once until `count` jobs came, and gives them all.
    async fn swept<R>(&self, count: usize, sweep: fn(Self) -> R) -> Vec<JobSpec>
    where
        R: Future<Output = Vec<JobSpec>> + Send + 'static,
    {
        let other = self.other().await;
        let found = tokio::sync::Mutex::new(Vec::new());
        until("every job is found", || async {
            let (one, other) = (self.clone(), other.clone());
            let swept =
                race(10, move |n| sweep(if n % 2 == 0 { one.clone() } else { other.clone() })).await.concat();
            let mut found = found.lock().await;
            found.extend(swept);
            (found.len() >= count).then_some(())
        })
        .await;
        found.into_inner()
    }
}

pub async fn a_scheduled_job_is_due_when_its_time_has_come(store: Fixture) {
    let (later, soon) = (job_in(30_000), store.scheduled_in(200).await);
    store.add(&later).await;
    let due = until("the job is due", || async { store.due(10).await.unwrap().pop() }).await;
    assert_eq!(due, soon);
    assert!(Some(Timestamp::now()) >= soon.run_at);
    let job = store.read(&soon).await;
    assert_eq!((job.state, job.reason), (JobState::Queued, Some(Reason::AwaitingWorker)));
    assert_eq!(job.next_run_at, None);
    assert_eq!(store.marked().await, [soon.id]);
    assert_eq!(store.story(&soon).await, ["0 scheduled not_due", "0 queued awaiting_worker"]);
    assert_eq!(store.read(&later).await.state, JobState::Scheduled);
    assert_eq!(store.start(&soon).await, 1);
}

pub async fn a_due_job_is_moved_by_one_caller_only(store: Fixture) {
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(store.scheduled_in(200).await);
    }
    let due = store.swept(20, |store| async move { store.due(100).await.unwrap() }).await;
    assert_eq!(Fixture::ids(&due), Fixture::ids(&jobs));
    assert_eq!(store.due(100).await.unwrap(), []);
}

pub async fn no_more_jobs_are_moved_than_was_asked_for(store: Fixture) {
    for _ in 0..5 {
        store.scheduled_in(200).await;
    }
    pass(Duration::from_millis(200)).await;
    assert_eq!(store.due(0).await.unwrap(), []);
    for count in [2, 2, 1, 0] {
        assert_eq!(store.due(2).await.unwrap().len(), count);
    }
}

pub async fn a_schedule_survives_a_restart(store: Fixture) {
    let spec = store.scheduled_in(200).await;
    let store = store.reopened().await;
    let due = until("the job is due", || async { store.due(10).await.unwrap().pop() }).await;
    assert_eq!(due, spec);
}

pub async fn a_lapsed_attempt_is_reaped_and_its_job_queued_again(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    store.confirm(spec.id).await;
    let reaped = until("the lease lapses", || async { store.reap(10).await.unwrap().pop() }).await;
    assert_eq!(reaped, spec);
    let job = store.read(&spec).await;
    assert!(job.attempts[0].ended_at >= Some(job.attempts[0].started_at.plus(store.options().lease)));
    assert_eq!((job.state, job.reason), (JobState::Queued, Some(Reason::WorkerLost)));
    assert_eq!(job.attempts[0].outcome, Some(Outcome::Crashed));
    assert_eq!(store.marked().await, [spec.id]);
    let claim = store.try_start(&spec).await;
    assert_eq!(claim, Claim::Granted { attempt: 2, failures: 0, crashes: 1 });
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 queued worker_lost", "2 running"]);
}

pub async fn an_attempt_with_a_living_lease_is_left_alone(store: Fixture) {
    let held = store.running().await;
    store.queued().await;
    store.add(&job_in(1)).await;
    store.done().await;
    pass(Duration::from_millis(10)).await;
    assert_eq!(store.reap(100).await.unwrap(), []);
    assert_eq!(store.read(&held).await.state, JobState::Running);
}

pub async fn a_lapsed_attempt_is_reaped_by_one_caller_only(store: Fixture) {
    let store = store.with_short_leases().await;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(store.running().await);
    }
    let reaped = store.swept(20, |store| async move { store.reap(100).await.unwrap() }).await;
    assert_eq!(Fixture::ids(&reaped), Fixture::ids(&jobs));
    for spec in &jobs {
        assert_eq!(store.read(spec).await.crashes(), 1);
    }
}

pub async fn a_race_of_reaping_and_claiming_counts_one_crash(store: Fixture) {
    let options = store.options();
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    pass(store.options().lease).await;
    // The attempt to come must outlive the race.
    let store = store.with(options).await;
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    race(10, move |n| {
        let (one, other, spec) = (one.clone(), other.clone(), racing.clone());
        async move {
            if n % 2 == 0 {
                drop(one.reap(10).await.unwrap());
            } else {
                other.try_start(&spec).await;
            }
        }
    })
    .await;
    let job = store.read(&spec).await;
    assert_eq!((job.crashes(), job.attempts.len()), (1, 2));
    store.story(&spec).await;
}

pub async fn reaping_at_the_crash_limit_gives_the_job_up(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    store.start_when_lapsed(&spec).await;
    until("the job is given up", || async {
        assert_eq!(store.reap(10).await.unwrap(), [], "nothing to publish");
        store.read(&spec).await.state.is_terminal().then_some(())
    })
    .await;
    let job = store.read(&spec).await;
    assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::WorkerCrashed));
    assert!(job.dead_letter);
    assert_eq!(store.story(&spec).await[3..], ["2 running", "2 result failed"]);
}

pub async fn reaping_after_the_deadline_ends_the_job_as_expired(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running_with_deadline_in(200).await;
    until("the job ends", || async {
        assert_eq!(store.reap(10).await.unwrap(), [], "nothing to publish");
        store.read(&spec).await.state.is_terminal().then_some(())
    })
    .await;
    assert_eq!(store.read(&spec).await.state, JobState::Expired);
    store.story(&spec).await;
}

pub async fn a_lease_that_lapses_during_a_restart_is_noticed(store: Fixture) {
    let store = store.with_short_leases().await;
    let (lost, done) = (job(), job());
    for spec in [&lost, &done] {
        store.add(spec).await;
        store.start(spec).await;
    }
    store.end(&done, 1, &succeed("1")).await;
    let store = store.reopened().await;
    let reaped = until("the lease lapses", || async { store.reap(10).await.unwrap().pop() }).await;
    assert_eq!(reaped, lost);
}
