//! Why a worker can't start.

use protocol::ports::PortError;

/// Why a worker can't start. Handlers that fail are no errors of ours: they are outcomes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options make no sense: says which.
    #[error("the worker's options are wrong: {0}")]
    Options(&'static str),
    /// The Python side can't be set up on this host.
    #[error("python handlers can't be run")]
    Python(#[from] crate::python::Error),
    /// The HTTP client can't be set up on this host.
    #[error("http handlers can't be run")]
    Http(#[from] crate::handler::http::SetupError),
    /// The queue refuses for good.
    #[error("the queue can't be consumed")]
    Queue(#[from] PortError),
}
