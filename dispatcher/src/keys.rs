//! API keys: made, shown, switched, deleted. Nobody can give what they lack, nor touch a key that can do
//! more than their own.

use std::collections::BTreeSet;

use protocol::error::{Code, Fault, Problem};
use protocol::id::{ActionName, KeyId, TenantId};
use protocol::key::{Key, KeyHash, Scope, new_secret};
use protocol::secret::Secret;
use protocol::time::Timestamp;
use serde::Deserialize;

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake;
use crate::trouble;

/// Characters of a key's name.
const NAME_CHARS: usize = 128;

/// A key to be made: the body of `POST /v1/keys`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only actions it may touch; all if absent.
    #[serde(default)]
    pub actions: Option<BTreeSet<ActionName>>,
    /// When it stops working; never if absent.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whose it is; the caller's tenant if absent. Only the operator can name another.
    #[serde(default)]
    pub tenant: Option<TenantId>,
}

impl NewKey {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        intake::read(body)
    }
}

/// Makes a key.
pub(crate) async fn create(
    dispatcher: &Dispatcher,
    caller: &Caller,
    new: NewKey,
) -> Result<(Key, Secret), Problem> {
    let now = Timestamp::now();
    let faults = faults(&new, now);
    if !faults.is_empty() {
        return Err(intake::invalid(faults));
    }
    may_grant(caller, &new.scopes, new.actions.as_ref())?;
    let tenant = tenant(caller, new.tenant)?;
    let no_random = |_| Problem::new(Code::Internal, "the operating system gives no random bytes");
    let secret = new_secret().map_err(no_random)?;
    let key = Key {
        id: new_id().ok_or_else(|| Problem::new(Code::Internal, "no id for the key could be made"))?,
        tenant,
        name: new.name,
        hash: KeyHash::of(&secret),
        scopes: new.scopes,
        actions: new.actions,
        created_at: now,
        expires_at: new.expires_at,
        disabled: false,
    };
    if !dispatcher.registry().create_key(&key).await.map_err(trouble::problem)? {
        return Err(Problem::new(Code::Internal, "the key's id is taken; try again"));
    }
    Ok((key, secret))
}

/// The keys of a tenant.
pub(crate) async fn list(
    dispatcher: &Dispatcher,
    caller: &Caller,
    of: Option<TenantId>,
) -> Result<Vec<Key>, Problem> {
    let tenant = tenant(caller, of)?;
    dispatcher.registry().keys(&tenant).await.map_err(trouble::problem)
}

/// One key of a tenant.
pub(crate) async fn get(
    dispatcher: &Dispatcher,
    caller: &Caller,
    of: Option<TenantId>,
    id: &KeyId,
) -> Result<Key, Problem> {
    let keys = list(dispatcher, caller, of).await?;
    keys.into_iter().find(|key| key.id == *id).ok_or_else(|| no_key(id))
}

/// Disables or enables a key.
pub(crate) async fn set_disabled(
    dispatcher: &Dispatcher,
    caller: &Caller,
    of: Option<TenantId>,
    id: &KeyId,
    disabled: bool,
) -> Result<Key, Problem> {
    let key = governed(dispatcher, caller, of, id).await?;
    let key = dispatcher.registry().set_key_disabled(&key.tenant, id, disabled).await;
    key.map_err(trouble::problem)?.ok_or_else(|| no_key(id))
}

/// Deletes a key.
pub(crate) async fn delete(
    dispatcher: &Dispatcher,
    caller: &Caller,
    of: Option<TenantId>,
    id: &KeyId,
) -> Result<(), Problem> {
    let key = governed(dispatcher, caller, of, id).await?;
    let deleted = dispatcher.registry().delete_key(&key.tenant, id).await.map_err(trouble::problem)?;
    if deleted { Ok(()) } else { Err(no_key(id)) }
}

/// There is no such key.
pub(crate) fn no_key(id: impl std::fmt::Display) -> Problem {
    Problem::new(Code::KeyNotFound, format!("there is no key {id}"))
}

/// A key that can do no more than the caller, and so may be changed by them.
async fn governed(
    dispatcher: &Dispatcher,
    caller: &Caller,
    of: Option<TenantId>,
    id: &KeyId,
) -> Result<Key, Problem> {
    let key = get(dispatcher, caller, of, id).await?;
    may_grant(caller, &key.scopes, key.actions.as_ref())?;
    Ok(key)
}

