//! What can go wrong: with opening the file ([`OpenError`]), and with using it ([`Failure`], which becomes
//! a `PortError`).

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::ports::{Kind, PortError};
use rusqlite::ErrorCode;

/// Why the file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on it.
    #[error(
        "the data folder {} is in use by another process: stop that process, or choose another folder \
         with --data", dir.display()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A later release made it.
    #[error(
        "{} was written by a newer release (layout {found}, this release knows {known}): use that release, \
         or choose another folder with --data", file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout of this release.
        known: i64,
    },
    /// The folder can't be made or used.
    #[error("can't use the data folder {}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file isn't ours, is damaged, or can't be read.
    #[error("can't open {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// SQLite's answer.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why an operation on the file failed. Cheap to clone: a failed commit fails everything in it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: Kind,
    source: Arc<dyn Error + Send + Sync>,
}

impl Failure {
    /// What is stored can't be read.
    pub(crate) fn corrupt(source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Corrupt, source: Arc::new(source) }
    }

    /// The file has been closed, or its threads have ended.
    pub(crate) fn closed() -> Self {
        Self { kind: Kind::Unavailable, source: Arc::new(Closed) }
    }

    /// The port's error for `operation`.
    pub(crate) fn during(self, operation: &'static str) -> PortError {
        PortError::new(self.kind, operation).because(Box::new(self.source) as Box<dyn Error + Send + Sync>)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self { kind: kind(&error), source: Arc::new(error) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { kind: Kind::Unavailable, source: Arc::new(error) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self { kind: Kind::Unexpected, source: Arc::new(error) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the embedded file is closed")]
struct Closed;

fn kind(error: &rusqlite::Error) -> Kind {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    match error {
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) => Kind::Corrupt,
        error => match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Corrupt,
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Kind::Denied,
            // A disk that fails now may be back later: nothing of ours is wrong.
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory,
            ) => Kind::Unavailable,
            _ => Kind::Unexpected,
        },
    }
}
