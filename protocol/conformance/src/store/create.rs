//! Recording a job, and the caller's own key that makes one request one job.
//! Callers try again when an answer is lost; that must never make a second job.

use std::collections::BTreeMap;

use protocol::id::JobId;
use protocol::job::{JobSpec, Reason};
use protocol::ports::Created;
use protocol::state::JobState;
use protocol::time::Timestamp;
use serde_json::json;

use super::Fixture;
use crate::sample::{UNICODE, elaborate_job, job, job_in, new, tenant, with_key};
use crate::wait::{race, until};

fn id_of(created: &Created) -> Option<JobId> {
    match created {
        Created::New(job) | Created::Same(job) => Some(job.spec.id),
        Created::Conflict => None,
    }
}

pub async fn a_new_job_is_queued_and_says_so(store: Fixture) {
    let spec = job();
    let created = store.add(&spec).await;
    assert_eq!(created.spec, spec);
    assert_eq!((created.state, created.reason), (JobState::Queued, Some(Reason::AwaitingWorker)));
    assert_eq!((created.last_seq, created.attempts.len(), created.next_run_at), (1, 0, None));
    assert_eq!((&created.result, &created.error, created.finished_at), (&None, &None, None));
    assert!(!created.cancel_requested && !created.dead_letter);
    assert_eq!(store.read(&spec).await, created);
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker"]);
}

pub async fn a_job_for_later_is_scheduled_and_says_so(store: Fixture) {
    let spec = job_in(30_000);
    let created = store.add(&spec).await;
    assert_eq!((created.state, created.reason), (JobState::Scheduled, Some(Reason::NotDue)));
    assert_eq!(created.next_run_at, spec.run_at);
    assert_eq!(store.read(&spec).await, created);
    assert_eq!(store.story(&spec).await, ["0 scheduled not_due"]);
}

pub async fn a_start_time_in_the_past_means_now(store: Fixture) {
    let spec = JobSpec { run_at: Some(Timestamp::from_millis(1)), ..job() };
    assert_eq!(store.add(&spec).await.state, JobState::Queued);
    assert_eq!(store.start(&spec).await, 1);
}

pub async fn the_record_keeps_the_request_to_the_letter(store: Fixture) {
    let spec = elaborate_job();
    store.add(&spec).await;
    assert_eq!(store.read(&spec).await.spec, spec);
}

pub async fn a_large_input_is_kept_to_the_letter(store: Fixture) {
    let text = UNICODE.repeat(protocol::limits::INPUT_BYTES / UNICODE.len() / 2);
    let spec = JobSpec { input: json!(text).into(), ..job() };
    store.add(&spec).await;
    assert_eq!(store.read(&spec).await.spec.input, spec.input);
}

pub async fn the_same_id_again_is_the_same_job(store: Fixture) {
    let spec = store.running().await;
    let before = store.read(&spec).await;
    assert_eq!(store.create(new(&spec)).await.unwrap(), Created::Same(Box::new(before.clone())));
    assert_eq!(store.read(&spec).await, before);
}

pub async fn a_race_of_fifty_with_one_id_records_it_once(store: Fixture) {
    let spec = job();
    let (one, other, racing) = (store.clone(), store.other().await, spec.clone());
    let created = race(50, move |n| {
        let (store, spec) = (if n % 2 == 0 { one.clone() } else { other.clone() }, racing.clone());
        async move { store.create(new(&spec)).await.unwrap() }
    })
    .await;
    assert_eq!(created.iter().filter(|created| matches!(created, Created::New(_))).count(), 1);
    assert!(created.iter().all(|created| id_of(created) == Some(spec.id)));
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker"]);
}

pub async fn the_same_key_and_request_give_the_first_job(store: Fixture) {
    let (first, again) = (job(), job());
    assert!(matches!(store.create(with_key(&first, "k", "f")).await.unwrap(), Created::New(_)));
    let Created::Same(same) = store.create(with_key(&again, "k", "f")).await.unwrap() else {
        panic!("the key is known");
    };
    assert_eq!(*same, store.read(&first).await);
    assert_eq!(store.get(&again.tenant, again.id).await.unwrap(), None);
}

