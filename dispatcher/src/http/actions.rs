//! `/v1/actions`: publish, read, switch, delete, test.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use protocol::error::Problem;
use protocol::id::ActionName;
use protocol::limits;

use super::params::{Params, invalid};
use super::{Segment, answer, auth, body, error, jobs, json, new_name, params, segment};
use crate::access::Verb;
use crate::catalog::{Publish, Test};
use crate::dispatcher::Dispatcher;
use crate::intake::resolve::no_action;
use crate::view;

/// `PUT /v1/actions/{name}`: 201 with a new version, 200 if the latest one is the same.
pub(super) async fn publish(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&dispatcher, Verb::PublishAction, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::PublishAction).await?;
        let name = new_name(name)?;
        let publish = Publish::parse(&body::read(&headers, body, limits::CONTENT_BYTES).await?)?;
        let published = dispatcher.publish(&caller, &name, publish).await?;
        let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
        json(status, &view::action(&published.action, None))
    })
    .await
}

/// `GET /v1/actions/{name}`: with the content of the latest version.
pub(super) async fn get(State(dispatcher): State<Dispatcher>, name: Segment, headers: HeaderMap) -> Response {
    answer(&dispatcher, Verb::GetAction, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::GetAction).await?;
        let (action, content) = dispatcher.action(&caller, &known_name(name)?).await?;
        json(StatusCode::OK, &view::action(&action, Some(&content)))
    })
    .await
}

/// `DELETE /v1/actions/{name}`: 204.
pub(super) async fn delete(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::DeleteAction, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::DeleteAction).await?;
        dispatcher.delete_action(&caller, &known_name(name)?).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// `GET /v1/actions?cursor=&limit=`: by name.
pub(super) async fn list(State(dispatcher): State<Dispatcher>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&dispatcher, Verb::ListActions, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ListActions).await?;
        let params = Params::of(&uri, &["cursor", "limit"])?;
        let after = params.parsed("cursor", "must be the `next` of the page before")?;
        let page = dispatcher.actions(&caller, after, params.limit()?).await?;
        json(StatusCode::OK, &view::actions(&page))
    })
    .await
}

/// `GET /v1/actions/{name}/versions`: newest first, without content.
pub(super) async fn versions(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::ListVersions, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ListVersions).await?;
        let versions = dispatcher.versions(&caller, &known_name(name)?).await?;
        json(StatusCode::OK, &view::versions(&versions))
    })
    .await
}

/// `GET /v1/actions/{name}/versions/{number}`: with its content.
pub(super) async fn version(
    State(dispatcher): State<Dispatcher>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::GetVersion, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::GetVersion).await?;
        let Path((name, number)) = path.map_err(|_| no_action("with such a name"))?;
        let name = name.parse().map_err(|_| no_action(&name))?;
        let number = number.parse().map_err(|_| invalid("version", "must be a whole number, 1 or more"))?;
        let (info, content) = dispatcher.version(&caller, &name, number).await?;
        json(StatusCode::OK, &view::version(&info, Some(&content)))
    })
    .await
}

/// `POST /v1/actions/{name}/enable`.
pub(super) async fn enable(dispatcher: State<Dispatcher>, name: Segment, headers: HeaderMap) -> Response {
    switch(dispatcher, name, headers, true).await
}

/// `POST /v1/actions/{name}/disable`.
pub(super) async fn disable(dispatcher: State<Dispatcher>, name: Segment, headers: HeaderMap) -> Response {
    switch(dispatcher, name, headers, false).await
}

/// `POST /v1/actions/{name}/test`: answers as `POST /v1/jobs` does.
pub(super) async fn test(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let accepting = async {
        let caller = auth::caller(&dispatcher, &headers, Verb::TestAction).await?;
        let (origin, wait) = (params::origin(&headers)?, params::prefer_wait(&headers)?);
        let name = new_name(name)?;
        // A draft and an input.
        let limit = limits::CONTENT_BYTES + limits::BODY_BYTES;
        let test = Test::parse(&body::read(&headers, body, limit).await?)?;
        Ok((dispatcher.test(&caller, &name, test, origin).await?, wait))
    };
    match dispatcher.metrics().measure(Verb::TestAction, accepting).await {
        Ok((accepted, wait)) => jobs::answer_accepted(&dispatcher, accepted, wait).await,
        Err(problem) => error::response(&problem),
    }
}

async fn switch(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
    enabled: bool,
) -> Response {
    let verb = if enabled { Verb::EnableAction } else { Verb::DisableAction };
    answer(&dispatcher, verb, async {
        let caller = auth::caller(&dispatcher, &headers, verb).await?;
        let action = dispatcher.set_action_enabled(&caller, &known_name(name)?, enabled).await?;
        json(StatusCode::OK, &view::action(&action, None))
    })
    .await
}

/// The action that the path names; a name that can't be one is of no action.
fn known_name(name: Segment) -> Result<ActionName, Problem> {
    segment(name, |text| no_action(text))
}
