//! What can go wrong with a session or an operation on it, and what that means to the caller of a port.

use lapin::ErrorKind;
use protocol::ports::{Kind, PortError};

/// Why a session ended or an operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Trouble {
    /// The client library or the server said so.
    #[error(transparent)]
    Amqp(lapin::Error),
    /// A queue is there already, of another kind than this installation's.
    #[error(
        "{0}; start every process with the same --queues, or delete the queues of this prefix once they are empty \
         (`rabbitmqctl delete_queue NAME`) to change their kind"
    )]
    OtherKind(String),
    /// There is no session, or it ended before the answer came.
    #[error("there is no connection to the server")]
    Away,
    /// The server ended a consumer, as it does when its queue is deleted.
    #[error("the server cancelled a consumer")]
    ConsumerCancelled,
    /// A session with reduced prefetch has lasted long enough; the next one has the full prefetch again.
    #[error("no unreadable message came any more")]
    CarefulEnough,
    /// Nothing came back in time.
    #[error("no answer in time to: {0}")]
    NoAnswer(&'static str),
    /// A queue doesn't answer though the server does. Seen where the server was killed within a second after the queue
    /// was first declared: it comes back without a leader and stays so (rabbitmq-server, issue 15725).
    #[error(
        "the queue `{0}` does not answer; if `rabbitmq-queues quorum_status {0}` shows no leader for it, \
         `rabbitmqctl delete_queue {0}` lets it be declared anew"
    )]
    SilentQueue(String),
    /// No queue of that name: someone deleted it since it was declared.
    #[error("no queue took the message")]
    Returned,
    /// The queue has reached a limit that a policy sets.
    #[error("the queue refused the message")]
    Refused,
    /// The server is short of memory or disk and takes nothing until it has room again.
    #[error("the server takes no messages for lack of memory or disk space")]
    Blocked,
    /// A name is longer than AMQP allows.
    #[error("a name has more than 255 bytes")]
    Name,
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            // precondition-failed, whose text names the argument and the queue.
            ErrorKind::ProtocolError(told) if told.get_id() == 406 => {
                let text = told.get_message().to_string();
                if text.contains("'x-queue-type'") { Self::OtherKind(text) } else { Self::Amqp(error) }
            }
            _ => Self::Amqp(error),
        }
    }
}

impl Trouble {
    /// The error of a port's operation.
    pub(crate) fn port(self, operation: &'static str) -> PortError {
        PortError::new(self.kind(), operation).because(self)
    }

    /// True if the server sent something that the client library can't parse.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Amqp(error) if matches!(error.kind(), ErrorKind::ParsingError(_)))
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Amqp(error) => kind(error),
            Self::Away | Self::ConsumerCancelled | Self::CarefulEnough | Self::Returned => Kind::Unavailable,
            Self::NoAnswer(_) | Self::SilentQueue(_) => Kind::Timeout,
            Self::Refused | Self::Blocked => Kind::Full,
            Self::Name | Self::OtherKind(_) => Kind::Unexpected,
        }
    }
}

fn kind(error: &lapin::Error) -> Kind {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.get_id() {
            // access-refused; not-allowed (no such vhost, or no right to it).
            403 | 530 => Kind::Denied,
            // connection-forced (the server shuts down); resource-error; internal-error.
            320 | 506 | 541 => Kind::Unavailable,
            _ => Kind::Unexpected,
        },
        ErrorKind::IOError(_)
        | ErrorKind::RuntimeShutdownError(_)
        | ErrorKind::MissingHeartbeatError
        | ErrorKind::InvalidChannel(_)
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_) => Kind::Unavailable,
        _ => Kind::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
    use protocol::ports::Retry;

    use super::*;

    fn said(kind: AMQPErrorKind) -> PortError {
        let error = ErrorKind::ProtocolError(AMQPError::new(kind, "text".into()));
        Trouble::Amqp(error.into()).port("queue.publish")
    }

    #[test]
    fn a_lost_connection_is_worth_another_try_and_wrong_rights_are_not() {
        let forced = said(AMQPHardError::CONNECTIONFORCED.into());
        assert_eq!((forced.kind, forced.retry()), (Kind::Unavailable, Retry::Later));
        let refused = said(AMQPSoftError::ACCESSREFUSED.into());
        assert_eq!((refused.kind, refused.retry()), (Kind::Denied, Retry::Never));
        assert_eq!(said(AMQPSoftError::PRECONDITIONFAILED.into()).kind, Kind::Unexpected);
        assert_eq!(Trouble::Blocked.port("queue.publish").retry(), Retry::Later);
    }
}
