//! Cancelling on request.
//! At once where nothing runs; otherwise when the worker says so, or is lost.

use protocol::error::Code;
use protocol::id::JobId;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::Cancelled;
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{fail, finish, job_in, requeue, retry_in, succeed, tenant};
use crate::wait::{race, until};

impl Fixture {
    async fn ask_to_cancel(&self, spec: &protocol::job::JobSpec) -> Cancelled {
        self.cancel(&spec.tenant, spec.id).await.unwrap()
    }
}

pub async fn a_job_that_does_not_run_is_cancelled_at_once(store: Fixture) {
    let queued = store.queued().await;
    let scheduled = job_in(30_000);
    store.add(&scheduled).await;
    let retried = store.running().await;
    store.end(&retried, 1, &retry_in(30_000, Outcome::Failed)).await;
    for (spec, attempts) in [(queued, 0), (scheduled, 0), (retried, 1)] {
        assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Now);
        let job = store.read(&spec).await;
        assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::JobCancelled));
        assert_eq!((job.state, job.cancel_requested), (JobState::Cancelled, true));
        assert_eq!((job.reason, job.next_run_at, job.dead_letter), (None, None, false));
        let told = format!("{attempts} result cancelled");
        assert_eq!(store.story(&spec).await.last(), Some(&told));
        assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Over(JobState::Cancelled));
    }
}

pub async fn a_running_job_is_cancelled_when_its_worker_says_so(store: Fixture) {
    let spec = store.running().await;
    for _ in 0..2 {
        assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Asked);
        let job = store.read(&spec).await;
        assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
    }
    store.end(&spec, 1, &finish(Outcome::Cancelled, Verdict::Cancel)).await;
    let told = ["0 queued awaiting_worker", "1 running", "1 result cancelled"];
    assert_eq!(store.story(&spec).await, told);
    assert!(store.read(&spec).await.cancel_requested);
}

pub async fn a_result_that_was_quicker_than_the_request_stands(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Asked);
    store.end(&spec, 1, &succeed("1")).await;
    assert_eq!(store.read(&spec).await.state, JobState::Succeeded);
    assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Over(JobState::Succeeded));
    store.story(&spec).await;
}

pub async fn a_job_to_be_cancelled_is_neither_retried_nor_given_back(store: Fixture) {
    for end in [retry_in(0, Outcome::Failed), requeue()] {
        let spec = store.running().await;
        assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Asked);
        store.end(&spec, 1, &end).await;
        let job = store.read(&spec).await;
        assert_eq!((job.state, job.attempts[0].outcome), (JobState::Cancelled, Some(end.outcome)));
        assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result cancelled"]);
        assert_eq!(store.due(10).await.unwrap(), []);
        assert_eq!(store.marked().await, []);
    }
}

pub async fn a_job_to_be_cancelled_whose_worker_is_lost_is_cancelled(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Asked);
    until("the lost worker is noticed", || async {
        assert_eq!(store.reap(10).await.unwrap(), [], "nothing to publish");
        store.read(&spec).await.state.is_terminal().then_some(())
    })
    .await;
    assert_eq!(store.read(&spec).await.state, JobState::Cancelled);
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result cancelled"]);
}

pub async fn a_job_that_is_over_stays_as_it_ended(store: Fixture) {
    for (end, state) in [(succeed("1"), JobState::Succeeded), (fail(), JobState::Failed)] {
        let spec = store.running().await;
        store.end(&spec, 1, &end).await;
        let before = store.read(&spec).await;
        assert_eq!(store.ask_to_cancel(&spec).await, Cancelled::Over(state));
        assert_eq!(store.read(&spec).await, before);
    }
}

pub async fn a_job_of_nobody_or_of_another_tenant_is_not_found(store: Fixture) {
    let spec = store.queued().await;
    let before = store.read(&spec).await;
    for (tenant, id) in [(tenant("stranger"), spec.id), (spec.tenant.clone(), JobId::generate())] {
        assert_eq!(store.cancel(&tenant, id).await.unwrap(), Cancelled::NotFound);
    }
    assert_eq!(store.read(&spec).await, before);
}

pub async fn a_cancelled_job_is_never_due(store: Fixture) {
    let cancelled = store.scheduled_in(200).await;
    assert_eq!(store.ask_to_cancel(&cancelled).await, Cancelled::Now);
    let due = store.scheduled_in(210).await;
    let found = until("the other job is due", || async { store.due(10).await.unwrap().pop() }).await;
    assert_eq!(found, due);
    assert_eq!(store.due(10).await.unwrap(), []);
    store.story(&cancelled).await;
}

/// Whoever comes first, the job ends once, and both are told the truth.
pub async fn a_race_of_claim_and_cancel_has_one_end(store: Fixture) {
    let other = store.other().await;
    for _ in 0..20 {
        let spec = store.queued().await;
        let (one, two, racing) = (store.clone(), other.clone(), spec.clone());
        race(2, move |n| {
            let (one, two, spec) = (one.clone(), two.clone(), racing.clone());
            async move {
                if n == 0 {
                    one.try_start(&spec).await;
                } else {
                    two.ask_to_cancel(&spec).await;
                }
            }
        })
        .await;
        let job = store.read(&spec).await;
        assert!(job.cancel_requested);
        let expected = if job.attempts.is_empty() { JobState::Cancelled } else { JobState::Running };
        assert_eq!(job.state, expected);
        store.story(&spec).await;
    }
}
