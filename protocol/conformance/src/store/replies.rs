//! Answers that are sent without being asked for.
//! Like the outbox, but for the way back: each answer goes to one sender at a time until it was sent.

use std::time::Duration;

use protocol::id::JobId;
use protocol::job::JobSpec;
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{fail, job_with_deadline_in, job_with_reply, requeue, succeed};
use crate::wait::{race, until};

const LONG: Duration = Duration::from_secs(60);

impl Fixture {
    /// A job with a reply address that succeeded.
    async fn answered(&self) -> JobSpec {
        let spec = job_with_reply();
        self.add(&spec).await;
        self.start(&spec).await;
        self.end(&spec, 1, &succeed("1")).await;
        spec
    }
}

pub async fn a_finished_job_with_an_address_is_answered_at_once(store: Fixture) {
    let spec = store.answered().await;
    let replies = store.replies(LONG, 10).await.unwrap();
    assert_eq!(replies, [store.read(&spec).await]);
}

pub async fn every_end_is_answered(store: Fixture) {
    let (failed, cancelled) = (job_with_reply(), job_with_reply());
    let expired = JobSpec { reply: failed.reply.clone(), ..job_with_deadline_in(30) };
    for spec in [&failed, &cancelled, &expired] {
        store.add(spec).await;
    }
    store.start(&failed).await;
    store.end(&failed, 1, &fail()).await;
    store.cancel(&cancelled.tenant, cancelled.id).await.unwrap();
    until("the job is expired", || async { (store.expire(10).await.unwrap() == 1).then_some(()) }).await;
    let replies = store.replies(LONG, 10).await.unwrap();
    for (spec, state) in
        [(failed, JobState::Failed), (cancelled, JobState::Cancelled), (expired, JobState::Expired)]
    {
        assert!(replies.iter().any(|job| job.spec == spec && job.state == state), "{state}");
    }
}

pub async fn other_jobs_are_not_answered(store: Fixture) {
    store.done().await;
    let unfinished = job_with_reply();
    store.add(&unfinished).await;
    store.start(&unfinished).await;
    store.end(&unfinished, 1, &requeue()).await;
    assert_eq!(store.replies(LONG, 10).await.unwrap(), []);
}

pub async fn an_answer_is_given_to_one_caller_only(store: Fixture) {
    for _ in 0..20 {
        store.answered().await;
    }
    let (one, other) = (store.clone(), store.other().await);
    let replies = race(10, move |n| {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { store.replies(LONG, 3).await.unwrap() }
    })
    .await;
    assert!(replies.iter().all(|replies| replies.len() <= 3));
    let mut ids: Vec<_> = replies.iter().flatten().map(|job| job.spec.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(replies.iter().map(Vec::len).sum::<usize>(), 20);
}

pub async fn an_answer_that_was_not_sent_is_given_again(store: Fixture) {
    let spec = store.answered().await;
    assert_eq!(store.replies(LONG, 10).await.unwrap().len(), 1);
    assert_eq!(store.replies(LONG, 10).await.unwrap(), []);
    let again = until("another age passes", || async {
        store.replies(Duration::from_millis(50), 10).await.unwrap().pop()
    });
    assert_eq!(again.await.spec, spec);
}

pub async fn an_answer_that_was_sent_is_not_given_again(store: Fixture) {
    let (sent, other) = (store.answered().await, store.answered().await);
    assert_eq!(store.replies(LONG, 10).await.unwrap().len(), 2);
    for id in [sent.id, sent.id, JobId::generate()] {
        store.replied(id).await.unwrap();
    }
    let again = until("another age passes", || async {
        let again = store.replies(Duration::from_millis(50), 10).await.unwrap();
        (!again.is_empty()).then_some(again)
    });
    assert_eq!(again.await, [store.read(&other).await]);
}

pub async fn an_answer_survives_a_restart(store: Fixture) {
    let spec = store.answered().await;
    let store = store.reopened().await;
    assert_eq!(store.replies(LONG, 10).await.unwrap(), [store.read(&spec).await]);
}
