//! An entry of an allow-list: `api.example.com`, `*.example.com`, an address, a range of addresses; names and
//! addresses also with a port. Checked and normalised where it is read, so equal entries are equal texts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::host::read_port;
use super::{Host, HostError, Range, RangeError, Target};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    hosts: Hosts,
    /// Any port if absent.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// Every name that ends with a dot and this one.
    Below(String),
    Range(Range),
}

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A URL or part of one.
    #[error("{0:?} has more than a host; write the host alone, without scheme and path")]
    Url(String),
    /// A star in the wrong place.
    #[error("{0:?} has a '*' that isn't the whole first part; write *.example.com")]
    Star(String),
    /// No port.
    #[error("{0:?} is not a port; write a number from 1 to 65535, or none")]
    Port(String),
    /// Neither name nor address.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No range.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl HostPattern {
    /// True if it stands for this target, whatever address a name has.
    pub(super) fn lists(&self, target: &Target) -> bool {
        self.has_port(target.port)
            && match (&self.hosts, &target.host) {
                (Hosts::Name(name), Host::Name(other)) => name == other,
                (Hosts::Below(parent), Host::Name(other)) => {
                    other.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
                }
                (Hosts::Range(range), Host::Address(address)) => range.contains(address.to_canonical()),
                _ => false,
            }
    }

    /// True if it stands for addresses at this port.
    pub(super) fn has_addresses(&self, port: u16) -> bool {
        matches!(self.hosts, Hosts::Range(_)) && self.has_port(port)
    }

    fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.contains("://") || text.contains(['?', '#', '@', '\\']) {
            return Err(PatternError::Url(shown()));
        }
        if let Some((address, _)) = text.split_once('/') {
            return match address.parse::<IpAddr>() {
                Ok(_) => Ok(Self { hosts: Hosts::Range(text.parse()?), port: None }),
                Err(_) => Err(PatternError::Url(shown())),
            };
        }
        let (host, port) = match text.rsplit_once(':') {
            // A port after an IPv6 address can be told apart only behind brackets.
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (
                host,
                Some(read_port(port).ok_or_else(|| PatternError::Port(port.chars().take(80).collect()))?),
            ),
            _ => (text, None),
        };
        let (name, below) = host.strip_prefix("*.").map_or((host, false), |rest| (rest, true));
        if name.contains('*') {
            return Err(PatternError::Star(shown()));
        }
        let hosts = match (name.parse()?, below) {
            (Host::Name(name), false) => Hosts::Name(name),
            (Host::Name(name), true) => Hosts::Below(name),
            (Host::Address(address), false) => Hosts::Range(Range::only(address)),
            (Host::Address(_), true) => return Err(PatternError::Star(shown())),
        };
        Ok(Self { hosts, port })
    }
}

impl TryFrom<String> for HostPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.hosts, self.port) {
            (Hosts::Name(name), _) => f.write_str(name)?,
            (Hosts::Below(name), _) => write!(f, "*.{name}")?,
            (Hosts::Range(range), port) => match (range.sole(), port) {
                (Some(IpAddr::V6(address)), Some(_)) => write!(f, "[{address}]")?,
                (Some(address), _) => write!(f, "{address}")?,
                (None, _) => write!(f, "{range}")?,
            },
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_become_equal_texts() {
        for (text, form) in [
            ("API.Example.com.", "api.example.com"),
            ("*.Bücher.example:8443", "*.xn--bcher-kva.example:8443"),
            ("api.example.com:443", "api.example.com:443"),
            ("0x5d.1", "93.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("2606:4700::1111", "2606:4700::1111"),
            ("[2606:4700::1111]:53", "[2606:4700::1111]:53"),
            ("[2606:4700::1111]", "2606:4700::1111"),
            ("2606:4700::/32", "2606:4700::/32"),
        ] {
            let pattern: HostPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), form, "{text}");
            assert_eq!(form.parse::<HostPattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_no_entry_is_refused_with_a_hint() {
        for (text, hint) in [
            ("https://api.example.com", "without scheme"),
            ("api.example.com/v1", "without scheme"),
            ("user@example.com", "without scheme"),
            ("*", "*.example.com"),
            ("api.*.com", "*.example.com"),
            ("*.10.0.0.1", "*.example.com"),
            ("a.example:0", "65535"),
            ("a.example:https", "65535"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.0.0.0/8:80", "bits"),
            ("", "api.example.com"),
            ("a b", "api.example.com"),
            ("[fe80::1%eth0]:80", "without zone"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
