//! Where the file is, and how careful it is.

use std::path::PathBuf;

use protocol::ports::StoreOptions;

/// How to open the file.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for `sortie.db`; made (for this user alone) where it is missing.
    pub dir: PathBuf,
    /// What an answer survives.
    pub sync: Sync,
    /// Times and limits of the store.
    pub store: StoreOptions,
}

/// What an accepted job, a result and every other promise survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// A power cut: the disk has it before the answer is given.
    #[default]
    Full,
    /// `kill -9` of the process, but not a power cut: the newest seconds may be missing then.
    Normal,
}

impl Options {
    /// The careful way, with the store's usual times and limits.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), sync: Sync::Full, store: StoreOptions::default() }
    }
}
