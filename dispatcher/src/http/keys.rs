//! `/v1/keys`: make, read, switch, delete. `?tenant=` reaches another tenant's keys, for the operator.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::error::Problem;
use protocol::id::{KeyId, TenantId};
use protocol::limits;

use super::params::Params;
use super::{Segment, answer, auth, body, json, segment};
use crate::access::Verb;
use crate::dispatcher::Dispatcher;
use crate::keys::{NewKey, no_key};
use crate::view;

/// `POST /v1/keys`: 201 with the key and, this once, its secret.
pub(super) async fn create(State(dispatcher): State<Dispatcher>, headers: HeaderMap, body: Body) -> Response {
    answer(&dispatcher, Verb::CreateKey, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::CreateKey).await?;
        let new = NewKey::parse(&body::read(&headers, body, limits::BODY_BYTES).await?)?;
        let (key, secret) = dispatcher.create_key(&caller, new).await?;
        let mut response = json(StatusCode::CREATED, &view::key(&key, Some(&secret)))?;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    })
    .await
}

/// `GET /v1/keys`.
pub(super) async fn list(State(dispatcher): State<Dispatcher>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&dispatcher, Verb::ListKeys, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ListKeys).await?;
        let keys = dispatcher.keys(&caller, tenant(&uri)?).await?;
        json(StatusCode::OK, &view::keys(&keys))
    })
    .await
}

/// `GET /v1/keys/{id}`.
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::GetKey, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::GetKey).await?;
        let key = dispatcher.key(&caller, tenant(&uri)?, &key_id(id)?).await?;
        json(StatusCode::OK, &view::key(&key, None))
    })
    .await
}

/// `DELETE /v1/keys/{id}`: 204.
pub(super) async fn delete(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::DeleteKey, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::DeleteKey).await?;
        dispatcher.delete_key(&caller, tenant(&uri)?, &key_id(id)?).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// `POST /v1/keys/{id}/enable`.
pub(super) async fn enable(
    dispatcher: State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    switch(dispatcher, id, uri, headers, false).await
}

/// `POST /v1/keys/{id}/disable`.
pub(super) async fn disable(
    dispatcher: State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    switch(dispatcher, id, uri, headers, true).await
}

async fn switch(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
    disabled: bool,
) -> Response {
    let verb = if disabled { Verb::DisableKey } else { Verb::EnableKey };
    answer(&dispatcher, verb, async {
        let caller = auth::caller(&dispatcher, &headers, verb).await?;
        let key = dispatcher.set_key_disabled(&caller, tenant(&uri)?, &key_id(id)?, disabled).await?;
        json(StatusCode::OK, &view::key(&key, None))
    })
    .await
}

fn tenant(uri: &Uri) -> Result<Option<TenantId>, Problem> {
    Params::of(uri, &["tenant"])?.parsed("tenant", "is not the name of a tenant")
}

fn key_id(id: Segment) -> Result<KeyId, Problem> {
    segment(id, |text| no_key(text))
}
