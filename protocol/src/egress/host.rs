//! A host and a port, as someone wrote them and in the one form in which they are compared.
//!
//! Names become lower-case ASCII without the last dot. Addresses are read in every spelling that a URL may have
//! (`0x7f.1`, `2130706433`, `[::ffff:127.0.0.1]`) and become the usual one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The longest name that DNS has room for, in characters.
const NAME_CHARS: usize = 253;

/// A host: a name, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, normalised. Nobody has resolved it yet.
    Name(String),
    /// An address; one of IPv4 in IPv6 notation has become the IPv4 address.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host; write a name such as api.example.com, or an address{hint}")]
pub struct HostError {
    text: String,
    hint: &'static str,
}

/// Why a text is no host with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The host is wrong.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The port is wrong or missing.
    #[error("{0:?} needs a port from 1 to 65535 after a colon")]
    Port(String),
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = |hint| HostError { text: text.chars().take(NAME_CHARS).collect(), hint };
        if text.contains('%') {
            return Err(wrong(" without zone"));
        }
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if inner.is_some() || text.contains(':') {
            let address: Ipv6Addr = inner.unwrap_or(text).parse().map_err(|_| wrong(""))?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        match url::Host::parse(text).map_err(|_| wrong(""))? {
            url::Host::Ipv4(address) => Ok(Self::Address(address.into())),
            url::Host::Ipv6(address) => Ok(Self::Address(IpAddr::V6(address).to_canonical())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
                // The resolver takes bytes that a URL may not have at all, but no name has.
                let ascii = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                if labels && ascii && name.len() <= NAME_CHARS {
                    Ok(Self::Name(name.to_owned()))
                } else {
                    Err(wrong(""))
                }
            }
        }
    }
}

impl Target {
    /// Reads `host:port`, or a host alone where there is a default port. IPv6 addresses stand in brackets.
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, TargetError> {
        let bare = text.ends_with(']') || !text.contains(':');
        let (host, port) = match (bare, text.rsplit_once(':'), default) {
            (false, Some((host, port)), _) => (host, read_port(port)),
            (.., default) => (text, default),
        };
        let port = port.ok_or_else(|| TargetError::Port(text.to_owned()))?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(TargetError::Port(text.to_owned()));
        }
        Ok(Self { host: host.parse()?, port })
    }
}

/// A port that can be connected to.
pub(super) fn read_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Option<String> {
        text.parse::<Host>().ok().map(|host| host.to_string())
    }

    #[test]
    fn every_spelling_has_one_form() {
        for (text, form) in [
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("my_service", "my_service"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("１２７.0.0.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("::1", "::1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
            ("[2606:4700::1111]", "2606:4700::1111"),
        ] {
            assert_eq!(host(text).as_deref(), Some(form), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a\r\nb",
            "a/b",
            "u@h",
            "a%2eb",
            "[fe80::1%eth0]",
            "fe80::1%1",
            "[::1",
            "1.2.3.4.5",
            "256.1.1.1",
            "127.0.0.1..",
            "*",
            "a,b",
            &long,
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn targets_have_ports() {
        let target = |text: &str, default| Target::parse(text, default).ok().map(|target| target.to_string());
        assert_eq!(target("a.example:443", None).as_deref(), Some("a.example:443"));
        assert_eq!(target("a.example", Some(80)).as_deref(), Some("a.example:80"));
        assert_eq!(target("[::1]:80", None).as_deref(), Some("[::1]:80"));
        assert_eq!(target("[::1]", Some(80)).as_deref(), Some("[::1]:80"));
        for bad in ["a.example", "a:0", "a:65536", "a:+1", "a:", "::1:80", ":80", "[::1]x:80", "a:b:80"] {
            assert_eq!(target(bad, None), None, "{bad}");
        }
    }
}
