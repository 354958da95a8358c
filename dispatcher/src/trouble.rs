//! Turns an error of a port into what the caller is told. The cause goes into the log and nowhere else.

use std::error::Error;

use protocol::error::{Code, Problem};
use protocol::ports::{PortError, Retry};

/// What the caller is told about `error`.
pub(crate) fn problem(error: PortError) -> Problem {
    let cause = causes(&error);
    match error.retry() {
        Retry::Later => {
            tracing::warn!(operation = error.operation, cause, "a port is away");
            let (code, what) = if error.operation.starts_with("queue.") {
                (Code::QueueUnavailable, "the queue")
            } else {
                (Code::StoreUnavailable, "the store")
            };
            Problem::new(code, format!("{what} can't be reached now; try again a little later"))
        }
        Retry::Never => {
            tracing::error!(operation = error.operation, cause, "a port failed");
            Problem::new(
                Code::Internal,
                format!("{} failed; the log of the dispatcher says why", error.operation),
            )
        }
    }
}

/// The error and all its causes in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::ports::Kind;

    use super::*;

    #[test]
    fn the_caller_hears_which_part_is_away_and_never_the_cause() {
        let away = |operation| problem(PortError::new(Kind::Unavailable, operation).because("10.0.0.7:5672"));
        assert_eq!(away("queue.publish").code, Code::QueueUnavailable);
        assert_eq!(away("store.create").code, Code::StoreUnavailable);
        assert_eq!(away("registry.action").code, Code::StoreUnavailable);
        assert_eq!(away("store.create").retry_after, Some(1));
        assert!(!away("queue.publish").detail.contains("10.0.0.7"));
        assert_eq!(problem(PortError::new(Kind::Corrupt, "store.get")).code, Code::Internal);
    }

    #[test]
    fn the_log_has_every_cause() {
        let error = PortError::new(Kind::Timeout, "store.get").because("no answer from 10.0.0.7");
        assert_eq!(causes(&error), "store.get: the backend gave no answer in time: no answer from 10.0.0.7");
    }
}
