//! Trying a content before it is published: the same intake, only without a version number.

use protocol::action::Content;
use protocol::error::Problem;
use protocol::id::ActionName;
use protocol::json::Json;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{check, publish};
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake::resolve::{self, Run};
use crate::intake::{self, Accepted, Origin, Submit};
use crate::trouble;

/// An input to try, and what to try it on: the body of `POST /v1/actions/{name}/test`.
#[derive(Debug, Clone)]
pub struct Test {
    /// The draft; the latest version if `None`.
    pub draft: Option<Content>,
    /// The input.
    pub input: Json,
    /// The deadline, in milliseconds from now; the content's own if `None`.
    pub deadline_ms: Option<i64>,
}

impl Test {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[serde(default)]
            draft: Option<Map<String, Value>>,
            #[serde(default = "intake::empty_object")]
            input: Json,
            #[serde(default)]
            deadline_ms: Option<i64>,
        }
        let Body { draft, input, deadline_ms } = intake::read(body)?;
        let draft = draft.map(|fields| publish::content("/draft", fields)).transpose()?;
        Ok(Self { draft, input, deadline_ms })
    }
}

/// Accepts a job that runs the draft, or the latest version even if the action is disabled.
pub(crate) async fn test(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &ActionName,
    test: Test,
    origin: Origin,
) -> Result<Accepted, Problem> {
    let (registry, known, tenant) = (dispatcher.registry(), dispatcher.known(), caller.tenant());
    let run = match test.draft {
        Some(draft) => {
            let terms = check::content("/draft", &draft, dispatcher.options())?;
            let content_hash = registry.put_draft(tenant, &draft).await.map_err(trouble::problem)?;
            let terms = known.keep(&content_hash, terms);
            Run { action: name.clone(), version: None, content_hash, terms }
        }
        None => resolve::published(&**registry, known, tenant, name, None, true).await?,
    };
    let submit = Submit::of(name.clone(), test.input, test.deadline_ms);
    intake::accept(dispatcher, caller, run, submit, origin).await
}
