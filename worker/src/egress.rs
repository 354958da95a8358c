//! What handlers may connect to: public addresses and what the operator opened, narrowed by the action's
//! allow-list, and never the fleet's own servers.
//!
//! Names are resolved here, every address is checked, and only checked addresses are connected to, so a name
//! can't change its meaning between check and use. [`Gate`] decides; `http` handlers ask it for each hop, and
//! [`SlotGate`] is the proxy through which sandboxed Python reaches the network. A [`Record`] of each way out logs and
//! counts it.

mod denied;
mod gate;
mod names;
mod own;
mod record;
mod resolver;
mod rules;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use protocol::egress::{Egress, Host, Target};

pub use denied::{Denied, Refused};
pub use gate::{CallPolicy, Limits, OpenCall, SlotGate};
pub use names::Names;
pub use own::Own;
pub use protocol::egress::{Range, RangeError};
pub(crate) use record::Record;
pub(crate) use resolver::Resolver;

/// Addresses of a name that are looked at; no honest name has more.
const ADDRESSES: usize = 16;

/// Decides about targets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    opened: Vec<Range>,
    own: Vec<Own>,
    names: Box<dyn Names>,
}

impl Gate {
    /// A gate that leaves open what is public and the ranges that the operator `opened`, and always denies the
    /// servers of the fleet itself.
    pub fn new(opened: &[Range], own: &[Own]) -> Self {
        Self::with_names(opened, own, names::System)
    }

    /// The same with a resolver of the caller's choice.
    pub fn with_names(opened: &[Range], own: &[Own], names: impl Names + 'static) -> Self {
        Self(Arc::new(Rules { opened: opened.to_vec(), own: own.to_vec(), names: Box::new(names) }))
    }

    /// The addresses of `target` that may be connected to; at least one. Connect to these and no others.
    pub(crate) async fn find(
        &self,
        target: &Target,
        egress: Option<&Egress>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let listed = egress.is_none_or(|egress| egress.lists(target));
        let by_address = egress.filter(|egress| !listed && egress.has_addresses(target.port));
        if !listed && (by_address.is_none() || matches!(target.host, Host::Address(_))) {
            // A name that isn't listed isn't resolved either: a question to a resolver carries data too.
            return Err(Denied::unlisted(target).into());
        }
        if self.0.own.iter().any(|own| own.is(target)) {
            return Err(Denied::own(target).into());
        }
        let own = own::addresses(&self.0.own, target, &*self.0.names).await?;
        let mut denied = None;
        let mut open = Vec::new();
        for address in self.addresses(&target.host).await? {
            let listed = by_address.is_none_or(|egress| egress.lists_address(address, target.port));
            match self.check(&target.host, address) {
                Err(why) => denied = Some(why),
                Ok(()) if own.include(address) => denied = Some(Denied::own(target)),
                Ok(()) if !listed => denied = Some(Denied::unlisted(target)),
                Ok(()) => open.push(SocketAddr::new(address, target.port)),
            }
        }
        match denied {
            // A name with both kinds of addresses is used by those that are open.
            Some(why) if open.is_empty() => Err(why.into()),
            _ if open.is_empty() => Err(Refused::unresolved(target, "it has no address")),
            _ => Ok(open),
        }
    }

    /// The same for a client that resolves through [`Resolver`] and keeps connections: where the name alone
    /// decides, `None` says that whatever that resolver finds may be connected to.
    pub(crate) async fn pins(
        &self,
        target: &Target,
        egress: Option<&Egress>,
    ) -> Result<Option<Vec<SocketAddr>>, Refused> {
        let listed = egress.is_none_or(|egress| egress.lists(target));
        let may_be_own = self.0.own.iter().any(|own| own.port() == target.port);
        if matches!(target.host, Host::Name(_)) && listed && !may_be_own {
            return Ok(None);
        }
        let found = self.find(target, egress).await?;
        // An address is what it is, so there is nothing to pin.
        Ok(matches!(target.host, Host::Name(_)).then_some(found))
    }

