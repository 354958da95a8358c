//! Actions: the switch, lists and deletion.
//! What is deleted is found no more, but its contents and its numbers are never given up.

use super::{Fixture, name, us};
use crate::sample::{action, content, tenant};
use crate::wait::soon;

pub async fn the_switch_is_set_with_a_publication_or_left(registry: Fixture) {
    let expected = [(None, true), (Some(false), false), (None, false), (Some(true), true), (None, true)];
    for ((enabled, expected), source) in expected.into_iter().zip(1..) {
        let content = content(&source.to_string());
        let published = registry.publish(&us(), &name(), &content, enabled).await.unwrap();
        assert_eq!(published.action.enabled, expected, "{enabled:?}");
        assert_eq!(registry.read().await, published.action);
    }
}

pub async fn a_content_that_is_there_already_still_sets_the_switch(registry: Fixture) {
    registry.put_source("1").await;
    let published = registry.publish(&us(), &name(), &content("1"), Some(false)).await.unwrap();
    assert!(!published.created && !published.action.enabled);
    assert!(!registry.read().await.enabled);
}

pub async fn the_switch_is_flipped_without_a_new_version(registry: Fixture) {
    registry.put_source("1").await;
    let before = registry.read().await;
    for enabled in [false, false, true] {
        let action = registry.set_enabled(&us(), &name(), enabled).await.unwrap().unwrap();
        assert_eq!((action.enabled, &action.latest), (enabled, &before.latest));
        assert_eq!(action.created_at, before.created_at);
        assert_eq!(registry.read().await, action);
    }
    assert_eq!(registry.set_enabled(&us(), &action("other"), true).await.unwrap(), None);
    assert_eq!(registry.set_enabled(&tenant("stranger"), &name(), false).await.unwrap(), None);
    assert!(registry.read().await.enabled);
}

pub async fn times_of_an_action_tell_its_first_and_its_last_change(registry: Fixture) {
    let first = registry.put(&content("1")).await.action;
    crate::wait::pass(std::time::Duration::from_millis(5)).await;
    let second = registry.put(&content("2")).await.action;
    assert_eq!(second.created_at, first.created_at);
    assert!(second.updated_at > first.updated_at && second.latest.created_at > first.latest.created_at);
}

pub async fn actions_are_listed_by_name_in_pages(registry: Fixture) {
    let names = ["A", "Z.a", "a", "a-b", "a.b", "a.b.c", "aa", "b_1", "z"].map(action);
    for name in names.iter().rev() {
        registry.publish(&us(), name, &content("1"), None).await.unwrap();
    }
    registry.publish(&tenant("stranger"), &action("m"), &content("1"), None).await.unwrap();
    for limit in [1, 2, 4, 9, 100] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = registry.actions(&us(), after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            listed.extend(page.into_iter().map(|action| action.name));
        }
        assert_eq!(listed, names, "limit {limit}");
    }
    // A page may start behind a name that isn't there.
    let page = registry.actions(&us(), Some(&action("a.b.a")), 1).await.unwrap();
    assert_eq!(page[0].name, action("a.b.c"));
    assert_eq!(page, [registry.action(&us(), &page[0].name).await.unwrap().unwrap()]);
    assert_eq!(registry.actions(&tenant("nobody"), None, 10).await.unwrap(), []);
}

pub async fn a_deleted_action_is_found_no_more(registry: Fixture) {
    registry.put_source("1").await;
    registry.publish(&us(), &action("other"), &content("1"), None).await.unwrap();
    assert!(registry.delete_action(&us(), &name()).await.unwrap());
    assert_eq!(registry.action(&us(), &name()).await.unwrap(), None);
    assert_eq!(registry.versions(&us(), &name()).await.unwrap(), []);
    assert_eq!(registry.version(&us(), &name(), 1).await.unwrap(), None);
    assert_eq!(registry.set_enabled(&us(), &name(), true).await.unwrap(), None);
    assert!(!registry.delete_action(&us(), &name()).await.unwrap());
    let left = registry.actions(&us(), None, 10).await.unwrap();
    assert_eq!(left.iter().map(|action| action.name.as_str()).collect::<Vec<_>>(), ["other"]);
}

pub async fn deleting_what_is_not_there_says_so(registry: Fixture) {
    registry.put_source("1").await;
    assert!(!registry.delete_action(&us(), &action("other")).await.unwrap());
    assert!(!registry.delete_action(&tenant("stranger"), &name()).await.unwrap());
    assert_eq!(registry.read().await.latest.number, 1);
}

/// Jobs that were accepted before still run.
pub async fn contents_of_a_deleted_action_stay_readable(registry: Fixture) {
    let contents = [content("1"), content("2")];
    for content in &contents {
        registry.put(content).await;
    }
    assert!(registry.delete_action(&us(), &name()).await.unwrap());
    let registry = registry.reopened().await;
    for content in contents {
        assert_eq!(registry.content(&us(), &content.hash()).await.unwrap(), Some(content));
    }
}

pub async fn a_name_that_is_made_again_goes_on_counting(registry: Fixture) {
    assert_eq!(registry.put_source("1").await, 1);
    assert_eq!(registry.put_source("2").await, 2);
    assert!(registry.delete_action(&us(), &name()).await.unwrap());
    // Even with the content that was the latest.
    let published = registry.put(&content("2")).await;
    assert!(published.created);
    assert_eq!(published.action.latest.number, 3);
    assert_eq!(registry.read().await, published.action);
    assert_eq!(registry.put_source("3").await, 4);
}

pub async fn a_ping_of_the_registry_is_answered(registry: Fixture) {
    soon("an answer to a ping", registry.ping()).await.unwrap();
}
