//! Resolves names for the HTTP client and hands out checked addresses only, which pins them: the client
//! connects to exactly these.

use std::net::SocketAddr;

use protocol::egress::Host;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Gate, Refused};

/// The client's resolver.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    gate: Gate,
}

impl Resolver {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = self.gate.clone();
        Box::pin(async move {
            let host: Host = name.as_str().parse()?;
            let mut denied = None;
            // The client puts the port in.
            let mut open: Vec<SocketAddr> = Vec::new();
            for address in gate.addresses(&host).await? {
                match gate.check(&host, address) {
                    Ok(()) => open.push((address, 0).into()),
                    Err(why) => denied = Some(why),
                }
            }
            match denied {
                Some(why) if open.is_empty() => Err(Refused::from(why).into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}
