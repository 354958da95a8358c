//! Who may start an attempt, and when.
//! The queue may deliver a job twice, too late or to two workers: this is where that does no harm.

use protocol::error::Code;
use protocol::isolation::Isolation;
use protocol::job::Reason;
use protocol::outcome::Outcome;
use protocol::ports::{Cancelled, Claim};
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{
    fail, finish, job, job_in, job_with_deadline_in, requeue, retry_in, succeed, tenant, worker,
};
use crate::wait::{race, until};

impl Fixture {
    /// What a claim says once it is no longer [`Claim::Held`].
    async fn try_start_when_lapsed(&self, spec: &protocol::job::JobSpec) -> Claim {
        until("the lease lapses", || async {
            Some(self.try_start(spec).await).filter(|claim| *claim != Claim::Held)
        })
        .await
    }
}

pub async fn a_claim_starts_the_first_attempt(store: Fixture) {
    let spec = store.queued().await;
    let claim = store.claim(&spec, &worker("Worker-7.a_b"), Isolation::Sandbox).await.unwrap();
    assert_eq!(claim, Claim::Granted { attempt: 1, failures: 0, crashes: 0 });
    let job = store.read(&spec).await;
    assert_eq!((job.state, job.reason), (JobState::Running, None));
    assert_eq!(job.attempts.len(), 1);
    let attempt = &job.attempts[0];
    assert_eq!((attempt.number, attempt.worker.as_str()), (1, "Worker-7.a_b"));
    assert_eq!((attempt.ended_at, attempt.outcome, &attempt.error), (None, None, &None));
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "1 running"]);
}

pub async fn an_attempt_keeps_the_isolation_that_its_worker_told(store: Fixture) {
    let spec = store.queued().await;
    for (number, isolation) in (1..).zip(Isolation::ALL) {
        let claim = store.claim(&spec, &worker("worker-1"), isolation).await.unwrap();
        assert!(matches!(claim, Claim::Granted { attempt, .. } if attempt == number), "{claim:?}");
        store.end(&spec, number, &requeue()).await;
    }
    let store = store.reopened().await;
    let found: Vec<_> = store.read(&spec).await.attempts.iter().map(|attempt| attempt.isolation).collect();
    assert_eq!(found, Isolation::ALL);
}

pub async fn attempts_are_numbered_one_after_the_other(store: Fixture) {
    let spec = store.queued().await;
    for number in 1..=5 {
        assert_eq!(store.start(&spec).await, number);
        store.end(&spec, number, &requeue()).await;
    }
    let numbers: Vec<_> = store.read(&spec).await.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

pub async fn a_second_claim_is_told_that_the_job_is_held(store: Fixture) {
    let spec = store.running().await;
    for name in ["worker-1", "worker-2"] {
        assert_eq!(store.claim(&spec, &worker(name), Isolation::Sandbox).await.unwrap(), Claim::Held);
    }
    assert_eq!(store.read(&spec).await.attempts.len(), 1);
}

pub async fn a_race_of_twenty_claims_starts_one_attempt(store: Fixture) {
    let spec = store.queued().await;
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    let claims = race(20, move |n| {
        let (store, spec) = (if n % 2 == 0 { one.clone() } else { other.clone() }, racing.clone());
        async move { store.claim(&spec, &worker(&format!("worker-{n}")), Isolation::Sandbox).await.unwrap() }
    })
    .await;
    let granted = claims.iter().filter(|claim| matches!(claim, Claim::Granted { attempt: 1, .. })).count();
    let held = claims.iter().filter(|claim| **claim == Claim::Held).count();
    assert_eq!((granted, held), (1, 19));
}

pub async fn a_lapsed_attempt_is_a_crash_and_the_next_one_starts(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    let claim = store.try_start_when_lapsed(&spec).await;
    assert_eq!(claim, Claim::Granted { attempt: 2, failures: 0, crashes: 1 });
    let job = store.read(&spec).await;
    assert_eq!(job.attempts[0].outcome, Some(Outcome::Crashed));
    assert!(job.attempts[0].ended_at.is_some());
    assert_eq!(
        store.story(&spec).await,
        ["0 queued awaiting_worker", "1 running", "1 queued worker_lost", "2 running"]
    );
}

pub async fn at_the_crash_limit_the_job_is_given_up(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    assert_eq!(store.start_when_lapsed(&spec).await, 2);
    assert_eq!(store.try_start_when_lapsed(&spec).await, Claim::Over(JobState::Failed));
    let job = store.read(&spec).await;
    assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::WorkerCrashed));
    assert_eq!((job.dead_letter, job.crashes()), (true, 2));
    let story = store.story(&spec).await;
    assert_eq!(story[3..], ["2 running", "2 result failed"]);
}

pub async fn crashes_that_workers_reported_count_towards_the_limit(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    store.end(&spec, 1, &retry_in(0, Outcome::Crashed)).await;
    until("the job is due", || async { store.due(10).await.unwrap().pop() }).await;
    let claim = store.try_start(&spec).await;
    assert_eq!(claim, Claim::Granted { attempt: 2, failures: 0, crashes: 1 });
    assert_eq!(store.try_start_when_lapsed(&spec).await, Claim::Over(JobState::Failed));
    assert!(store.read(&spec).await.dead_letter);
}

