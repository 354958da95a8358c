//! API keys: a tenant's credentials, and the scopes that say what one may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{ActionName, KeyId, TenantId};
use crate::secret::Secret;
use crate::time::Timestamp;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Submit and cancel jobs.
    #[serde(rename = "jobs:write")]
    JobsWrite,
    /// Read jobs and their events.
    #[serde(rename = "jobs:read")]
    JobsRead,
    /// Publish, enable, disable and delete actions.
    #[serde(rename = "actions:write")]
    ActionsWrite,
    /// Read actions and their versions.
    #[serde(rename = "actions:read")]
    ActionsRead,
    /// Test unsaved drafts.
    #[serde(rename = "actions:run")]
    ActionsRun,
    /// Set, list and delete secrets. Their values can't be read back.
    #[serde(rename = "secrets:write")]
    SecretsWrite,
    /// Everything within the tenant, keys included.
    #[serde(rename = "admin")]
    Admin,
    /// Everything in every tenant: the operator of the installation.
    #[serde(rename = "operator")]
    Operator,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::JobsWrite,
        Self::JobsRead,
        Self::ActionsWrite,
        Self::ActionsRead,
        Self::ActionsRun,
        Self::SecretsWrite,
        Self::Admin,
        Self::Operator,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobsWrite => "jobs:write",
            Self::JobsRead => "jobs:read",
            Self::ActionsWrite => "actions:write",
            Self::ActionsRead => "actions:read",
            Self::ActionsRun => "actions:run",
            Self::SecretsWrite => "secrets:write",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// True if a key with this scope may do what needs `wanted`.
    pub fn covers(self, wanted: Self) -> bool {
        self == wanted || self == Self::Operator || (self == Self::Admin && wanted != Self::Operator)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key as it is stored: never the secret, only its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its public identifier.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret. A fast hash is right: the secret has 256 random bits, nothing can be guessed.
    pub hash: KeyHash,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only actions it may touch; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<BTreeSet<ActionName>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// A disabled key works for nothing until it is enabled again.
    pub disabled: bool,
}

/// The SHA-256 of a key's secret, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(String);

impl KeyHash {
    /// The hash of `secret`.
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.reveal().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    /// True if this key has a scope that covers `wanted`.
    pub fn may(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.covers(wanted))
    }

    /// True if this key may touch the action.
    pub fn may_touch(&self, action: &ActionName) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(action))
    }
}

/// A new random secret: `sk_` and 256 bits from the operating system, in lower-case hexadecimal.
pub fn new_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(bytes.iter().fold(String::from("sk_"), |text, byte| format!("{text}{byte:02x}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_covers_its_tenant_and_operator_everything() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
            assert!(Scope::Operator.covers(scope));
            assert_eq!(Scope::Admin.covers(scope), scope != Scope::Operator);
            assert_eq!(Scope::JobsRead.covers(scope), scope == Scope::JobsRead);
        }
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert_eq!(one.reveal().len(), 67);
        assert_ne!(one, two);
        assert_eq!(KeyHash::of(&one), KeyHash::of(&one));
    }
}
