//! Who asks ([`Caller`]), and what they may do ([`Verb`], [`scope`]).

mod key;
pub mod scope;

pub use key::Caller;
pub(crate) use key::{Admin, authenticate, presented};
pub use scope::Verb;
