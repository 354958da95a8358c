//! The end of an attempt, and what its verdict makes of the job.
//! The first terminal write wins, whoever comes with the second.

use protocol::event::EventBatch;
use protocol::job::Reason;
use protocol::lifecycle::End;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{Appended, Cancelled, Claim, Finish, Finished};
use protocol::state::JobState;
use protocol::time::Timestamp;
use serde_json::json;

use super::Fixture;
use crate::sample::{UNICODE, chunks, error, fail, finish, in_ms, json, requeue, retry_in, succeed};
use crate::wait::{race, until};

impl Fixture {
    /// Ends a first attempt like this: the job must then be over like that, and no dead letter.
    async fn ends(&self, how: Finish, end: impl FnOnce(&protocol::job::JobSpec) -> End) {
        let started = Timestamp::now();
        let spec = self.running().await;
        self.end(&spec, 1, &how).await;
        let (job, end) = (self.read(&spec).await, end(&spec));
        assert_eq!((job.state, job.reason, job.next_run_at), (end.state, None, None));
        assert_eq!((&job.result, &job.error, job.dead_letter), (&end.result, &end.error, end.dead_letter));
        let attempt = &job.attempts[0];
        assert_eq!((job.attempts.len(), attempt.outcome), (1, Some(how.outcome)));
        // The store's clock and ours are together to a second.
        let finished = job.finished_at.unwrap();
        assert!(finished.plus(std::time::Duration::from_secs(1)) >= started && attempt.ended_at.is_some());
        let told = format!("1 result {}", end.state);
        assert_eq!(self.story(&spec).await, ["0 queued awaiting_worker", "1 running", &told]);
        assert_eq!(self.stream(&spec).await[2].data, end.event_data());
    }
}

pub async fn a_success_ends_the_job_with_its_result(store: Fixture) {
    for result in ["null", "[ 1 , 2.50 ]", r#"{"state":"failed"}"#] {
        store.ends(succeed(result), |_| End::succeeded(json(result))).await;
    }
}

pub async fn a_failure_ends_the_job_with_its_error(store: Fixture) {
    store.ends(fail(), |_| End::failed(error("no such city"))).await;
}

pub async fn an_attempt_that_met_the_deadline_ends_the_job_as_expired(store: Fixture) {
    store.ends(finish(Outcome::TimedOut, Verdict::Expire), End::expired).await;
}

pub async fn an_attempt_that_was_cancelled_ends_the_job_as_cancelled(store: Fixture) {
    store.ends(finish(Outcome::Cancelled, Verdict::Cancel), |_| End::cancelled()).await;
}

pub async fn a_failed_attempt_keeps_its_error(store: Fixture) {
    let spec = store.running().await;
    store.end(&spec, 1, &fail()).await;
    assert_eq!(store.read(&spec).await.attempts[0].error, Some(error("no such city")));
}

pub async fn a_retry_waits_for_its_time_and_starts_the_next_attempt(store: Fixture) {
    let spec = store.running().await;
    store.confirm(spec.id).await;
    let at = in_ms(100);
    let verdict = Verdict::Retry { at, error: error("try again") };
    store.end(&spec, 1, &finish(Outcome::TimedOut, verdict)).await;
    let job = store.read(&spec).await;
    assert_eq!((job.state, job.reason), (JobState::Scheduled, Some(Reason::RetryBackoff)));
    assert_eq!((job.next_run_at, &job.result, job.finished_at), (Some(at), &None, None));
    assert_eq!(job.attempts[0].outcome, Some(Outcome::TimedOut));
    assert_eq!(job.attempts[0].error, Some(error("try again")));
    let due = until("the retry is due", || async { store.due(10).await.unwrap().pop() }).await;
    assert_eq!(due, spec);
    assert_eq!(store.marked().await, [spec.id]);
    let claim = store.try_start(&spec).await;
    assert_eq!(claim, Claim::Granted { attempt: 2, failures: 1, crashes: 0 });
    assert_eq!(
        store.story(&spec).await[1..],
        ["1 running", "1 scheduled retry_backoff", "1 queued awaiting_worker", "2 running"]
    );
}

pub async fn an_attempt_that_is_given_back_counts_for_nothing(store: Fixture) {
    let spec = store.running().await;
    store.confirm(spec.id).await;
    store.end(&spec, 1, &requeue()).await;
    let job = store.read(&spec).await;
    assert_eq!((job.state, job.reason), (JobState::Queued, Some(Reason::WorkerStopped)));
    assert_eq!((job.attempts[0].outcome, job.failures(), job.crashes()), (Some(Outcome::Interrupted), 0, 0));
    assert_eq!(store.marked().await, [spec.id]);
    let claim = store.try_start(&spec).await;
    assert_eq!(claim, Claim::Granted { attempt: 2, failures: 0, crashes: 0 });
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 queued worker_stopped", "2 running"]);
}

