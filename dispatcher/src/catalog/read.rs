//! Reading actions and their versions.

use protocol::action::{Action, Content, VersionInfo};
use protocol::error::Problem;
use protocol::id::ActionName;
use protocol::limits;

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake::resolve::{gone, no_action, no_version};
use crate::trouble;

/// Some actions, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionsPage {
    /// The actions.
    pub actions: Vec<Action>,
    /// The name behind which the next page starts, if there may be more.
    pub next: Option<ActionName>,
}

/// An action and the content of its latest version.
pub(crate) async fn action(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
) -> Result<(Action, Content), Problem> {
    let action = dispatcher.registry().action(caller.tenant(), name).await.map_err(trouble::problem)?;
    let action = action.ok_or_else(|| no_action(name))?;
    let content = content_of(dispatcher, caller, name, &action.latest).await?;
    Ok((action, content))
}

/// The actions behind `after`. Those that the key may not touch are left out, so a page may be short and
/// still have a next one.
pub(crate) async fn actions(
    dispatcher: &Dispatcher,
    caller: &Caller,
    after: Option<ActionName>,
    limit: usize,
) -> Result<ActionsPage, Problem> {
    let limit = limit.clamp(1, limits::PAGE);
    let registry = dispatcher.registry();
    let mut actions =
        registry.actions(caller.tenant(), after.as_ref(), limit).await.map_err(trouble::problem)?;
    let next = (actions.len() == limit).then(|| actions.last().map(|last| last.name.clone())).flatten();
    actions.retain(|action| caller.may_touch(&action.name));
    Ok(ActionsPage { actions, next })
}

/// The versions of an action, newest first.
pub(crate) async fn versions(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
) -> Result<Vec<VersionInfo>, Problem> {
    let versions = dispatcher.registry().versions(caller.tenant(), name).await.map_err(trouble::problem)?;
    if versions.is_empty() { Err(no_action(name)) } else { Ok(versions) }
}

/// One version with its content.
pub(crate) async fn version(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
    number: u32,
) -> Result<(VersionInfo, Content), Problem> {
    let (registry, tenant) = (dispatcher.registry(), caller.tenant());
    let Some(info) = registry.version(tenant, name, number).await.map_err(trouble::problem)? else {
        let action = registry.action(tenant, name).await.map_err(trouble::problem)?;
        let latest = action.ok_or_else(|| no_action(name))?.latest.number;
        return Err(no_version(name, number, latest));
    };
    let content = content_of(dispatcher, caller, name, &info).await?;
    Ok((info, content))
}

async fn content_of(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
    info: &VersionInfo,
) -> Result<Content, Problem> {
    let content = dispatcher.registry().content(caller.tenant(), &info.content_hash).await;
    content.map_err(trouble::problem)?.ok_or_else(|| gone(name, info.number))
}
