//! The fleet's own servers: RabbitMQ, Redis, the address where we listen. No handler may reach them, whatever
//! ranges the operator opened, by whatever name or address.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;

use protocol::egress::{Host, Target, TargetError};

use super::names::Names;
use super::rules;
use super::{Denied, Refused};

/// One of them: host and port. A listener on all addresses is written `0.0.0.0:7300`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own(Target);

impl FromStr for Own {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Target::parse(text, None).map(Self)
    }
}

impl From<SocketAddr> for Own {
    fn from(address: SocketAddr) -> Self {
        Self(Target { host: Host::Address(address.ip().to_canonical()), port: address.port() })
    }
}

impl Own {
    pub(super) fn port(&self) -> u16 {
        self.0.port
    }

    /// True if `target` is written as it.
    pub(super) fn is(&self, target: &Target) -> bool {
        self.0 == *target
    }
}

/// Where the own servers at one port are.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    plain: Vec<IpAddr>,
    /// One of them is on this machine, where it may have other addresses too.
    here: bool,
}

/// Where the own servers are that listen on the port of `target`. They are resolved anew, since they may move;
/// while one can't be resolved nobody can tell that the target isn't it.
pub(super) async fn addresses(own: &[Own], target: &Target, names: &dyn Names) -> Result<Addresses, Refused> {
    let mut found = Addresses::default();
    for own in own.iter().filter(|own| own.port() == target.port) {
        match &own.0.host {
            Host::Address(address) => found.plain.push(rules::plain(*address)),
            Host::Name(name) => {
                let addresses = names.find(name).await.unwrap_or_default();
                if addresses.is_empty() {
                    return Err(Denied::own(target).into());
                }
                found.plain.extend(addresses.into_iter().map(rules::plain));
            }
        }
    }
    found.here = found.plain.iter().any(|address| is_here(*address));
    Ok(found)
}

impl Addresses {
    pub(super) fn include(&self, address: IpAddr) -> bool {
        let address = rules::plain(address);
        self.plain.contains(&address) || (self.here && is_here(address))
    }
}

/// True if it is an address of this machine: only such ones can be bound to.
fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}
