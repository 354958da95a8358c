//! Actions: what is published is checked completely first; then it can be read, switched, deleted, tried.

mod check;
mod lifecycle;
mod publish;
mod read;
mod test;

pub(crate) use lifecycle::{delete, set_enabled};
pub use publish::Publish;
pub(crate) use publish::publish;
pub use read::ActionsPage;
pub(crate) use read::{action, actions, version, versions};
pub use test::Test;
pub(crate) use test::test;
