//! Where a handler may connect to, in words that dispatcher and worker share: hosts, address ranges, and the
//! allow-list of an action. Pure; the worker's egress gate keeps to it.

mod host;
mod pattern;
mod range;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use host::{Host, HostError, Target, TargetError};
pub use pattern::{HostPattern, PatternError};
pub use range::{Range, RangeError};

/// The allow-list of an action. It narrows what the operator leaves open and never opens more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// What may be connected to; nothing if empty.
    pub allow: Vec<HostPattern>,
}

impl Egress {
    /// True if the list has this target, whatever address a name turns out to have.
    pub fn lists(&self, target: &Target) -> bool {
        self.allow.iter().any(|pattern| pattern.lists(target))
    }

    /// True if a name at this port could be listed by its address, so that it is worth resolving.
    pub fn has_addresses(&self, port: u16) -> bool {
        self.allow.iter().any(|pattern| pattern.has_addresses(port))
    }

    /// True if the list has this address, by itself or in a range.
    pub fn lists_address(&self, address: IpAddr, port: u16) -> bool {
        self.lists(&Target { host: Host::Address(address), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allow: &[&str]) -> Egress {
        Egress { allow: allow.iter().map(|text| text.parse().unwrap()).collect() }
    }

    #[test]
    fn a_list_has_names_and_addresses() {
        let list = egress(&["api.example.com", "*.example.org:8443", "93.184.216.0/24", "[2606::1]:53"]);
        let lists = |text: &str| list.lists(&Target::parse(text, None).unwrap());
        for listed in ["API.example.com.:1", "a.b.example.org:8443", "93.184.216.34:80", "[2606::1]:53"] {
            assert!(lists(listed), "{listed}");
        }
        for other in [
            "example.com:443",
            "xapi.example.com:443",
            "api.example.com.evil.org:443",
            "example.org:8443",
            "a.example.org:443",
            "93.184.217.1:80",
            "[2606::1]:54",
        ] {
            assert!(!lists(other), "{other}");
        }
        assert!(list.has_addresses(80) && list.lists_address("::ffff:93.184.216.1".parse().unwrap(), 80));
        assert!(!egress(&["[2606::1]:53", "a.example"]).has_addresses(80));
        assert!(!egress(&[]).lists(&Target::parse("a.example:80", None).unwrap()));
    }
}