    /// Whether the kind of this address leaves it open.
    fn check(&self, host: &Host, address: IpAddr) -> Result<(), Denied> {
        // An IPv4 address in IPv6 notation connects to the IPv4 address.
        let address = address.to_canonical();
        match rules::denied(address) {
            Some(rule) if !self.0.opened.iter().any(|range| range.contains(address)) => {
                Err(Denied::Address { host: host.clone(), address, rule })
            }
            _ => Ok(()),
        }
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Refused> {
        match host {
            Host::Address(address) => Ok(vec![*address]),
            Host::Name(name) => {
                let mut found =
                    self.0.names.find(name).await.map_err(|error| Refused::unresolved(host, error))?;
                found.truncate(ADDRESSES);
                Ok(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(opened: &[&str], own: &[&str]) -> Gate {
        let opened: Vec<Range> = opened.iter().map(|range| range.parse().unwrap()).collect();
        let own: Vec<Own> = own.iter().map(|own| own.parse().unwrap()).collect();
        // No test here may need a real resolver.
        Gate::with_names(&opened, &own, |name: &str| match name {
            "public.example" => vec!["93.184.216.34".parse().unwrap()],
            "both.example" => vec!["10.0.0.1".parse().unwrap(), "93.184.216.34".parse().unwrap()],
            "redis.example" => vec!["10.0.0.7".parse().unwrap()],
            "local.example" => vec!["127.0.0.1".parse().unwrap()],
            _ => Vec::new(),
        })
    }

    async fn ask(gate: &Gate, target: &str, allow: Option<&[&str]>) -> Result<Vec<SocketAddr>, Refused> {
        let egress = allow
            .map(|allow| Egress { allow: allow.iter().map(|pattern| pattern.parse().unwrap()).collect() });
        gate.find(&Target::parse(target, None).unwrap(), egress.as_ref()).await
    }

    async fn open(gate: &Gate, target: &str, allow: Option<&[&str]>) -> bool {
        ask(gate, target, allow).await.is_ok()
    }

    #[tokio::test]
    async fn every_spelling_of_a_private_address_is_denied() {
        let gate = gate(&[], &[]);
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "127.1",
            "127.0.0.1.",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::]",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "１２７.0.0.1",
            "[64:ff9b::7f00:1]",
            "local.example",
        ] {
            assert!(!open(&gate, &format!("{host}:80"), None).await, "{host}");
        }
        assert!(open(&gate, "93.184.216.34:80", None).await);
        assert!(open(&gate, "[2606:2800:220:1:248:1893:25c8:1946]:80", None).await);
    }

    #[tokio::test]
    async fn an_operator_opens_ranges() {
        assert!(open(&gate(&["127.0.0.1"], &[]), "127.0.0.1:80", None).await);
        assert!(open(&gate(&["10.0.0.0/8"], &[]), "[::ffff:10.1.2.3]:80", None).await);
        assert!(!open(&gate(&["10.1.2.4/31"], &[]), "10.1.2.3:80", None).await);
        assert!(!open(&gate(&["10.0.0.0/8"], &[]), "[64:ff9b::a01:203]:80", None).await);
    }

    #[tokio::test]
    async fn an_allow_list_narrows_and_never_opens() {
        let gate = gate(&[], &[]);
        assert!(open(&gate, "public.example:80", Some(&["public.example"])).await);
        assert!(!open(&gate, "public.example:80", Some(&["public.example:443"])).await);
        assert!(!open(&gate, "public.example:80", Some(&[])).await);
        assert!(!open(&gate, "local.example:80", Some(&["local.example", "127.0.0.0/8"])).await);
        // By where the name leads, which is pinned.
        let found = ask(&gate, "public.example:80", Some(&["93.184.216.0/24"])).await.unwrap();
        assert_eq!(found, ["93.184.216.34:80".parse().unwrap()]);
        assert!(!open(&gate, "public.example:80", Some(&["93.184.217.0/24"])).await);
        let error = ask(&gate, "other.example:80", Some(&["public.example"])).await.unwrap_err().to_string();
        assert!(error.contains("other.example:80") && error.contains("`egress.allow`"), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_used_by_its_open_addresses() {
        let found = ask(&gate(&[], &[]), "both.example:80", None).await.unwrap();
        assert_eq!(found, ["93.184.216.34:80".parse().unwrap()]);
        let none = ask(&gate(&[], &[]), "gone.example:80", None).await.unwrap_err();
        assert!(matches!(none, Refused::Unresolved { .. }), "{none}");
    }

    #[tokio::test]
    async fn the_fleets_own_servers_are_denied_even_in_opened_ranges() {
        let gate = gate(
            &["0.0.0.0/0", "::/0"],
            &["redis.example:6379", "93.184.216.34:5672", "0.0.0.0:7300", "unresolvable.example:9999"],
        );
        for own in [
            "redis.example:6379",
            "10.0.0.7:6379",
            "[::ffff:10.0.0.7]:6379",
            "public.example:5672",
            "[64:ff9b::5db8:d822]:5672",
            "127.0.0.1:7300",
            "127.9.9.9:7300",
            "[::1]:7300",
            "0.0.0.0:7300",
            "local.example:7300",
            // Nobody can say that it isn't ours.
            "public.example:9999",
        ] {
            assert!(!open(&gate, own, None).await, "{own}");
        }
        for other in ["10.0.0.7:6380", "10.0.0.8:6379", "public.example:7300", "127.0.0.1:6379"] {
            assert!(open(&gate, other, None).await, "{other}");
        }
    }

    #[tokio::test]
    async fn the_message_says_how_to_open_it() {
        let message = ask(&gate(&[], &[]), "local.example:80", None).await.unwrap_err().to_string();
        assert!(message.contains("loopback") && message.contains("--egress-allow 127.0.0.1/32"), "{message}");
    }
}
