//! API keys: found by the hash of their secret, kept by their tenant.
//! The one place of the registry that is asked without knowing the tenant is the hash of a secret.

use protocol::id::KeyId;
use protocol::key::{Key, KeyHash};
use protocol::secret::Secret;

use super::{Fixture, us};
use crate::sample::{key, tenant};
use crate::wait::race;

impl Fixture {
    /// A new key of ours, stored.
    async fn keep(&self, id: &str, secret: &str) -> Key {
        let key = key(&us(), id, secret);
        assert!(self.create_key(&key).await.unwrap());
        key
    }

    async fn by_secret(&self, secret: &str) -> Option<Key> {
        self.key_by_hash(&KeyHash::of(&Secret::new(secret))).await.unwrap()
    }
}

pub async fn a_key_is_found_by_the_hash_of_its_secret(registry: Fixture) {
    let bare = Key { actions: None, expires_at: None, ..key(&us(), "bare", "sk_bare") };
    assert!(registry.create_key(&bare).await.unwrap());
    let full = registry.keep("full", "sk_full").await;
    assert_eq!(registry.by_secret("sk_bare").await, Some(bare));
    assert_eq!(registry.by_secret("sk_full").await, Some(full), "expired or not");
    assert_eq!(registry.by_secret("sk_other").await, None);
}

pub async fn a_taken_id_or_secret_is_refused(registry: Fixture) {
    let first = registry.keep("one", "sk_1").await;
    assert!(!registry.create_key(&first).await.unwrap());
    assert!(!registry.create_key(&key(&us(), "one", "sk_2")).await.unwrap());
    assert!(!registry.create_key(&key(&us(), "two", "sk_1")).await.unwrap());
    assert!(!registry.create_key(&key(&tenant("stranger"), "two", "sk_1")).await.unwrap());
    // Nothing of the refused ones stays.
    assert_eq!(registry.by_secret("sk_2").await, None);
    assert_eq!(registry.by_secret("sk_1").await, Some(first.clone()));
    assert_eq!(registry.keys(&us()).await.unwrap(), [first]);
    assert_eq!(registry.keys(&tenant("stranger")).await.unwrap(), []);
}

pub async fn a_race_for_one_id_has_one_winner(registry: Fixture) {
    let (one, other) = (registry.clone(), registry.other().await);
    let created = race(20, move |n| {
        let registry = if n % 2 == 0 { one.clone() } else { other.clone() };
        async move { registry.create_key(&key(&us(), "one", &format!("sk_{n}"))).await.unwrap() }
    })
    .await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    let winner = created.iter().position(|created| *created).unwrap();
    let kept = registry.keys(&us()).await.unwrap();
    assert_eq!(kept, [key(&us(), "one", &format!("sk_{winner}"))]);
}

pub async fn keys_are_listed_by_id_for_their_tenant(registry: Fixture) {
    for id in ["b", "a-1", "B", "a_1", "a"] {
        registry.keep(id, id).await;
    }
    let strange = key(&tenant("stranger"), "c", "c");
    assert!(registry.create_key(&strange).await.unwrap());
    let ids: Vec<_> = registry.keys(&us()).await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(ids, ["B", "a", "a-1", "a_1", "b"].map(|id| KeyId::new(id).unwrap()));
    assert_eq!(registry.keys(&strange.tenant).await.unwrap(), [strange]);
}

pub async fn a_key_is_disabled_and_enabled(registry: Fixture) {
    let key = registry.keep("one", "sk_1").await;
    for disabled in [true, true, false] {
        let expected = Some(Key { disabled, ..key.clone() });
        assert_eq!(registry.set_key_disabled(&us(), &key.id, disabled).await.unwrap(), expected);
        assert_eq!(registry.by_secret("sk_1").await, expected);
    }
}

pub async fn a_deleted_key_is_found_no_more(registry: Fixture) {
    let (one, two) = (registry.keep("one", "sk_1").await, registry.keep("two", "sk_2").await);
    assert!(registry.delete_key(&us(), &one.id).await.unwrap());
    assert!(!registry.delete_key(&us(), &one.id).await.unwrap());
    assert_eq!(registry.by_secret("sk_1").await, None);
    assert_eq!(registry.set_key_disabled(&us(), &one.id, false).await.unwrap(), None);
    assert_eq!(registry.keys(&us()).await.unwrap(), [two]);
    // Both its id and its secret are free again.
    registry.keep("one", "sk_3").await;
    registry.keep("three", "sk_1").await;
}

pub async fn a_key_of_another_tenant_is_out_of_reach(registry: Fixture) {
    let (key, stranger) = (registry.keep("one", "sk_1").await, tenant("stranger"));
    assert_eq!(registry.set_key_disabled(&stranger, &key.id, true).await.unwrap(), None);
    assert!(!registry.delete_key(&stranger, &key.id).await.unwrap());
    assert_eq!(registry.by_secret("sk_1").await, Some(key));
}

pub async fn a_key_that_was_never_made_is_not_there(registry: Fixture) {
    let id = KeyId::new("nobody").unwrap();
    assert_eq!(registry.set_key_disabled(&us(), &id, true).await.unwrap(), None);
    assert!(!registry.delete_key(&us(), &id).await.unwrap());
    assert_eq!(registry.keys(&us()).await.unwrap(), []);
}

pub async fn keys_survive_a_restart(registry: Fixture) {
    let key = registry.keep("one", "sk_1").await;
    registry.set_key_disabled(&us(), &key.id, true).await.unwrap();
    let registry = registry.reopened().await;
    assert_eq!(registry.by_secret("sk_1").await, Some(Key { disabled: true, ..key }));
}
