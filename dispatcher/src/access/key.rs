//! Who asks: turns a presented secret into a [`Caller`], and says what that caller may touch.

use std::collections::BTreeSet;

use protocol::error::{Code, Problem};
use protocol::id::{ActionName, KeyId, TenantId};
use protocol::key::{Key, KeyHash, Scope};
use protocol::ports::Registry;
use protocol::secret::Secret;
use protocol::time::Timestamp;

use super::Verb;
use crate::options::Options;
use crate::trouble;

/// Longer than any secret of ours; what is longer isn't hashed.
const SECRET_BYTES: usize = 512;

/// What stands before the secret in a header.
const SCHEME: &str = "bearer ";

/// Someone whose key was found good: what every verb takes.
#[derive(Debug, Clone)]
pub struct Caller {
    key: Key,
}

impl Caller {
    /// The caller that holds `key`, which has been checked.
    pub fn of(key: Key) -> Self {
        Self { key }
    }

    /// Whose jobs and actions this caller sees.
    pub fn tenant(&self) -> &TenantId {
        &self.key.tenant
    }

    /// The key that asks.
    pub fn key(&self) -> &KeyId {
        &self.key.id
    }

    /// The only actions that this caller may touch; all if `None`.
    pub fn actions(&self) -> Option<&BTreeSet<ActionName>> {
        self.key.actions.as_ref()
    }

    /// True if the caller has a scope that covers `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.key.may(scope)
    }

    /// True if the caller may touch the action.
    pub fn may_touch(&self, action: &ActionName) -> bool {
        self.key.may_touch(action)
    }

    /// Refuses a caller who lacks the verb's scope.
    pub(crate) fn require(&self, verb: Verb) -> Result<(), Problem> {
        self.require_scope(verb.scope())
    }

    /// Refuses a caller who lacks the scope.
    pub(crate) fn require_scope(&self, scope: Scope) -> Result<(), Problem> {
        if self.may(scope) {
            return Ok(());
        }
        let has: Vec<_> = self.key.scopes.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("this needs the scope {scope}; the key {} has {}", self.key.id, has.join(", "));
        Err(Problem::new(Code::ScopeMissing, detail))
    }

    /// Refuses a caller who may not touch the action.
    pub(crate) fn require_action(&self, action: &ActionName) -> Result<(), Problem> {
        if self.may_touch(action) {
            return Ok(());
        }
        let detail = format!("the key {} is limited to other actions than {action}", self.key.id);
        Err(Problem::new(Code::ActionNotAllowed, detail))
    }
}

/// The operator's key, which comes from the options and not from the registry.
#[derive(Debug, Clone)]
pub(crate) struct Admin(Option<Key>);

impl Admin {
    /// The key that the options name.
    pub(crate) fn of(options: &Options) -> Self {
        let id = KeyId::new("admin").ok();
        Self(options.admin_key.as_ref().zip(id).map(|(secret, id)| Key {
            id,
            tenant: options.admin_tenant.clone(),
            name: "admin key".into(),
            hash: KeyHash::of(secret),
            scopes: BTreeSet::from([Scope::Operator]),
            actions: None,
            created_at: Timestamp::now(),
            expires_at: None,
            disabled: false,
        }))
    }
}

/// The caller who presents `secret`.
pub(crate) async fn authenticate(
    admin: &Admin,
    registry: &dyn Registry,
    secret: &Secret,
) -> Result<Caller, Problem> {
    let unknown = || Problem::new(Code::KeyInvalid, "no key has this secret");
    if secret.reveal().len() > SECRET_BYTES {
        return Err(unknown());
    }
    let hash = KeyHash::of(secret);
    if let Some(key) = admin.0.as_ref().filter(|key| same(&key.hash, &hash)) {
        return Ok(Caller::of(key.clone()));
    }
    let key = registry.key_by_hash(&hash).await.map_err(trouble::problem)?.ok_or_else(unknown)?;
    usable(&key, Timestamp::now())?;
    Ok(Caller::of(key))
}

/// The secret in an authorization text, with or without `Bearer ` before it.
pub(crate) fn presented(text: &str) -> &str {
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case(SCHEME) => secret.trim(),
        _ => text.trim(),
    }
}

/// Refuses a key that is disabled or expired.
fn usable(key: &Key, now: Timestamp) -> Result<(), Problem> {
    if key.disabled {
        return Err(Problem::new(Code::KeyDisabled, format!("the key {} is disabled", key.id)));
    }
    match key.expires_at {
        Some(end) if end <= now => {
            Err(Problem::new(Code::KeyExpired, format!("the key {} expired at {end}", key.id)))
        }
        _ => Ok(()),
    }
}

/// Compares in a time that doesn't depend on where the two differ.
fn same(one: &KeyHash, two: &KeyHash) -> bool {
    let (one, two) = (one.as_str().as_bytes(), two.as_str().as_bytes());
    one.len() == two.len() && one.iter().zip(two).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key() -> Key {
        let options = Options { admin_key: Some(Secret::new("sk_a")), ..Options::default() };
        Admin::of(&options).0.unwrap()
    }

    #[test]
    fn disabled_and_expired_keys_have_their_own_codes() {
        let now = Timestamp::now();
        assert_eq!(usable(&key(), now), Ok(()));
        let code = |key: Key| usable(&key, now).err().map(|problem| problem.code);
        assert_eq!(code(Key { disabled: true, ..key() }), Some(Code::KeyDisabled));
        assert_eq!(code(Key { expires_at: Some(now), ..key() }), Some(Code::KeyExpired));
        assert_eq!(code(Key { expires_at: Some(now.plus(Duration::from_secs(1))), ..key() }), None);
    }

    #[test]
    fn hashes_are_the_same_only_if_every_byte_is() {
        let of = |text: &str| KeyHash::of(&Secret::new(text));
        assert!(same(&of("sk_a"), &of("sk_a")));
        assert!(!same(&of("sk_a"), &of("sk_b")));
    }

    #[test]
    fn a_caller_is_told_which_scope_is_missing() {
        let caller = Caller::of(Key { scopes: BTreeSet::from([Scope::JobsRead]), ..key() });
        assert_eq!(caller.require(Verb::GetJob), Ok(()));
        let problem = caller.require(Verb::Submit).unwrap_err();
        assert_eq!(problem.code, Code::ScopeMissing);
        assert!(problem.detail.contains("jobs:write"), "{}", problem.detail);
    }
}
