//! Names and identifiers: each a type of its own, checked where it is made.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
}

/// Declares a text type whose values all obey one rule.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rule of this name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, rule: $rule })
                }
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

/// True if `text` has 1 to `max` characters, starts with a letter or digit and has only `allowed` ones.
fn plain(text: &str, max: usize, allowed: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= max
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| allowed(*b))
}

name!(
    /// The owner of everything below; the unit of isolation.
    TenantId, "a tenant", "1 to 63 of a-z, 0-9, '-' and '_', and start with a letter or digit",
    |t| plain(t, 63, |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
);
name!(
    /// The name of an action, `weather.get` for instance.
    ActionName, "an action name", "1 to 128 letters, digits, '.', '-' and '_', and start with a letter or digit",
    |t| plain(t, 128, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);
name!(
    /// A named queue that some workers serve.
    Lane, "a lane", "1 to 32 of a-z, 0-9, '-' and '_', and start with a letter or digit",
    |t| plain(t, 32, |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
);
name!(
    /// The name of a tenant's secret, `STRIPE_KEY` for instance.
    SecretName, "a secret's name", "1 to 64 letters, digits, '.', '-' and '_', and start with a letter or digit",
    |t| plain(t, 64, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);
name!(
    /// A worker process, unique for its lifetime.
    WorkerId, "a worker id", "1 to 128 letters, digits, '.', '-' and '_', and start with a letter or digit",
    |t| plain(t, 128, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
);
name!(
    /// The public identifier of an API key (not its secret).
    KeyId, "a key id", "1 to 64 letters, digits, '-' and '_', and start with a letter or digit",
    |t| plain(t, 64, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
);
name!(
    /// The SHA-256 of a version's content in lower-case hexadecimal: the content's identity.
    ContentHash, "a content hash", "64 lower-case hexadecimal digits",
    |t| t.len() == 64 && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

impl Lane {
    /// The lane of jobs that ask for none.
    pub fn standard() -> Self {
        Self("default".into())
    }
}

impl TenantId {
    /// The tenant of an installation that needs no other.
    pub fn standard() -> Self {
        Self("default".into())
    }
}

/// A job's identifier: a UUIDv7, so ids sort by the time of their making (RFC 9562 section 5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// The byte of an id that says its group: random in a UUIDv7, whose last 62 bits are.
const GROUP: usize = 15;

impl JobId {
    /// A new id of this instant.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// A new id of this instant, in the same group as this one: backends can do together what they do to both.
    #[must_use]
    pub fn generate_beside(self) -> Self {
        let mut bytes = Uuid::now_v7().into_bytes();
        bytes[GROUP] = self.0.as_bytes()[GROUP];
        Self(Uuid::from_bytes(bytes))
    }

    /// One of `count` groups, the same for ever: backends that spread jobs do it by this number.
    pub fn shard(self, count: u8) -> u8 {
        self.0.as_bytes()[GROUP] % count
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for JobId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        // Only the hyphenated form, so that a job has exactly one name.
        let wrong = NameError { what: "a job id", rule: "a hyphenated UUID" };
        if text.len() != 36 {
            return Err(wrong);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_accept_what_their_rule_says_and_nothing_else() {
        for good in ["weather.get", "A", "a-b_c.9"] {
            assert!(ActionName::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".a", "a b", "a/b", "ä", long.as_str()] {
            assert!(ActionName::new(bad).is_err(), "{bad}");
        }
        assert!(TenantId::new("Team").is_err());
        assert!(SecretName::new("STRIPE_KEY").is_ok());
        assert!(SecretName::new("a/b").is_err());
        assert!(ContentHash::new("0".repeat(64)).is_ok());
        assert!(ContentHash::new("G".repeat(64)).is_err());
    }

    #[test]
    fn job_ids_read_back_and_refuse_other_spellings() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert!(id.to_string().replace('-', "").parse::<JobId>().is_err());
        assert!(id.shard(16) < 16);
        let beside = id.generate_beside();
        assert!(beside > id && (1..=255).all(|count| beside.shard(count) == id.shard(count)));
        assert_eq!(beside.to_string().parse::<JobId>(), Ok(beside));
    }
}
