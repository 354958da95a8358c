//! Backends do together what comes together. Nobody must be able to tell.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use protocol::id::JobId;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::ports::{Claim, Created, Finish, Finished};
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{
    chunks, fail, job, job_in, job_with_deadline_in, job_with_reply, new, requeue, succeed, worker,
};

/// What jobs of a batch may be, as one in seven.
const KINDS: [fn() -> JobSpec; 7] =
    [job, job_with_reply, || job_in(60_000), || job_with_deadline_in(0), job, job, job];

/// Jobs of every kind, of one group.
fn jobs() -> Vec<JobSpec> {
    let beside = JobId::generate();
    (0..140).map(|n| JobSpec { id: beside.generate_beside(), ..KINDS[n % KINDS.len()]() }).collect()
}

impl Fixture {
    async fn claim_all(&self, specs: &[&JobSpec]) -> Vec<Claim> {
        let worker = worker("worker-1");
        join_all(specs.iter().map(async |spec| self.claim(spec, &worker, Isolation::Sandbox).await.unwrap()))
            .await
    }
}

pub async fn many_jobs_at_once_are_recorded_each_by_itself(store: Fixture) {
    let specs = jobs();
    // Every third comes twice.
    let twice = specs.iter().chain(specs.iter().step_by(3));
    let created = join_all(twice.map(async |spec| store.create(new(spec)).await.unwrap())).await;
    let mut made = BTreeMap::new();
    for created in created {
        match created {
            Created::New(job) => assert_eq!(made.insert(job.spec.id, job.spec), None),
            Created::Same(job) => assert!(specs.contains(&job.spec)),
            Created::Conflict => panic!("nobody had a key"),
        }
    }
    assert_eq!(made.len(), specs.len());
    for (n, spec) in specs.iter().enumerate() {
        let job = store.read(spec).await;
        assert_eq!(job.spec, *spec);
        let state = if n % KINDS.len() == 2 { JobState::Scheduled } else { JobState::Queued };
        assert_eq!(job.state, state);
    }
}

pub async fn many_jobs_at_once_are_claimed_each_by_itself(store: Fixture) {
    let specs = jobs();
    join_all(specs.iter().map(|spec| store.add(spec))).await;
    let twice: Vec<_> = specs.iter().chain(&specs).collect();
    let claims = store.claim_all(&twice).await;
    let (first, second) = claims.split_at(specs.len());
    for (n, pair) in first.iter().zip(second).enumerate() {
        let granted = |claim: &Claim| matches!(claim, Claim::Granted { attempt: 1, failures: 0, crashes: 0 });
        match n % KINDS.len() {
            2 => assert_eq!(pair, (&Claim::NotDue, &Claim::NotDue)),
            3 => assert_eq!(pair, (&Claim::Over(JobState::Expired), &Claim::Over(JobState::Expired))),
            _ => {
                assert!(granted(pair.0) != granted(pair.1), "{pair:?}");
                assert!(*pair.0 == Claim::Held || *pair.1 == Claim::Held, "{pair:?}");
            }
        }
    }
}

pub async fn many_attempts_at_once_end_each_by_itself(store: Fixture) {
    let beside = JobId::generate();
    let specs: Vec<_> = (0..120).map(|_| JobSpec { id: beside.generate_beside(), ..job() }).collect();
    join_all(specs.iter().map(|spec| store.add(spec))).await;
    let unknown: Vec<_> = (0..10).map(|_| JobSpec { id: beside.generate_beside(), ..job() }).collect();
    store.claim_all(&specs.iter().collect::<Vec<_>>()).await;
    let ends = [
        succeed("1"),
        fail(),
        Finish { last: chunks(1, [7]), ..succeed("2") },
        requeue(),
        succeed(r#"{"a b":[1.50,"é"]}"#),
    ];
    let all = specs.iter().chain(&unknown).chain(specs.iter().skip(4).step_by(5));
    let ended = join_all(all.enumerate().map(async |(n, spec)| {
        // Who ends it a second time is too late, whoever that is.
        let attempt = if n < 130 { 1 } else { 0 };
        store.finish(spec, attempt, &ends[n % ends.len()]).await.unwrap()
    }))
    .await;
    assert!(ended[..130].iter().all(|ended| *ended == Finished::Recorded));
    assert!(ended[130..].iter().all(|ended| *ended == Finished::Late));
    for (n, spec) in specs.iter().chain(&unknown).enumerate() {
        let (job, story) = (store.read(spec).await, store.story(spec).await);
        let result = job.result.as_ref().map(|result| result.text());
        match n % ends.len() {
            0 => assert_eq!((job.state, result), (JobState::Succeeded, Some("1"))),
            1 => assert_eq!((job.state, result), (JobState::Failed, None)),
            2 => {
                assert_eq!((job.state, result), (JobState::Succeeded, Some("2")));
                assert!(story.contains(&"1 chunk 7".to_owned()), "{story:?}");
            }
            3 => assert_eq!((job.state, result), (JobState::Queued, None)),
            _ => assert_eq!(result, Some(r#"{"a b":[1.50,"é"]}"#)),
        }
        assert_eq!(job.attempts.len(), 1, "{job:?}");
    }
}