pub async fn the_same_key_with_another_request_is_a_conflict(store: Fixture) {
    let (first, other) = (job(), job());
    store.create(with_key(&first, "k", "f")).await.unwrap();
    assert_eq!(store.create(with_key(&other, "k", "g")).await.unwrap(), Created::Conflict);
    assert_eq!(store.get(&other.tenant, other.id).await.unwrap(), None);
    assert_eq!(store.marked().await, [first.id]);
}

pub async fn keys_of_different_tenants_do_not_meet(store: Fixture) {
    for name in ["one", "two"] {
        let spec = JobSpec { tenant: tenant(name), ..job() };
        assert!(matches!(store.create(with_key(&spec, "k", name)).await.unwrap(), Created::New(_)), "{name}");
    }
}

pub async fn keys_are_compared_to_the_letter(store: Fixture) {
    let long = "é".repeat(protocol::limits::IDEMPOTENCY_KEY_BYTES / 2);
    let keys =
        ["", " ", "a", "A", "a ", "a:b", "{a}", "a*", "é", "e\u{301}", "\0", "a\0", "%", UNICODE, &long];
    let mut jobs = BTreeMap::new();
    for key in keys {
        let spec = job();
        assert!(matches!(store.create(with_key(&spec, key, "f")).await.unwrap(), Created::New(_)), "{key:?}");
        jobs.insert(key, spec.id);
    }
    for (key, id) in jobs {
        assert_eq!(id_of(&store.create(with_key(&job(), key, "f")).await.unwrap()), Some(id), "{key:?}");
    }
}

pub async fn a_race_of_fifty_with_one_key_makes_one_job(store: Fixture) {
    let (one, other) = (store.clone(), store.other().await);
    let created = race(50, move |n| {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { store.create(with_key(&job(), "k", "f")).await.unwrap() }
    })
    .await;
    let new: Vec<_> = created.iter().filter(|created| matches!(created, Created::New(_))).collect();
    assert_eq!(new.len(), 1);
    assert!(created.iter().all(|created| id_of(created).is_some() && id_of(created) == id_of(new[0])));
    assert_eq!(Some(store.marked().await), id_of(new[0]).map(|id| vec![id]));
}

pub async fn a_key_is_known_after_its_job_is_over(store: Fixture) {
    let spec = job();
    store.create(with_key(&spec, "k", "f")).await.unwrap();
    store.start(&spec).await;
    store.end(&spec, 1, &crate::sample::succeed("1")).await;
    let again = store.create(with_key(&job(), "k", "f")).await.unwrap();
    assert_eq!(again, Created::Same(Box::new(store.read(&spec).await)));
}

pub async fn a_key_is_forgotten_after_the_retention(store: Fixture) {
    let store = store.with_short_retention().await;
    let spec = job();
    store.create(with_key(&spec, "k", "f")).await.unwrap();
    store.start(&spec).await;
    store.end(&spec, 1, &crate::sample::succeed("1")).await;
    until("the key is forgotten", || async {
        let again = store.create(with_key(&job(), "k", "g")).await.unwrap();
        matches!(again, Created::New(_)).then_some(())
    })
    .await;
}

pub async fn an_accepted_job_survives_a_restart(store: Fixture) {
    let spec = job();
    store.create(with_key(&spec, "k", "f")).await.unwrap();
    let before = store.read(&spec).await;
    let store = store.reopened().await;
    assert_eq!(store.read(&spec).await, before);
    assert_eq!(store.story(&spec).await, ["0 queued awaiting_worker"]);
    assert_eq!(store.create(with_key(&job(), "k", "f")).await.unwrap(), Created::Same(Box::new(before)));
    assert_eq!(store.marked().await, [spec.id]);
}
