//! A store that lost its newest writes is healed by those who hold the job: the calls of a worker carry all
//! that is missing. A store that never heard of a job is the extreme case of that.

use protocol::job::{JobSpec, Reason};
use protocol::ports::{Appended, Cancelled, Claim, Finish, Finished, JobFilter, Renewal};
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{
    chunks, elaborate_job, in_ms, job, job_in, job_with_deadline_in, job_with_reply, requeue, succeed,
};
use crate::wait::{pass, race, until};

impl Fixture {
    /// The job is there as if it had never been lost, with this running attempt.
    async fn runs_again(&self, spec: &JobSpec, attempt: u32) {
        let job = self.read(spec).await;
        assert_eq!(job.spec, *spec);
        assert_eq!(job.state, JobState::Running);
        assert_eq!(job.attempts.last().map(|attempt| attempt.number), Some(attempt));
        assert_eq!(self.try_start(spec).await, Claim::Held);
        assert_eq!(self.hold(spec, attempt).await, Renewal::Held);
        self.story(spec).await;
    }
}

pub async fn a_claim_restores_an_unknown_job(store: Fixture) {
    let spec = JobSpec { run_at: None, ..elaborate_job() };
    assert_eq!(store.start(&spec).await, 1);
    store.runs_again(&spec, 1).await;
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "1 running"]);
    let page = store.list(&spec.tenant, &JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(page.jobs, [store.read(&spec).await]);
}

pub async fn a_renewal_restores_an_unknown_attempt(store: Fixture) {
    let unknown = job();
    assert_eq!(store.hold(&unknown, 3).await, Renewal::Held);
    store.runs_again(&unknown, 3).await;
    let known = store.queued().await;
    assert_eq!(store.hold(&known, 2).await, Renewal::Held);
    store.runs_again(&known, 2).await;
}

pub async fn an_append_restores_an_unknown_attempt(store: Fixture) {
    let unknown = job();
    assert_eq!(store.add_chunks(&unknown, 1, 5, [5, 6]).await, Appended::Stored);
    store.runs_again(&unknown, 1).await;
    let known = store.queued().await;
    assert_eq!(store.add_chunks(&known, 1, 1, [5, 6]).await, Appended::Stored);
    store.runs_again(&known, 1).await;
    for spec in [unknown, known] {
        assert_eq!(store.story(&spec).await[2..], ["1 chunk 5", "1 chunk 6"]);
    }
}

pub async fn a_finish_restores_an_unknown_attempt(store: Fixture) {
    let (unknown, known) = (job(), store.queued().await);
    for spec in [unknown, known] {
        store.end(&spec, 1, &Finish { last: chunks(4, [4]), ..succeed("1") }).await;
        assert_eq!(store.read(&spec).await.spec, spec);
        let told = ["0 queued awaiting_worker", "1 running", "1 chunk 4", "1 result succeeded"];
        assert_eq!(store.story(&spec).await, told);
        assert_eq!(store.finish(&spec, 1, &succeed("1")).await.unwrap(), Finished::Late);
    }
}

pub async fn a_restored_attempt_outdates_the_ones_before(store: Fixture) {
    let spec = store.running().await;
    // The store lost that the first attempt was given back and a third one started.
    assert_eq!(store.hold(&spec, 3).await, Renewal::Held);
    store.runs_again(&spec, 3).await;
    for older in [1, 2] {
        assert_eq!(store.hold(&spec, older).await, Renewal::Lost);
        assert_eq!(store.add_chunks(&spec, older, 1, [1]).await, Appended::Lost);
        assert_eq!(store.finish(&spec, older, &succeed("1")).await.unwrap(), Finished::Late);
    }
    store.end(&spec, 3, &requeue()).await;
    assert_eq!(store.start(&spec).await, 4);
    store.story(&spec).await;
}

pub async fn an_unknown_job_past_its_deadline_is_not_started(store: Fixture) {
    let spec = job_with_deadline_in(0);
    pass(std::time::Duration::ZERO).await;
    assert_eq!(store.try_start(&spec).await, Claim::Over(JobState::Expired));
}

pub async fn an_unknown_job_for_later_is_scheduled_again(store: Fixture) {
    let spec = job_in(30_000);
    assert_eq!(store.try_start(&spec).await, Claim::NotDue);
    let job = store.read(&spec).await;
    assert_eq!((job.state, job.reason), (JobState::Scheduled, Some(Reason::NotDue)));
    assert_eq!(store.story(&spec).await, ["0 scheduled not_due"]);
}

pub async fn a_race_to_restore_a_job_starts_one_attempt(store: Fixture) {
    let spec = job();
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    let claims = race(20, move |n| {
        let (store, spec) = (if n % 2 == 0 { one.clone() } else { other.clone() }, racing.clone());
        async move { store.try_start(&spec).await }
    })
    .await;
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Claim::Granted { .. })).count(), 1);
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "1 running"]);
}

/// Sweeps find a restored job like any other.
pub async fn a_restored_job_ends_like_any_other(store: Fixture) {
    let store = store.with_short_leases().await;
    let (lost, late) = (job(), job_with_deadline_in(250));
    assert_eq!(store.hold(&late, 1).await, Renewal::Held);
    assert_eq!(store.start(&lost).await, 1);
    until("the lost one is reaped", || async {
        store.reap(10).await.unwrap();
        (store.read(&lost).await.state == JobState::Queued).then_some(())
    })
    .await;
    until("the late one is expired", || async {
        store.expire(10).await.unwrap();
        (store.read(&late).await.state == JobState::Expired).then_some(())
    })
    .await;
    let cancelled = JobSpec { deadline: in_ms(60_000), ..job() };
    assert_eq!(store.hold(&cancelled, 1).await, Renewal::Held);
    assert_eq!(store.cancel(&cancelled.tenant, cancelled.id).await.unwrap(), Cancelled::Asked);
    let answered = job_with_reply();
    store.end(&answered, 1, &succeed("1")).await;
    let replies = store.replies(std::time::Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(replies, [store.read(&answered).await]);
    for spec in [&lost, &late, &cancelled, &answered] {
        store.story(spec).await;
    }
}
