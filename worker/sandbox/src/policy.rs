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
    /// The directory it starts in, as it sees it.
    pub directory: PathBuf,
    /// How many descriptors a process may have open.
    pub open_files: u64,
    /// Namespaces of its own with a file system of its own; `None` leaves it those of the worker.
    pub namespaces: Option<Namespaces>,
}

/// A user, a network, process numbers, a host name and a file system that are the program's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// An empty directory to mount the new file system on; it stays empty for everybody else.
    pub root: PathBuf,
    /// The user and group that the program is outside, where the worker is root. An ordinary user stays itself.
    pub host_user: u32,
    /// All of the file system. Everything in it is read-only.
    pub tree: Vec<Entry>,
}

/// One entry of the file system, in the order in which they are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An empty directory.
    Directory(PathBuf),
    /// A small file with this text.
    File(PathBuf, String),
    /// A symbolic link: where it is, and what it says.
    Link(PathBuf, PathBuf),
    /// A file or directory of the host, read-only, without setuid and devices: where it is outside, and inside.
    View(PathBuf, PathBuf),
    /// A device of the host, at the same place.
    Device(PathBuf),
}
