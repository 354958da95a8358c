//! Lists of jobs: newest first, filtered, in pages.
//! People page through lists while jobs come and go.

use std::collections::BTreeMap;

use protocol::id::JobId;
use protocol::job::JobSpec;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::JobFilter;
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{UNICODE, action, fail, finish, job, succeed, tenant};

impl Fixture {
    /// All jobs that the filter lets through, collected page by page.
    async fn listed(&self, filter: JobFilter) -> Vec<JobId> {
        let mut filter = JobFilter { limit: filter.limit.max(1), ..filter };
        let mut ids = Vec::new();
        // A page may be short, but the pages come to an end.
        for _ in 0..1000 {
            let page = self.list(&job().tenant, &filter).await.unwrap();
            assert!(page.jobs.len() <= filter.limit);
            ids.extend(page.jobs.iter().map(|job| job.spec.id));
            if page.next.is_none() {
                return ids;
            }
            filter.before = page.next;
        }
        panic!("the list does not end");
    }

    /// So many queued jobs, newest first.
    async fn several(&self, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.insert(0, self.queued().await.id);
        }
        ids
    }
}

fn all() -> JobFilter {
    JobFilter { limit: 100, ..JobFilter::default() }
}

pub async fn the_newest_job_is_listed_first(store: Fixture) {
    let ids = store.several(10).await;
    let page = store.list(&job().tenant, &all()).await.unwrap();
    assert_eq!(page.jobs.iter().map(|job| job.spec.id).collect::<Vec<_>>(), ids);
    for listed in &page.jobs {
        assert_eq!(*listed, store.read(&listed.spec).await);
    }
}

pub async fn pages_have_no_gap_and_no_repeat(store: Fixture) {
    let ids = store.several(23).await;
    for limit in [1, 2, 7, 22, 23, 24] {
        assert_eq!(store.listed(JobFilter { limit, ..all() }).await, ids, "limit {limit}");
    }
}

/// Not even while jobs come and go.
pub async fn a_page_goes_on_where_the_one_before_ended(store: Fixture) {
    let ids = store.several(10).await;
    let first = store.list(&job().tenant, &JobFilter { limit: 5, ..all() }).await.unwrap();
    let newer = store.several(3).await;
    let rest = store.listed(JobFilter { before: first.next, limit: 2, ..all() }).await;
    let paged: Vec<_> = first.jobs.iter().map(|job| job.spec.id).chain(rest).collect();
    assert_eq!(paged, ids);
    // A page may start at a job that isn't there any more.
    let gone = JobId::generate();
    assert_eq!(store.listed(JobFilter { before: Some(gone), ..all() }).await, [newer, ids].concat());
}

pub async fn a_list_can_be_limited_to_states(store: Fixture) {
    let (queued, running) = (store.queued().await, store.running().await);
    let (done, failed) = (store.done().await, store.running().await);
    store.end(&failed, 1, &fail()).await;
    let with = async |states: &[JobState]| store.listed(JobFilter { states: states.into(), ..all() }).await;
    assert_eq!(with(&[JobState::Queued]).await, [queued.id]);
    assert_eq!(with(&[JobState::Failed, JobState::Succeeded]).await, [failed.id, done.id]);
    assert_eq!(with(&[JobState::Expired]).await, []);
    assert_eq!(with(&JobState::ALL).await, [failed.id, done.id, running.id, queued.id]);
    // A job is found by the state that it has now.
    store.start(&queued).await;
    assert_eq!(with(&[JobState::Queued]).await, []);
    assert_eq!(with(&[JobState::Running]).await, [running.id, queued.id]);
}

pub async fn a_list_can_be_limited_to_an_action(store: Fixture) {
    let other = JobSpec { action: action("weather.get2"), ..job() };
    store.several(2).await;
    store.add(&other).await;
    assert_eq!(store.listed(JobFilter { action: Some(other.action), ..all() }).await, [other.id]);
    assert_eq!(store.listed(JobFilter { action: Some(action("weather")), ..all() }).await, []);
}

