//! What a launched program gets, as plain data. Everything that is not in it, the program doesn't get.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to run and what it may have. Travels to the helper as JSON in its last argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// The directory it starts in: private to it.
    pub directory: PathBuf,
    /// How many descriptors a process may have open.
    pub open_files: u64,
}
