//! The settings of this backend, checked before anything connects. The URL holds a password: no error and
//! no `Debug` shows any of it.

use lapin::uri::AMQPUri;
use protocol::secret::Secret;

use crate::topology::Topology;

/// Seconds between two heartbeats where the URL has no `heartbeat`: a dead peer is noticed after twice that.
const HEARTBEAT: u16 = 10;
/// Leaves room for a lane and a priority in a queue name, which has at most 255 bytes.
const PREFIX_BYTES: usize = 64;

/// The settings of this backend.
#[derive(Debug, Clone)]
pub struct Options {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS. Without a vhost: `/`.
    pub url: Secret,
    /// What the names of all queues and exchanges begin with: `sortie`.
    pub prefix: String,
    /// How the server keeps messages. The same for every process of an installation.
    pub queues: Queues,
}

/// How the server keeps messages. The kind of a queue never changes: another one needs queues that are deleted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Queues {
    /// Replicated; a message is handed out once a majority has it on disk.
    #[default]
    Quorum,
    /// On one node; a message is confirmed when it is on its disk, and handed out at once. For a server of a single node:
    /// with several, what is on a node that is away can't be reached.
    Classic,
}

/// Why the options can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not an AMQP URL. The text is not repeated here: it may hold a password.
    #[error("the AMQP URL must look like amqp://user:password@host:5672/vhost (or amqps://)")]
    Url,
    /// Not usable in names on the server.
    #[error("the prefix must be 1 to {PREFIX_BYTES} letters, digits, '.', '-' and '_'")]
    Prefix,
}

impl Options {
    pub(crate) fn check(&self) -> Result<(AMQPUri, Topology), OptionsError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if self.prefix.is_empty() || self.prefix.len() > PREFIX_BYTES || !self.prefix.bytes().all(allowed) {
            return Err(OptionsError::Prefix);
        }
        Ok((parse(self.url.reveal())?, Topology::new(&self.prefix, self.queues)))
    }
}

fn parse(url: &str) -> Result<AMQPUri, OptionsError> {
    let mut uri: AMQPUri = url.parse().map_err(|_| OptionsError::Url)?;
    if let Some(address) = bracketed_host(url) {
        // The parser knows names only, and would silently put `localhost` in the place of an IPv6 address.
        uri.authority.host = address.to_owned();
    }
    if uri.vhost.is_empty() {
        // `amqp://host/` is the empty vhost to the letter, which nobody has and everybody means as this.
        uri.vhost = "/".into();
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT));
    Ok(uri)
}

fn bracketed_host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_as_everybody_means_them() {
        for (url, host, port, vhost) in [
            ("amqp://localhost", "localhost", 5672, "/"),
            ("amqp://me:pw@rabbit.example:5673/", "rabbit.example", 5673, "/"),
            ("amqps://me:pw@10.0.0.1/%2f", "10.0.0.1", 5671, "/"),
            ("amqp://me:p%40w@[::1]:5674/jobs", "::1", 5674, "jobs"),
        ] {
            let uri = parse(url).unwrap();
            assert_eq!((uri.authority.host.as_str(), uri.authority.port), (host, port), "{url}");
            assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), (vhost, Some(HEARTBEAT)), "{url}");
        }
        assert_eq!(parse("amqp://h/?heartbeat=3").unwrap().query.heartbeat, Some(3));
    }

    #[test]
    fn wrong_options_are_refused_without_showing_a_password() {
        let options = |url: &str, prefix: &str| Options {
            url: Secret::new(url),
            prefix: prefix.into(),
            queues: Queues::default(),
        };
        for url in ["", "localhost", "http://me:hunter2@h/", "amqp:me:hunter2@h", "amqp://me:hunter2@h:port/"]
        {
            let error = options(url, "sortie").check().err().unwrap();
            assert_eq!(error, OptionsError::Url, "{url}");
            assert!(!error.to_string().contains("hunter2"));
        }
        for prefix in ["", "a b", "ä", "x".repeat(65).as_str()] {
            assert_eq!(options("amqp://h", prefix).check().err(), Some(OptionsError::Prefix), "{prefix}");
        }
        assert!(!format!("{:?}", options("amqp://me:hunter2@h", "sortie")).contains("hunter2"));
    }
}