pub async fn a_job_whose_workers_reported_too_many_crashes_is_given_up(store: Fixture) {
    let spec = store.queued().await;
    for number in [1, 2] {
        assert_eq!(store.start(&spec).await, number);
        store.end(&spec, number, &retry_in(0, Outcome::Crashed)).await;
        until("the job is due", || async { store.due(10).await.unwrap().pop() }).await;
    }
    assert_eq!(store.try_start(&spec).await, Claim::Over(JobState::Failed));
    let job = store.read(&spec).await;
    assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::WorkerCrashed));
    assert_eq!((job.dead_letter, job.attempts.len()), (true, 2));
    assert_eq!(store.story(&spec).await.last().map(String::as_str), Some("2 result failed"));
}

pub async fn failures_and_crashes_are_counted_apart(store: Fixture) {
    let spec = store.queued().await;
    let ends = [
        (retry_in(0, Outcome::Failed), (1, 0)),
        (retry_in(0, Outcome::TimedOut), (2, 0)),
        (requeue(), (2, 0)),
        (retry_in(0, Outcome::Crashed), (2, 1)),
        (retry_in(0, Outcome::Failed), (3, 1)),
    ];
    for ((end, (failures, crashes)), number) in ends.into_iter().zip(1..) {
        assert_eq!(store.start(&spec).await, number);
        store.end(&spec, number, &end).await;
        until("the job is queued", || async {
            store.due(10).await.unwrap();
            (store.read(&spec).await.state == JobState::Queued).then_some(())
        })
        .await;
        let job = store.read(&spec).await;
        assert_eq!((job.failures(), job.crashes()), (failures, crashes), "after attempt {number}");
    }
    assert_eq!(store.try_start(&spec).await, Claim::Granted { attempt: 6, failures: 3, crashes: 1 });
}

pub async fn no_attempt_starts_after_the_deadline(store: Fixture) {
    let spec = job_with_deadline_in(60);
    store.add(&spec).await;
    crate::wait::pass(std::time::Duration::from_millis(60)).await;
    assert_eq!(store.try_start(&spec).await, Claim::Over(JobState::Expired));
    let job = store.read(&spec).await;
    assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::DeadlineExceeded));
    assert_eq!((job.attempts.len(), job.dead_letter), (0, false));
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "0 result expired"]);
}

pub async fn a_lapsed_attempt_past_the_deadline_is_not_followed_by_another(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running_with_deadline_in(250).await;
    assert_eq!(store.try_start_when_lapsed(&spec).await, Claim::Over(JobState::Expired));
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result expired"]);
}

pub async fn a_scheduled_job_is_not_due(store: Fixture) {
    let later = job_in(30_000);
    store.add(&later).await;
    let retried = store.running().await;
    store.end(&retried, 1, &retry_in(30_000, Outcome::Failed)).await;
    for (spec, reason) in [(later, Reason::NotDue), (retried, Reason::RetryBackoff)] {
        assert_eq!(store.try_start(&spec).await, Claim::NotDue);
        let job = store.read(&spec).await;
        assert_eq!((job.state, job.reason), (JobState::Scheduled, Some(reason)));
    }
}

pub async fn a_job_that_is_over_is_not_started(store: Fixture) {
    let ends = [
        (succeed("1"), JobState::Succeeded),
        (fail(), JobState::Failed),
        (finish(Outcome::TimedOut, protocol::outcome::Verdict::Expire), JobState::Expired),
        (finish(Outcome::Cancelled, protocol::outcome::Verdict::Cancel), JobState::Cancelled),
    ];
    for (end, state) in ends {
        let spec = store.running().await;
        store.end(&spec, 1, &end).await;
        let before = store.read(&spec).await;
        assert_eq!(store.try_start(&spec).await, Claim::Over(state));
        assert_eq!(store.read(&spec).await, before);
    }
}

pub async fn a_job_that_is_to_be_cancelled_is_not_started_again(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    assert_eq!(store.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::Asked);
    assert_eq!(store.try_start_when_lapsed(&spec).await, Claim::Over(JobState::Cancelled));
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result cancelled"]);
}

pub async fn a_lease_and_an_attempt_survive_a_restart(store: Fixture) {
    let spec = store.running().await;
    let before = store.read(&spec).await;
    let store = store.reopened().await;
    assert_eq!(store.try_start(&spec).await, Claim::Held);
    assert_eq!(store.read(&spec).await, before);
    store.end(&spec, 1, &succeed("1")).await;
}

pub async fn jobs_of_many_tenants_run_side_by_side(store: Fixture) {
    let specs: Vec<_> = ["a", "b", "c"]
        .map(|name| protocol::job::JobSpec { tenant: tenant(name), ..job() })
        .into_iter()
        .collect();
    for spec in &specs {
        store.add(spec).await;
        assert_eq!(store.start(spec).await, 1);
    }
    for spec in &specs {
        store.end(spec, 1, &succeed("1")).await;
        assert_eq!(store.read(spec).await.state, JobState::Succeeded);
    }
}
