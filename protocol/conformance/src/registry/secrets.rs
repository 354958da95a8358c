//! Sealed secrets: kept by name for their tenant, replaced as a whole, never looked into.

use protocol::limits::TENANT_SECRETS;
use protocol::ports::{PutSecret, SecretInfo};
use protocol::seal::Sealed;

use super::{Fixture, us};
use crate::sample::{sealed, secret, tenant};
use crate::wait::{race, until};

impl Fixture {
    /// Sets a secret of ours.
    async fn set(&self, name: &str, sealed: &Sealed) -> PutSecret {
        self.put_secret(&us(), &secret(name), sealed).await.unwrap().unwrap()
    }

    /// A secret of ours as it is stored.
    async fn sealed(&self, name: &str) -> Option<Sealed> {
        self.secret(&us(), &secret(name)).await.unwrap()
    }

    async fn ours(&self) -> Vec<SecretInfo> {
        self.secrets(&us()).await.unwrap()
    }
}

pub async fn a_secret_is_read_as_it_was_sealed(registry: Fixture) {
    let put = registry.set("API_KEY", &sealed('a')).await;
    assert!(put.created);
    assert_eq!((put.info.name.as_str(), put.info.master_key.as_str()), ("API_KEY", "0123456789abcdef"));
    assert_eq!(put.info.created_at, put.info.updated_at);
    assert_eq!(registry.sealed("API_KEY").await, Some(sealed('a')));
}

pub async fn a_secret_that_is_set_again_is_replaced_and_keeps_its_first_time(registry: Fixture) {
    let first = registry.set("API_KEY", &sealed('a')).await.info;
    let again = until("the clock moves", || async {
        let put = registry.set("API_KEY", &sealed('b')).await;
        assert!(!put.created);
        (put.info.updated_at > first.updated_at).then_some(put.info)
    })
    .await;
    assert_eq!(again.created_at, first.created_at);
    assert_eq!(registry.sealed("API_KEY").await, Some(sealed('b')));
    assert_eq!(registry.ours().await, [again]);
}

pub async fn a_secret_that_was_never_set_is_not_there(registry: Fixture) {
    assert_eq!(registry.sealed("NOBODY").await, None);
    assert!(!registry.delete_secret(&us(), &secret("NOBODY")).await.unwrap());
    assert_eq!(registry.ours().await, []);
}

pub async fn secrets_are_listed_by_name_without_what_is_sealed(registry: Fixture) {
    for name in ["b", "a-1", "B", "a_1", "a.1", "a"] {
        registry.set(name, &sealed('a')).await;
    }
    let names: Vec<_> = registry.ours().await.into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["B", "a", "a-1", "a.1", "a_1", "b"].map(secret));
}

pub async fn a_deleted_secret_is_found_no_more(registry: Fixture) {
    registry.set("ONE", &sealed('a')).await;
    let two = registry.set("TWO", &sealed('b')).await.info;
    assert!(registry.delete_secret(&us(), &secret("ONE")).await.unwrap());
    assert!(!registry.delete_secret(&us(), &secret("ONE")).await.unwrap());
    assert_eq!(registry.sealed("ONE").await, None);
    assert_eq!(registry.ours().await, [two]);
    assert!(registry.set("ONE", &sealed('c')).await.created, "its name is free again");
}

pub async fn a_secret_of_another_tenant_is_out_of_reach(registry: Fixture) {
    let stranger = tenant("stranger");
    registry.set("API_KEY", &sealed('a')).await;
    assert_eq!(registry.secret(&stranger, &secret("API_KEY")).await.unwrap(), None);
    assert_eq!(registry.secrets(&stranger).await.unwrap(), []);
    assert!(!registry.delete_secret(&stranger, &secret("API_KEY")).await.unwrap());
    let theirs = registry.put_secret(&stranger, &secret("API_KEY"), &sealed('b')).await.unwrap().unwrap();
    assert!(theirs.created);
    assert_eq!(registry.sealed("API_KEY").await, Some(sealed('a')));
    assert!(registry.delete_secret(&stranger, &secret("API_KEY")).await.unwrap());
    assert_eq!(registry.ours().await.len(), 1);
}

pub async fn a_race_to_set_a_secret_creates_it_once(registry: Fixture) {
    let (one, other) = (registry.clone(), registry.other().await);
    let puts = race(20, move |n| {
        let registry = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { registry.set("API_KEY", &sealed(if n % 2 == 0 { 'a' } else { 'b' })).await }
    })
    .await;
    assert_eq!(puts.iter().filter(|put| put.created).count(), 1);
    assert!([Some(sealed('a')), Some(sealed('b'))].contains(&registry.sealed("API_KEY").await));
}

pub async fn a_tenant_has_a_thousand_secrets_at_most(registry: Fixture) {
    const MORE: usize = 20;
    let (one, other) = (registry.clone(), registry.other().await);
    let puts = race(TENANT_SECRETS + MORE, move |n| {
        let registry = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { registry.put_secret(&us(), &secret(&format!("S{n}")), &sealed('a')).await.unwrap() }
    })
    .await;
    assert_eq!(puts.iter().filter(|put| put.is_none()).count(), MORE);
    let ours = registry.ours().await;
    assert_eq!(ours.len(), TENANT_SECRETS);
    // Those that are there can be replaced, others have their own thousand, and one that goes makes room.
    let name = &ours[0].name;
    assert!(!registry.set(name.as_str(), &sealed('b')).await.created);
    assert!(registry.put_secret(&tenant("stranger"), name, &sealed('a')).await.unwrap().is_some());
    assert!(registry.delete_secret(&us(), name).await.unwrap());
    assert!(registry.set("NEW", &sealed('a')).await.created);
    assert_eq!(registry.put_secret(&us(), name, &sealed('a')).await.unwrap(), None);
}

pub async fn a_large_secret_is_kept_to_the_letter(registry: Fixture) {
    // Larger than the largest value that may be set, sealed.
    let large: Sealed = format!("v1:fedcba9876543210:{}", "+/zA".repeat(8 * 1024)).parse().unwrap();
    registry.set("LARGE", &large).await;
    assert_eq!(registry.sealed("LARGE").await, Some(large));
    assert_eq!(registry.ours().await[0].master_key, "fedcba9876543210");
}

pub async fn secrets_survive_a_restart(registry: Fixture) {
    let info = registry.set("API_KEY", &sealed('a')).await.info;
    let registry = registry.reopened().await;
    assert_eq!(registry.sealed("API_KEY").await, Some(sealed('a')));
    assert_eq!(registry.ours().await, [info]);
}