pub async fn a_list_can_be_limited_to_a_label(store: Fixture) {
    let labelled = |name: &str, value: &str| JobSpec {
        labels: BTreeMap::from([("more".into(), "x".into()), (name.into(), value.into())]),
        ..job()
    };
    let pairs =
        [("a", "1"), ("a", "2"), ("a1", ""), ("", "a1"), ("A", "1"), (UNICODE, UNICODE), ("a:1", "2")];
    let mut jobs = Vec::new();
    for (name, value) in pairs {
        let spec = labelled(name, value);
        store.add(&spec).await;
        jobs.push(spec.id);
    }
    store.queued().await;
    for ((name, value), id) in pairs.into_iter().zip(jobs) {
        let label = Some((name.to_owned(), value.to_owned()));
        assert_eq!(store.listed(JobFilter { label, ..all() }).await, [id], "{name:?} {value:?}");
    }
    let label = Some(("a".to_owned(), "3".to_owned()));
    assert_eq!(store.listed(JobFilter { label, ..all() }).await, []);
}

pub async fn a_list_can_be_limited_to_dead_letters(store: Fixture) {
    let store = store.with_short_leases().await;
    let (spec, failed) = (store.running().await, store.running().await);
    store.end(&failed, 1, &fail()).await;
    store.start_when_lapsed(&spec).await;
    crate::wait::until("the job is given up", || async {
        store.reap(10).await.unwrap();
        store.read(&spec).await.dead_letter.then_some(())
    })
    .await;
    assert_eq!(store.listed(JobFilter { dead_letters: true, ..all() }).await, [spec.id]);
    assert_eq!(
        store.listed(JobFilter { states: vec![JobState::Failed], ..all() }).await,
        [failed.id, spec.id]
    );
}

pub async fn filters_work_together_and_across_pages(store: Fixture) {
    let mut expected = Vec::new();
    for number in 0..24 {
        let labels = BTreeMap::from([("half".into(), (number % 2).to_string())]);
        let action = action(if number % 3 == 0 { "a" } else { "b" });
        let spec = JobSpec { labels, action, ..job() };
        store.add(&spec).await;
        if number % 4 < 2 {
            store.start(&spec).await;
            store.end(&spec, 1, &succeed("1")).await;
        }
        if number % 12 == 0 {
            expected.insert(0, spec.id);
        }
    }
    let filter = JobFilter {
        states: vec![JobState::Succeeded, JobState::Running],
        action: Some(action("a")),
        label: Some(("half".into(), "0".into())),
        ..all()
    };
    for limit in [1, 2, 100] {
        assert_eq!(store.listed(JobFilter { limit, ..filter.clone() }).await, expected, "limit {limit}");
    }
}

pub async fn a_list_shows_the_tenants_own_jobs_only(store: Fixture) {
    let (own, strange) = (job(), JobSpec { tenant: tenant("stranger"), ..job() });
    store.add(&own).await;
    store.add(&strange).await;
    assert_eq!(store.listed(all()).await, [own.id]);
    let page = store.list(&strange.tenant, &all()).await.unwrap();
    assert_eq!(page.jobs, [store.read(&strange).await]);
    let nobody = store.list(&tenant("nobody"), &all()).await.unwrap();
    assert_eq!((nobody.jobs, nobody.next), (vec![], None));
}

pub async fn a_list_shows_every_end(store: Fixture) {
    let mut ids = Vec::new();
    for verdict in [Verdict::Expire, Verdict::Cancel] {
        let spec = store.running().await;
        store.end(&spec, 1, &finish(Outcome::Crashed, verdict)).await;
        ids.insert(0, spec.id);
    }
    let states = vec![JobState::Cancelled, JobState::Expired];
    assert_eq!(store.listed(JobFilter { states, ..all() }).await, ids);
}
