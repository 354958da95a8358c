//! Versions: immutable contents with numbers that are given once.
//! A version never changes and its number never means anything else.

use std::collections::BTreeSet;

use protocol::action::{Content, Handler};

use super::{Fixture, name, us};
use crate::sample::{UNICODE, action, content, tenant};
use crate::wait::race;

pub async fn the_first_publication_makes_version_one(registry: Fixture) {
    let content = content("1");
    let published = registry.put(&content).await;
    assert!(published.created);
    let action = published.action;
    assert_eq!((&action.tenant, &action.name, action.enabled), (&us(), &name(), true));
    assert_eq!((action.latest.number, &action.latest.content_hash), (1, &content.hash()));
    assert_eq!(registry.read().await, action);
    assert_eq!(registry.versions(&us(), &name()).await.unwrap(), [action.latest]);
}

pub async fn every_new_content_makes_the_next_version(registry: Fixture) {
    for number in 1..=5 {
        assert_eq!(registry.put_source(&number.to_string()).await, number);
    }
    let versions = registry.versions(&us(), &name()).await.unwrap();
    let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1], "newest first");
    assert_eq!(registry.read().await.latest, versions[0]);
    for version in versions {
        let hash = content(&version.number.to_string()).hash();
        assert_eq!(version.content_hash, hash);
        assert_eq!(registry.version(&us(), &name(), version.number).await.unwrap(), Some(version));
    }
}

pub async fn the_same_content_makes_no_new_version(registry: Fixture) {
    registry.put_source("1").await;
    let before = registry.read().await;
    for _ in 0..3 {
        let published = registry.put(&content("1")).await;
        assert!(!published.created);
        assert_eq!(published.action.latest, before.latest);
    }
    assert_eq!(registry.versions(&us(), &name()).await.unwrap().len(), 1);
}

pub async fn an_older_content_makes_a_new_version(registry: Fixture) {
    for (source, number) in [("1", 1), ("2", 2), ("1", 3)] {
        assert_eq!(registry.put_source(source).await, number);
    }
    let versions = registry.versions(&us(), &name()).await.unwrap();
    assert_eq!(versions.len(), 3);
    assert_eq!(versions[0].content_hash, versions[2].content_hash);
}

pub async fn a_version_that_is_not_there_is_nobodys(registry: Fixture) {
    registry.put_source("1").await;
    for number in [0, 2, u32::MAX] {
        assert_eq!(registry.version(&us(), &name(), number).await.unwrap(), None);
    }
    assert_eq!(registry.version(&us(), &action("other"), 1).await.unwrap(), None);
    assert_eq!(registry.versions(&us(), &action("other")).await.unwrap(), []);
    assert_eq!(registry.action(&us(), &action("other")).await.unwrap(), None);
}

pub async fn a_race_of_twenty_contents_gives_twenty_numbers(registry: Fixture) {
    let (one, other) = (registry.clone(), registry.other().await);
    let numbers = race(20, move |n| {
        let registry = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move {
            let published = registry.put(&content(&n.to_string())).await;
            assert!(published.created);
            (published.action.latest.number, content(&n.to_string()).hash())
        }
    })
    .await;
    let given: BTreeSet<_> = numbers.iter().map(|(number, _)| *number).collect();
    assert_eq!(given, (1..=20).collect());
    for (number, hash) in numbers {
        let version = registry.version(&us(), &name(), number).await.unwrap();
        assert_eq!(version.map(|version| version.content_hash), Some(hash));
    }
    assert_eq!(registry.read().await.latest.number, 20);
}

pub async fn a_race_of_one_content_makes_one_version(registry: Fixture) {
    let (one, other) = (registry.clone(), registry.other().await);
    let created = race(20, move |n| {
        let registry = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { registry.put(&content("1")).await.created }
    })
    .await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(registry.read().await.latest.number, 1);
}

pub async fn tenants_number_and_see_their_own_versions(registry: Fixture) {
    registry.put_source("1").await;
    registry.put_source("2").await;
    let stranger = tenant("stranger");
    assert_eq!(registry.action(&stranger, &name()).await.unwrap(), None);
    assert_eq!(registry.versions(&stranger, &name()).await.unwrap(), []);
    assert_eq!(registry.version(&stranger, &name(), 1).await.unwrap(), None);
    let published = registry.publish(&stranger, &name(), &content("2"), Some(false)).await.unwrap();
    assert!(published.created);
    assert_eq!((published.action.latest.number, published.action.tenant), (1, stranger));
    assert_eq!((registry.read().await.latest.number, registry.read().await.enabled), (2, true));
}

pub async fn a_large_content_is_kept_to_the_letter(registry: Fixture) {
    let source = UNICODE.repeat(protocol::limits::CONTENT_BYTES / UNICODE.len() / 2);
    let content = Content { handler: Handler::Python { source }, ..content("") };
    registry.put(&content).await;
    let kept = registry.content(&us(), &content.hash()).await.unwrap();
    assert!(kept == Some(content), "a large content differs");
}

pub async fn versions_survive_a_restart(registry: Fixture) {
    registry.put_source("1").await;
    registry.put_source("2").await;
    let before = (registry.read().await, registry.versions(&us(), &name()).await.unwrap());
    let registry = registry.reopened().await;
    assert_eq!((registry.read().await, registry.versions(&us(), &name()).await.unwrap()), before);
    assert_eq!(registry.put_source("3").await, 3);
}
