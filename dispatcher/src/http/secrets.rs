//! `/v1/secrets`: set, list, delete. No answer has a value.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use protocol::id::SecretName;
use protocol::limits;

use super::params::Params;
use super::{Segment, answer, auth, body, json, new_name, segment};
use crate::access::Verb;
use crate::dispatcher::Dispatcher;
use crate::secrets::{NewSecret, no_secret};
use crate::view;

/// `PUT /v1/secrets/{name}`: 201 if there was none of that name, 200 if it was replaced.
pub(super) async fn put(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&dispatcher, Verb::PutSecret, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::PutSecret).await?;
        let name: SecretName = new_name(name)?;
        let new = NewSecret::parse(&body::read(&headers, body, limits::BODY_BYTES).await?)?;
        let put = dispatcher.put_secret(&caller, &name, new).await?;
        json(if put.created { StatusCode::CREATED } else { StatusCode::OK }, &view::secret(&put.info))
    })
    .await
}

/// `GET /v1/secrets`.
pub(super) async fn list(State(dispatcher): State<Dispatcher>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&dispatcher, Verb::ListSecrets, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ListSecrets).await?;
        Params::of(&uri, &[])?;
        json(StatusCode::OK, &view::secrets(&dispatcher.secrets(&caller).await?))
    })
    .await
}

/// `DELETE /v1/secrets/{name}`: 204.
pub(super) async fn delete(
    State(dispatcher): State<Dispatcher>,
    name: Segment,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::DeleteSecret, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::DeleteSecret).await?;
        let name: SecretName = segment(name, |text| no_secret(text))?;
        dispatcher.delete_secret(&caller, &name).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
