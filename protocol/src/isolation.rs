//! What keeps a handler apart from the host, the network and other handlers: the words of an attempt's record.

use serde::{Deserialize, Serialize};

/// What kept the handler of an attempt apart: a closed set, told by the worker with its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Everything that a sandbox has: namespaces, system call filter, limits, and the egress gate as the only way out.
    Sandbox,
    /// A part of it: what the host allowed a worker that was told to do its best.
    Partial,
    /// A process of its own and nothing more; also attempts of releases that did not record it.
    #[default]
    None,
    /// No code of users ran, only a described request through the egress gate: HTTP handlers.
    Gate,
}

impl Isolation {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Sandbox, Self::Partial, Self::None, Self::Gate];

    /// The name in the API and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Partial => "partial",
            Self::None => "none",
            Self::Gate => "gate",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isolation| isolation.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_api_and_read_back() {
        for isolation in Isolation::ALL {
            assert_eq!(serde_json::to_value(isolation).unwrap(), isolation.as_str());
            assert_eq!(Isolation::from_name(isolation.as_str()), Some(isolation));
        }
        assert_eq!(Isolation::from_name("jail"), None);
    }
}
