//! Who asks: the `Authorization` header of a request.

use axum::http::{HeaderMap, header};
use protocol::error::{Code, Problem};
use protocol::secret::Secret;

use crate::access::{Caller, Verb, presented};
use crate::dispatcher::Dispatcher;

/// The caller of a request with these headers, who may do what `verb` says. Asked before the body is read: a
/// body is nobody's business that may not send it.
pub(super) async fn caller(
    dispatcher: &Dispatcher,
    headers: &HeaderMap,
    verb: Verb,
) -> Result<Caller, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::new(Code::KeyMissing, "send the header Authorization: Bearer sk_..."));
    };
    let text = value.to_str().map_err(|_| Problem::new(Code::KeyInvalid, "the key is not plain text"))?;
    let secret = Secret::new(presented(text));
    let caller = dispatcher.authenticate(&secret).await?;
    caller.require(verb)?;
    Ok(caller)
}