pub async fn the_last_events_come_before_the_end_and_once(store: Fixture) {
    let spec = store.running().await;
    assert_eq!(store.add_chunks(&spec, 1, 1, [1, 2]).await, Appended::Stored);
    store.end(&spec, 1, &Finish { last: chunks(2, [2, 3]), ..succeed("1") }).await;
    let told = ["1 running", "1 chunk 1", "1 chunk 2", "1 chunk 3", "1 result succeeded"];
    assert_eq!(store.story(&spec).await[1..], told);

    let spec = store.running().await;
    store.end(&spec, 1, &Finish { last: chunks(1, [1]), ..requeue() }).await;
    assert_eq!(store.story(&spec).await[1..], ["1 running", "1 chunk 1", "1 queued worker_stopped"]);
}

/// A worker whose answer was lost finishes again.
pub async fn a_second_finish_is_late_and_changes_nothing(store: Fixture) {
    let ends = [succeed("1"), fail(), requeue(), retry_in(30_000, Outcome::Failed)];
    for end in &ends {
        let spec = store.running().await;
        store.end(&spec, 1, end).await;
        let (job, story) = (store.read(&spec).await, store.story(&spec).await);
        for again in [end.clone(), succeed("2"), fail(), requeue()] {
            let again = Finish { last: chunks(1, [7]), ..again };
            assert_eq!(store.finish(&spec, 1, &again).await.unwrap(), Finished::Late);
        }
        assert_eq!((store.read(&spec).await, store.story(&spec).await), (job, story));
    }
}

pub async fn an_older_attempt_finishes_late(store: Fixture) {
    let store = store.with_short_leases().await;
    let spec = store.running().await;
    assert_eq!(store.start_when_lapsed(&spec).await, 2);
    let late = Finish { last: chunks(1, [7]), ..succeed("1") };
    assert_eq!(store.finish(&spec, 1, &late).await.unwrap(), Finished::Late);
    store.end(&spec, 2, &succeed("2")).await;
    let job = store.read(&spec).await;
    assert_eq!(job.result, Some(json("2")));
    assert_eq!(job.attempts[0].outcome, Some(Outcome::Crashed));
    assert!(!store.story(&spec).await.iter().any(|event| event.contains("chunk")));
}

pub async fn of_many_ends_at_once_one_wins(store: Fixture) {
    let spec = store.running().await;
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    let recorded = race(40, move |n| {
        let (store, spec) = (if n % 2 == 0 { one.clone() } else { other.clone() }, racing.clone());
        async move {
            let end = match n % 4 {
                0 => succeed(&n.to_string()),
                1 => fail(),
                2 => finish(Outcome::TimedOut, Verdict::Expire),
                _ => {
                    store.cancel(&spec.tenant, spec.id).await.unwrap();
                    finish(Outcome::Cancelled, Verdict::Cancel)
                }
            };
            store.finish(&spec, 1, &end).await.unwrap()
        }
    })
    .await;
    assert_eq!(recorded.iter().filter(|finished| **finished == Finished::Recorded).count(), 1);
    assert_eq!(store.story(&spec).await.len(), 3);
}

pub async fn a_large_result_is_kept_to_the_letter(store: Fixture) {
    let spec = store.running().await;
    let text = UNICODE.repeat(protocol::limits::RESULT_BYTES / UNICODE.len() / 2);
    let result = protocol::json::Json::from(json!(text));
    store.end(&spec, 1, &finish(Outcome::Succeeded, Verdict::Succeed(result.clone()))).await;
    assert_eq!(store.read(&spec).await.result, Some(result));
    store.story(&spec).await;
}

pub async fn nothing_changes_a_job_that_is_over(store: Fixture) {
    for end in [succeed("1"), fail(), finish(Outcome::Cancelled, Verdict::Cancel)] {
        let spec = store.running().await;
        store.end(&spec, 1, &end).await;
        let before = (store.read(&spec).await, store.stream(&spec).await);
        let state = before.0.state;
        assert_eq!(store.try_start(&spec).await, Claim::Over(state));
        assert_eq!(store.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::Over(state));
        for attempt in [1, 2] {
            store.hold(&spec, attempt).await;
            store.append(&spec, attempt, &chunks(1, [1])).await.unwrap();
            assert_eq!(store.finish(&spec, attempt, &succeed("2")).await.unwrap(), Finished::Late);
        }
        store.confirm(spec.id).await;
        store.create(crate::sample::new(&spec)).await.unwrap();
        assert_eq!(store.due(100).await.unwrap(), []);
        assert_eq!(store.reap(100).await.unwrap(), []);
        assert_eq!(store.expire(100).await.unwrap(), 0);
        assert_eq!(store.marked().await, []);
        assert_eq!((store.read(&spec).await, store.stream(&spec).await), before);
    }
}

pub async fn an_end_survives_a_restart(store: Fixture) {
    let spec = store.running().await;
    let last = EventBatch { first: 1, ..chunks(1, [1]) };
    store.end(&spec, 1, &Finish { last, ..succeed("1") }).await;
    let before = (store.read(&spec).await, store.stream(&spec).await);
    let store = store.reopened().await;
    assert_eq!((store.read(&spec).await, store.stream(&spec).await), before);
    assert_eq!(store.finish(&spec, 1, &succeed("1")).await.unwrap(), Finished::Late);
}
