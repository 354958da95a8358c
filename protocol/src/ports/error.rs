//! The one error of all ports: kind, may-I-retry, which operation, and the cause.

use std::error::Error;
use std::fmt;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The server can't be reached, or closed the connection. The outcome of the operation is unknown.
    Unavailable,
    /// No answer in time. The outcome of the operation is unknown.
    Timeout,
    /// The backend refuses for lack of room.
    Full,
    /// What is stored can't be read.
    Corrupt,
    /// The credentials or rights for the server are wrong.
    Denied,
    /// Anything else: a defect of ours, or of the server.
    Unexpected,
}

/// Whether the same operation is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// A little later.
    Later,
    /// Not without a change.
    Never,
}

/// What went wrong in a port. No driver's type crosses the port but as a boxed cause.
#[derive(Debug)]
pub struct PortError {
    /// The kind of trouble.
    pub kind: Kind,
    /// The operation, `store.claim` for instance.
    pub operation: &'static str,
    /// The cause.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl PortError {
    /// An error without a cause.
    pub fn new(kind: Kind, operation: &'static str) -> Self {
        Self { kind, operation, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Whether the same operation is worth another try.
    pub const fn retry(&self) -> Retry {
        match self.kind {
            Kind::Unavailable | Kind::Timeout | Kind::Full => Retry::Later,
            Kind::Corrupt | Kind::Denied | Kind::Unexpected => Retry::Never,
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Unavailable => "can't be reached",
            Kind::Timeout => "gave no answer in time",
            Kind::Full => "is full",
            Kind::Corrupt => "holds something that can't be read",
            Kind::Denied => "refused our credentials",
            Kind::Unexpected => "failed",
        };
        write!(f, "{}: the backend {what}", self.operation)
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
