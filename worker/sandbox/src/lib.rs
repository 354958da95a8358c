//! Starts and ends the processes that handlers run in. The only crate that launches processes, and the only one
//! that may hold `unsafe` (it needs none so far).
//!
//! [`launch`] starts our own binary again as a small helper ([`helper_main`]) that sets everything up in a fixed
//! order and then becomes the program. [`Control`] is the socket to it, [`Process`] and [`kill_tree`] end
//! processes, [`probe`] asks what an interpreter can do.

#![forbid(unsafe_code)]

mod control;
mod helper;
mod kill;
mod launch;
mod policy;
mod probe;

pub use control::{Control, Packet};
pub use helper::{SUBCOMMAND, helper_main};
pub use kill::{Process, kill_tree};
pub use launch::{Launched, launch};
pub use policy::Policy;
pub use probe::{MINIMUM, Probe, ProbeError, probe};
