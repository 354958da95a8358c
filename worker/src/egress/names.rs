//! From a name to its addresses: the system's resolver, or another one.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Resolves names. What it answers is checked, never trusted.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses of `name`, best first.
    async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

impl fmt::Debug for dyn Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// The system's resolver.
pub(super) struct System;

#[async_trait]
impl Names for System {
    async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// A table, or whatever else a function knows.
#[async_trait]
impl<F: Fn(&str) -> Vec<IpAddr> + Send + Sync> Names for F {
    async fn find(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self(name))
    }
}
