//! Which addresses handlers may call: public ones, and what the operator opened.
//!
//! Names are resolved here, every address is checked, and only checked addresses are connected to, so a name
//! can't change its meaning between check and use. Addresses in URLs are checked as the parser reads them.

mod range;
mod resolver;
mod rules;

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::Url;

pub use range::{Range, RangeError};
pub(crate) use resolver::Resolver;

/// Decides about addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    allowed: Arc<[Range]>,
}

/// An address that may not be called, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is at {address}, which is denied: {rule}. An operator can open it with --egress-allow {}",
    Range::only(*address)
)]
pub struct Denied {
    /// The host as the URL names it.
    pub host: String,
    /// Its address.
    pub address: IpAddr,
    /// What kind of address it is.
    pub rule: &'static str,
}

impl Gate {
    /// A gate that opens public addresses and these ranges.
    pub fn new(allowed: &[Range]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether `host`, which is at `address`, may be called.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Denied> {
        // An IPv4 address in IPv6 notation connects to the IPv4 address.
        let address = address.to_canonical();
        let Some(rule) = rules::denied(address) else { return Ok(()) };
        if self.allowed.iter().any(|range| range.contains(address)) {
            return Ok(());
        }
        Err(Denied { host: host.to_owned(), address, rule })
    }

    /// Checks a URL whose host is an address, in whatever spelling: no resolver will see it. Names pass; they
    /// are checked when they are resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Denied> {
        match literal(url) {
            Some(address) => self.check(url.host_str().unwrap_or_default(), address),
            None => Ok(()),
        }
    }
}

/// The address that a URL names as its host. The parser has turned every spelling (`0x7f.1`, `2130706433`,
/// `017700000001`) into the usual one.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, allowed: &[&str]) -> bool {
        let allowed: Vec<Range> = allowed.iter().map(|range| range.parse().unwrap()).collect();
        Gate::new(&allowed).check_url(&url.parse().unwrap()).is_ok()
    }

    #[test]
    fn every_spelling_of_a_private_address_is_denied() {
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "127.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "１２７.0.0.1",
            "[64:ff9b::7f00:1]",
        ] {
            assert!(!open(&format!("http://{host}/"), &[]), "{host}");
        }
        assert!(open("http://93.184.216.34/", &[]));
        assert!(open("http://[2606:2800:220:1:248:1893:25c8:1946]/", &[]));
    }

    #[test]
    fn an_operator_opens_ranges() {
        assert!(open("http://127.0.0.1/", &["127.0.0.1"]));
        assert!(open("http://[::ffff:10.1.2.3]/", &["10.0.0.0/8"]));
        assert!(!open("http://10.1.2.3/", &["10.1.2.4/31"]));
        assert!(!open("http://[64:ff9b::a01:203]/", &["10.0.0.0/8"]));
    }

    #[test]
    fn the_message_says_how_to_open_it() {
        let denied = Gate::new(&[]).check("localhost", IpAddr::from([127, 0, 0, 1])).unwrap_err();
        let message = denied.to_string();
        assert!(message.contains("loopback") && message.contains("--egress-allow 127.0.0.1/32"), "{message}");
    }
}
