//! How long finished jobs are kept.
//! Some servers forget by themselves, others when asked: to readers that looks the same.

use protocol::job::JobSpec;
use protocol::ports::{Cancelled, JobFilter};
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Fixture;
use crate::wait::{pass, until};

impl Fixture {
    async fn wait_until_gone(&self, spec: &JobSpec) {
        until("the job is gone", || async {
            self.get(&spec.tenant, spec.id).await.unwrap().is_none().then_some(())
        })
        .await;
    }
}

pub async fn a_finished_job_is_gone_after_the_retention(store: Fixture) {
    let store = store.with_short_retention().await;
    let spec = store.done().await;
    store.wait_until_gone(&spec).await;
    assert_eq!(store.events(&spec.tenant, spec.id, 0, 10).await.unwrap(), None);
    assert_eq!(store.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::NotFound);
}

pub async fn removing_old_jobs_leaves_nothing_that_points_to_them(store: Fixture) {
    let store = store.with_short_retention().await;
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(store.done().await);
    }
    for spec in &old {
        store.wait_until_gone(spec).await;
    }
    let kept = store.queued().await;
    until("nothing is left to remove", || async { (store.remove_old(2).await.unwrap() == 0).then_some(()) })
        .await;
    let filter = JobFilter { limit: 100, ..JobFilter::default() };
    let page = store.list(&kept.tenant, &filter).await.unwrap();
    assert_eq!(page.jobs, [store.read(&kept).await]);
    // A new job gets nothing of an old one, whatever place it takes.
    let fresh = store.queued().await;
    assert_eq!(store.story(&fresh).await, ["0 queued awaiting_worker"]);
}

pub async fn a_job_that_is_not_over_is_kept(store: Fixture) {
    let store = store.with_short_retention().await;
    until("a job is looked at within its retention", || async {
        let (queued, running) = (store.queued().await, store.running().await);
        pass(store.options().retention).await;
        store.remove_old(100).await.unwrap();
        assert_eq!(store.read(&queued).await.state, JobState::Queued);
        let ended = Timestamp::now();
        store.end(&running, 1, &crate::sample::succeed("1")).await;
        store.remove_old(100).await.unwrap();
        let kept = store.get(&running.tenant, running.id).await.unwrap();
        let told = store.events(&running.tenant, running.id, 0, 100).await.unwrap();
        if Timestamp::now() >= ended.plus(store.options().retention) {
            return None;
        }
        // The retention begins with the end.
        assert_eq!(kept.map(|job| job.state), Some(JobState::Succeeded));
        assert_eq!(told.map(|page| page.events.len()), Some(3));
        Some(())
    })
    .await;
}

pub async fn a_job_within_its_retention_is_kept(store: Fixture) {
    let spec = store.done().await;
    assert_eq!(store.remove_old(100).await.unwrap(), 0);
    assert_eq!(store.read(&spec).await.state, JobState::Succeeded);
}
