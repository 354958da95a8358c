//! Resolves names for the HTTP client and hands out checked addresses only, which pins them: the client
//! connects to exactly these.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Gate;

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
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut denied = None;
            let mut open: Vec<SocketAddr> = Vec::new();
            for address in found {
                match gate.check(name.as_str(), address.ip()) {
                    Ok(()) => open.push(address),
                    Err(why) => denied = Some(why),
                }
            }
            match denied {
                // A name with both kinds of addresses is used by those that are open.
                Some(why) if open.is_empty() => Err(why.into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}
