//! Switching actions on and off, and deleting them. None of it touches jobs that were accepted.

use protocol::action::Action;
use protocol::error::Problem;
use protocol::id::ActionName;

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake::resolve::no_action;
use crate::trouble;

/// Lets an action take new jobs, or no more.
pub(crate) async fn set_enabled(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
    enabled: bool,
) -> Result<Action, Problem> {
    let action = dispatcher.registry().set_enabled(caller.tenant(), name, enabled).await;
    action.map_err(trouble::problem)?.ok_or_else(|| no_action(name))
}

/// Deletes an action.
pub(crate) async fn delete(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
) -> Result<(), Problem> {
    let deleted = dispatcher.registry().delete_action(caller.tenant(), name).await;
    if deleted.map_err(trouble::problem)? { Ok(()) } else { Err(no_action(name)) }
}
