//! From the client library's errors, and from values that can't be read, to the ports' one error.

use protocol::ports::{Kind, PortError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A stored value that is not what we write. Names the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} is missing or can't be read")]
pub(crate) struct Unreadable {
    place: String,
}

impl Unreadable {
    pub(crate) fn at(place: impl Into<String>) -> Self {
        Self { place: place.into() }
    }

    /// The port error of an operation that came across it.
    pub(crate) fn during(self, operation: &'static str) -> PortError {
        PortError::new(Kind::Corrupt, operation).because(self)
    }
}

/// The port error of an operation that the client library or the server failed.
pub(crate) fn failed(operation: &'static str, error: RedisError) -> PortError {
    PortError::new(kind(&error), operation).because(error)
}

fn kind(error: &RedisError) -> Kind {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Kind::Timeout,
        ErrorKind::Io => Kind::Unavailable,
        ErrorKind::AuthenticationFailed => Kind::Denied,
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Kind::Corrupt,
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly => Kind::Unavailable,
            ServerErrorKind::NoPerm => Kind::Denied,
            // The server refuses the connection itself this way, and has no code of its own for it.
            ServerErrorKind::ResponseError
                if error.detail().is_some_and(|text| text.contains("max number of clients")) =>
            {
                Kind::Unavailable
            }
            _ => Kind::Unexpected,
        },
        ErrorKind::Extension => code(error.code().unwrap_or_default()),
        _ => Kind::Unexpected,
    }
}

/// The kind of an error that only the server knows, by its code.
fn code(code: &str) -> Kind {
    match code {
        "NOAUTH" | "WRONGPASS" => Kind::Denied,
        // MISCONF: the disk that snapshots or the log go to is full or broken.
        "OOM" | "MISCONF" => Kind::Full,
        "BUSY" | "NOREPLICAS" | "UNBLOCKED" => Kind::Unavailable,
        "WRONGTYPE" => Kind::Corrupt,
        _ => Kind::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[test]
    fn what_the_server_says_has_a_kind() {
        let io = |kind: std::io::ErrorKind| RedisError::from(std::io::Error::from(kind));
        let server = |code: &str| make_extension_error(code.into(), None);
        for (error, expected) in [
            (io(std::io::ErrorKind::ConnectionRefused), Kind::Unavailable),
            (io(std::io::ErrorKind::TimedOut), Kind::Timeout),
            (server("NOAUTH"), Kind::Denied),
            (server("WRONGPASS"), Kind::Denied),
            (server("OOM"), Kind::Full),
            (server("MISCONF"), Kind::Full),
            (server("BUSY"), Kind::Unavailable),
            (server("WRONGTYPE"), Kind::Corrupt),
            (server("SOMETHING"), Kind::Unexpected),
            (RedisError::from((ServerErrorKind::BusyLoading.into(), "x")), Kind::Unavailable),
            (RedisError::from((ServerErrorKind::ReadOnly.into(), "x")), Kind::Unavailable),
            (RedisError::from((ServerErrorKind::MasterDown.into(), "x")), Kind::Unavailable),
            (RedisError::from((ServerErrorKind::NoPerm.into(), "x")), Kind::Denied),
        ] {
            let text = error.to_string();
            assert_eq!(failed("store.get", error).kind, expected, "{text}");
        }
    }
}