/// The tenant that is meant: the caller's own, or any for the operator.
fn tenant(caller: &Caller, named: Option<TenantId>) -> Result<TenantId, Problem> {
    match named {
        Some(tenant) if tenant != *caller.tenant() => {
            caller.require_scope(Scope::Operator)?;
            Ok(tenant)
        }
        _ => Ok(caller.tenant().clone()),
    }
}

/// Refuses scopes that the caller lacks, and actions that the caller may not touch.
fn may_grant(
    caller: &Caller,
    scopes: &BTreeSet<Scope>,
    actions: Option<&BTreeSet<ActionName>>,
) -> Result<(), Problem> {
    scopes.iter().try_for_each(|scope| caller.require_scope(*scope))?;
    match (caller.actions(), actions) {
        (Some(_), None) => Err(Problem::new(
            Code::ActionNotAllowed,
            format!("the key {} is limited to some actions and can't govern one that is not", caller.key()),
        )),
        (_, Some(actions)) => actions.iter().try_for_each(|action| caller.require_action(action)),
        (None, None) => Ok(()),
    }
}

fn faults(new: &NewKey, now: Timestamp) -> Vec<Fault> {
    let mut faults = Vec::new();
    let length = new.name.chars().count();
    if new.name.trim().is_empty() || length > NAME_CHARS {
        faults.push(Fault::at("/name", format!("has 1 to {NAME_CHARS} characters, not only blanks")));
    }
    if new.scopes.is_empty() {
        faults.push(Fault::at("/scopes", "names at least one scope"));
    }
    if new.actions.as_ref().is_some_and(BTreeSet::is_empty) {
        faults.push(Fault::at("/actions", "names at least one action; leave it out for all of them"));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        faults.push(Fault::at("/expires_at", "lies in the past"));
    }
    faults
}

fn new_id() -> Option<KeyId> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).ok()?;
    KeyId::new(format!("key_{:016x}", u64::from_be_bytes(bytes))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scopes: &[Scope], actions: Option<&[&str]>) -> Caller {
        Caller::of(Key {
            id: new_id().unwrap(),
            tenant: TenantId::standard(),
            name: "test".into(),
            hash: KeyHash::of(&Secret::new("sk_x")),
            scopes: scopes.iter().copied().collect(),
            actions: actions.map(names),
            created_at: Timestamp::now(),
            expires_at: None,
            disabled: false,
        })
    }

    fn names(names: &[&str]) -> BTreeSet<ActionName> {
        names.iter().map(|name| ActionName::new(name).unwrap()).collect()
    }

    #[test]
    fn nobody_gives_what_they_lack() {
        let grant = |caller: &Caller, scope, actions: Option<&[&str]>| {
            let actions = actions.map(names);
            may_grant(caller, &BTreeSet::from([scope]), actions.as_ref()).map_err(|problem| problem.code)
        };
        let admin = caller(&[Scope::Admin], None);
        assert_eq!(grant(&admin, Scope::JobsWrite, None), Ok(()));
        assert_eq!(grant(&admin, Scope::Operator, None), Err(Code::ScopeMissing));
        let limited = caller(&[Scope::Admin], Some(&["a", "b"]));
        assert_eq!(grant(&limited, Scope::JobsRead, Some(&["a"])), Ok(()));
        assert_eq!(grant(&limited, Scope::JobsRead, Some(&["c"])), Err(Code::ActionNotAllowed));
        assert_eq!(grant(&limited, Scope::JobsRead, None), Err(Code::ActionNotAllowed));
    }

    #[test]
    fn only_the_operator_reaches_another_tenant() {
        let other = TenantId::new("other").unwrap();
        let code =
            tenant(&caller(&[Scope::Admin], None), Some(other.clone())).map_err(|problem| problem.code);
        assert_eq!(code, Err(Code::ScopeMissing));
        assert_eq!(tenant(&caller(&[Scope::Operator], None), Some(other.clone())), Ok(other));
        assert_eq!(tenant(&caller(&[Scope::Admin], None), None), Ok(TenantId::standard()));
    }
}
