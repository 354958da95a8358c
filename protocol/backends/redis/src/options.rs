//! What the backend must be told, and what is wrong with it.

use std::time::Duration;

use protocol::ports::StoreOptions;
use protocol::secret::Secret;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, ProtocolVersion};

/// Longest prefix of our keys.
const PREFIX_BYTES: usize = 64;

/// How long sent bytes may stay without the server's acknowledgement until the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Where the server is, and how we use it.
#[derive(Debug, Clone)]
pub struct Options {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS.
    pub url: Secret,
    /// What all our keys and channels start with: installations that share a server have different ones.
    pub prefix: String,
    /// Times and limits of the store.
    pub store: StoreOptions,
}

/// Why the options can't be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not an address of a Redis server. The text is not shown: it may hold a password.
    #[error("the URL must look like redis://[user:password@]host[:port][/database], or rediss:// for TLS")]
    Url,
    /// Not a prefix. Braces, for one, would move all keys to one slot of a cluster.
    #[error("the prefix must be 1 to 64 letters, digits, '.', '-', '_' and ':'")]
    Prefix,
}

impl Options {
    /// A client of the server, not yet connected.
    pub(crate) fn client(&self) -> Result<Client, OptionsError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if self.prefix.is_empty() || self.prefix.len() > PREFIX_BYTES || !self.prefix.bytes().all(plain) {
            return Err(OptionsError::Prefix);
        }
        let info = self.url.reveal().into_connection_info().map_err(|_| OptionsError::Url)?;
        // RESP3 tells us of a connection that broke while nobody used it.
        let session = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
        Client::open(info.set_redis_settings(session).set_tcp_settings(tcp)).map_err(|_| OptionsError::Url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, prefix: &str) -> Result<(), OptionsError> {
        let options =
            Options { url: Secret::new(url), prefix: prefix.into(), store: StoreOptions::default() };
        options.client().map(drop)
    }

    #[test]
    fn addresses_of_redis_servers_are_taken_and_others_refused() {
        for good in ["redis://h", "redis://u:p@h:1/2", "rediss://h:6380"] {
            assert_eq!(check(good, "sortie"), Ok(()), "{good}");
        }
        for bad in ["", "h:6379", "amqp://h", "redis://h/x"] {
            assert_eq!(check(bad, "sortie"), Err(OptionsError::Url), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_plain() {
        for bad in ["", "a b", "{a}", "ä"] {
            assert_eq!(check("redis://h", bad), Err(OptionsError::Prefix), "{bad}");
        }
    }
}
