//! Starts and ends the processes that handlers run in, and isolates them. The only crate that launches processes,
//! and the only one with `unsafe`.
//!
//! [`launch`] starts our own binary again as a small helper ([`helper_main`]) that sets everything up in a fixed
//! order (`helper`, `namespaces`, `mounts`) and then becomes the program of a [`Policy`]. [`tree`] says what file
//! system a Python needs, [`filters`] which system calls it may make. [`probe_host`] tries what the host allows and
//! [`decide`] says what follows; [`probe`] asks what an interpreter can do. [`Control`] is the socket to a launched
//! program, [`Process`] and [`kill_tree`] end processes, [`is_readable`] asks a descriptor, [`memory_below`] says how much
//! memory they have, [`Lone`] and [`Room`] whether one left something.

mod cgroup;
mod control;
mod helper;
mod host;
mod isolation;
mod kill;
mod launch;
mod lone;
mod memory;
mod mounts;
mod namespaces;
mod policy;
mod probe;
mod seccomp;
mod tree;

pub use cgroup::{Group, GroupError, Groups};
pub use control::{Control, Packet};
pub use helper::{SUBCOMMAND, helper_main};
pub use host::{Finding, HostError, PIECES, Piece, probe_host};
pub use isolation::{Isolation, Missing, Plan, decide};
pub use kill::{Process, is_readable, kill_tree};
pub use launch::{Launched, launch};
pub use lone::{Lone, Room};
pub use memory::memory_below;
pub use policy::{Entry, Namespaces, Policy};
pub use probe::{MINIMUM, Probe, ProbeError, probe};
pub use seccomp::{SeccompError, filters};
pub use tree::{RUNNER, tree};

/// The user of handlers outside, where the worker is root: nobody.
pub const HANDLER_USER: u32 = 65_534;
