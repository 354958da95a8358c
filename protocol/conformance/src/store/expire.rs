//! Deadlines: every job ends, whatever becomes of its workers.
//! A worker gets a short grace to report by itself before the sweep ends its job.

use std::time::Duration;

use protocol::deadline::GRACE;
use protocol::error::Code;
use protocol::job::JobSpec;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Cancelled, Claim, Finished};
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Fixture;
use crate::sample::{error, finish, in_ms, job_in, job_with_deadline_in, succeed};
use crate::wait::{pass, race, until};

impl Fixture {
    /// Expires jobs until this one is over, and gives how many were.
    async fn expire_until_over(&self, spec: &JobSpec) -> usize {
        let count = std::sync::atomic::AtomicUsize::new(0);
        until("the job is expired", || async {
            count.fetch_add(self.expire(100).await.unwrap(), std::sync::atomic::Ordering::Relaxed);
            self.read(spec).await.state.is_terminal().then_some(())
        })
        .await;
        let job = self.read(spec).await;
        assert_eq!(job.error.as_ref().map(|error| error.code), Some(Code::DeadlineExceeded));
        assert_eq!((job.state, job.reason, job.dead_letter), (JobState::Expired, None, false));
        self.story(spec).await;
        count.into_inner()
    }

    /// A job with a running first attempt whose deadline has just passed.
    async fn running_past_its_deadline(&self) -> JobSpec {
        let spec = self.running_with_deadline_in(150).await;
        pass(spec.deadline.since(Timestamp::now())).await;
        spec
    }
}

/// `None` where the grace of the job is over: what was seen of it says nothing then.
fn within_the_grace(spec: &JobSpec) -> Option<()> {
    (Timestamp::now() < spec.deadline.plus(GRACE)).then_some(())
}

pub async fn a_queued_job_expires_at_its_deadline(store: Fixture) {
    let (spec, other) = (job_with_deadline_in(80), store.queued().await);
    store.add(&spec).await;
    assert_eq!(store.expire_until_over(&spec).await, 1);
    assert!(Timestamp::now() >= spec.deadline);
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker", "0 result expired"]);
    assert_eq!(store.read(&other).await.state, JobState::Queued);
    assert_eq!(store.expire(100).await.unwrap(), 0);
    assert_eq!(store.marked().await, [other.id]);
}

pub async fn a_scheduled_job_expires_at_its_deadline(store: Fixture) {
    let later = JobSpec { deadline: in_ms(30), ..job_in(30_000) };
    store.add(&later).await;
    assert_eq!(store.expire_until_over(&later).await, 1);
    assert_eq!(store.read(&later).await.next_run_at, None);
    let retried = store.running_with_deadline_in(200).await;
    let verdict = Verdict::Retry { at: in_ms(30_000), error: error("again") };
    store.end(&retried, 1, &finish(Outcome::Failed, verdict)).await;
    assert_eq!(store.expire_until_over(&retried).await, 1);
    assert_eq!(store.due(10).await.unwrap(), []);
}

pub async fn a_running_job_expires_after_the_grace_only(store: Fixture) {
    let spec = store.running_with_deadline_in(200).await;
    assert_eq!(store.expire_until_over(&spec).await, 1);
    let finished = store.read(&spec).await.finished_at.unwrap();
    assert!(finished >= spec.deadline.plus(GRACE), "not before {finished}");
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result expired"]);
    assert_eq!(store.finish(&spec, 1, &succeed("1")).await.unwrap(), Finished::Late);
}

pub async fn a_worker_can_report_within_the_grace(store: Fixture) {
    until("an attempt is looked at within the grace", || async {
        let spec = store.running_past_its_deadline().await;
        let expired = store.expire(100).await.unwrap();
        let ended = store.finish(&spec, 1, &finish(Outcome::TimedOut, Verdict::Expire)).await.unwrap();
        within_the_grace(&spec)?;
        assert_eq!((expired, ended), (0, Finished::Recorded));
        assert_eq!(store.read(&spec).await.attempts[0].outcome, Some(Outcome::TimedOut));
        Some(())
    })
    .await;
}

pub async fn a_claim_keeps_the_grace_too(store: Fixture) {
    let spec = until("an attempt is looked at within the grace", || async {
        let spec = store.running_past_its_deadline().await;
        let (claim, state) = (store.try_start(&spec).await, store.read(&spec).await.state);
        within_the_grace(&spec)?;
        assert_eq!((claim, state), (Claim::Held, JobState::Running));
        Some(spec)
    })
    .await;
    pass(GRACE).await;
    assert_eq!(store.try_start(&spec).await, Claim::Over(JobState::Expired));
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 result expired"]);
}

pub async fn a_job_to_be_cancelled_expires_too(store: Fixture) {
    let spec = store.running_with_deadline_in(200).await;
    assert_eq!(store.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::Asked);
    assert_eq!(store.expire_until_over(&spec).await, 1);
}

pub async fn a_job_is_expired_by_one_caller_only(store: Fixture) {
    let jobs: Vec<_> = std::iter::repeat_with(|| job_with_deadline_in(150)).take(20).collect();
    for job in &jobs {
        store.add(job).await;
    }
    let (other, counted) = (store.other().await, tokio::sync::Mutex::new(0));
    until("every job is expired", || async {
        let (one, other) = (store.clone(), other.clone());
        let counts = race(10, move |n| {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            async move { store.expire(3).await.unwrap() }
        })
        .await;
        assert!(counts.iter().all(|count| *count <= 3));
        let mut counted = counted.lock().await;
        *counted += counts.iter().sum::<usize>();
        (*counted >= 20).then_some(())
    })
    .await;
    assert_eq!(counted.into_inner(), 20);
    for spec in &jobs {
        assert_eq!(store.story(spec).await, ["0 queued awaiting_worker", "0 result expired"]);
    }
}

pub async fn a_race_of_result_and_deadline_has_one_end(store: Fixture) {
    let spec = store.running_with_deadline_in(300).await;
    pass(Duration::from_millis(300) + GRACE).await;
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    let ends = race(10, move |n| {
        let (one, other, spec) = (one.clone(), other.clone(), racing.clone());
        async move {
            if n % 2 == 0 {
                one.expire(10).await.unwrap()
            } else {
                usize::from(other.finish(&spec, 1, &succeed("1")).await.unwrap() == Finished::Recorded)
            }
        }
    })
    .await;
    assert_eq!(ends.iter().sum::<usize>(), 1);
    assert_eq!(store.story(&spec).await.len(), 3);
}

pub async fn a_deadline_survives_a_restart(store: Fixture) {
    let spec = job_with_deadline_in(100);
    store.add(&spec).await;
    let store = store.reopened().await;
    assert_eq!(store.expire_until_over(&spec).await, 1);
}
