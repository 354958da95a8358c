//! Reading one job and its events: from anywhere, as often as one likes, by its own tenant only.
//! What is read here is what a stream shows that was cut and taken up again.

use protocol::event::EventKind;
use protocol::id::JobId;
use protocol::state::JobState;

use super::Fixture;
use crate::sample::{job, succeed, tenant};
use crate::wait::soon;

pub async fn an_unknown_job_is_nobodys(store: Fixture) {
    let spec = job();
    assert_eq!(store.get(&spec.tenant, JobId::generate()).await.unwrap(), None);
    assert_eq!(store.events(&spec.tenant, JobId::generate(), 0, 10).await.unwrap(), None);
}

pub async fn a_job_of_another_tenant_cannot_be_read(store: Fixture) {
    let spec = store.done().await;
    let stranger = tenant("stranger");
    assert_eq!(store.get(&stranger, spec.id).await.unwrap(), None);
    assert_eq!(store.events(&stranger, spec.id, 0, 10).await.unwrap(), None);
}

pub async fn reading_changes_nothing(store: Fixture) {
    let spec = store.running().await;
    let first = (store.read(&spec).await, store.stream(&spec).await);
    for _ in 0..20 {
        assert_eq!((store.read(&spec).await, store.stream(&spec).await), first);
    }
    store.end(&spec, 1, &succeed("1")).await;
}

pub async fn readers_may_start_at_any_event_and_see_the_same(store: Fixture) {
    let spec = store.running().await;
    store.add_chunks(&spec, 1, 1, 1..=20).await;
    store.end(&spec, 1, &succeed("1")).await;
    let all = store.stream(&spec).await;
    assert_eq!(all.len(), 23);
    let other = store.other().await;
    for after in 0..=all.len() {
        for limit in [1, 2, 7, 1000] {
            let page = other.events(&spec.tenant, spec.id, after as u64, limit).await.unwrap().unwrap();
            let end = all.len().min(after + limit);
            assert_eq!(page.events, all[after..end], "after {after}, limit {limit}");
            assert_eq!(page.ended, end == all.len(), "after {after}, limit {limit}");
        }
    }
}

pub async fn a_page_says_whether_more_will_come(store: Fixture) {
    let spec = store.queued().await;
    let page = async |after, limit| {
        let page = store.events(&spec.tenant, spec.id, after, limit).await.unwrap().unwrap();
        (page.events.len(), page.ended)
    };
    assert_eq!(page(0, 10).await, (1, false));
    assert_eq!(page(1, 10).await, (0, false));
    store.start(&spec).await;
    store.end(&spec, 1, &succeed("1")).await;
    assert_eq!(page(0, 10).await, (3, true));
    assert_eq!(page(0, 2).await, (2, false));
    assert_eq!(page(2, 1).await, (1, true));
    assert_eq!(page(3, 10).await, (0, true));
    assert_eq!(page(0, 0).await, (0, false));
}

pub async fn numbers_beyond_every_bound_are_answered(store: Fixture) {
    let spec = store.done().await;
    for after in [4, u64::from(u32::MAX), i64::MAX.unsigned_abs(), u64::MAX] {
        let page = store.events(&spec.tenant, spec.id, after, usize::MAX).await.unwrap().unwrap();
        assert_eq!((page.events.len(), page.ended), (0, true), "{after}");
    }
    assert_eq!(store.events(&spec.tenant, spec.id, 0, usize::MAX).await.unwrap().unwrap().events.len(), 3);
    assert_eq!(store.outbox(std::time::Duration::MAX, usize::MAX).await.unwrap(), []);
    assert_eq!(store.replies(std::time::Duration::MAX, usize::MAX).await.unwrap(), []);
    assert_eq!(store.due(usize::MAX).await.unwrap(), []);
    assert_eq!(store.reap(usize::MAX).await.unwrap(), []);
    assert_eq!(store.expire(usize::MAX).await.unwrap(), 0);
    assert_eq!(store.remove_old(usize::MAX).await.unwrap(), 0);
}

pub async fn what_one_client_writes_another_reads_at_once(store: Fixture) {
    let other = store.other().await;
    let spec = store.queued().await;
    assert_eq!(other.read(&spec).await.state, JobState::Queued);
    assert_eq!(other.start(&spec).await, 1);
    assert_eq!(store.read(&spec).await.state, JobState::Running);
    store.add_chunks(&spec, 1, 1, [1]).await;
    assert_eq!(other.stream(&spec).await.last().map(|event| event.kind), Some(EventKind::Chunk));
}

pub async fn a_ping_of_the_store_is_answered(store: Fixture) {
    soon("an answer to a ping", store.ping()).await.unwrap();
}
