//! Why a target is not connected to, in words that say who could change that, and how.

use std::net::IpAddr;

use protocol::egress::{Host, Range, Target};

/// A rule forbids it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The address is of a kind that is denied.
    #[error(
        "{host} is at {address}, which is denied: {rule}. An operator can open it with --egress-allow {}",
        Range::only(*address)
    )]
    Address {
        /// The host as it was asked for.
        host: Host,
        /// Its address.
        address: IpAddr,
        /// What kind of address it is.
        rule: &'static str,
    },
    /// The action has an allow-list without it.
    #[error(
        "{0} is not in the action's allow-list. Whoever publishes the action can add it to `egress.allow`"
    )]
    Unlisted(Target),
    /// It is a server of the fleet.
    #[error("{0} is one of Sortie's own servers, which no handler may reach. No setting opens it")]
    Own(Target),
}

impl Denied {
    pub(super) fn unlisted(target: &Target) -> Self {
        Self::Unlisted(target.clone())
    }

    pub(super) fn own(target: &Target) -> Self {
        Self::Own(target.clone())
    }
}

/// Why there is no address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It may not be.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It can't be resolved now.
    #[error("{name} can't be resolved: {reason}")]
    Unresolved {
        /// The name.
        name: String,
        /// What the resolver says.
        reason: String,
    },
}

impl Refused {
    pub(super) fn unresolved(name: &impl ToString, reason: impl ToString) -> Self {
        Self::Unresolved { name: name.to_string(), reason: reason.to_string() }
    }
}
