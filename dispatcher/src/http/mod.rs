//! The HTTP API: routes, and how every request is answered. Each file below serves one resource and does
//! three things only: read the request strictly, call one verb, write the answer.

mod actions;
mod auth;
mod batch;
mod body;
mod error;
mod events;
mod jobs;
mod keys;
mod openapi;
mod params;
mod secrets;
mod unread;

use std::future::Future;
use std::str::FromStr;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use protocol::error::{Code, Problem};
use protocol::id::NameError;
use serde::Serialize;

use crate::access::Verb;
use crate::dispatcher::Dispatcher;

/// One piece of a path.
type Segment = Result<Path<String>, PathRejection>;

/// The routes of the API: everything under `/v1`, and `/openapi.json`.
pub fn router(dispatcher: Dispatcher) -> Router {
    Router::new()
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/batch", post(batch::submit))
        .route("/v1/jobs/{id}", get(jobs::get))
        .route("/v1/jobs/{id}/events", get(events::read))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/actions", get(actions::list))
        .route("/v1/actions/{name}", get(actions::get).put(actions::publish).delete(actions::delete))
        .route("/v1/actions/{name}/versions", get(actions::versions))
        .route("/v1/actions/{name}/versions/{number}", get(actions::version))
        .route("/v1/actions/{name}/enable", post(actions::enable))
        .route("/v1/actions/{name}/disable", post(actions::disable))
        .route("/v1/actions/{name}/test", post(actions::test))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", get(keys::get).delete(keys::delete))
        .route("/v1/keys/{id}/enable", post(keys::enable))
        .route("/v1/keys/{id}/disable", post(keys::disable))
        .route("/v1/secrets", get(secrets::list))
        .route("/v1/secrets/{name}", put(secrets::put).delete(secrets::delete))
        .route("/openapi.json", get(openapi::read))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(axum::middleware::from_fn(unread::read_on))
        .with_state(dispatcher)
}

/// Does `work`, counts it, and turns a problem into its answer.
async fn answer(
    dispatcher: &Dispatcher,
    verb: Verb,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    match dispatcher.metrics().measure(verb, work).await {
        Ok(response) => response,
        Err(problem) => error::response(&problem),
    }
}

/// An answer in JSON.
fn json(status: StatusCode, view: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(view).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        Problem::new(Code::Internal, "the answer can't be written as JSON")
    })?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A piece of the path as a `T`. What can't be one names nothing, which `missing` says.
fn segment<T: FromStr>(segment: Segment, missing: fn(&str) -> Problem) -> Result<T, Problem> {
    let Path(text) = segment.map_err(|_| missing("with such a name"))?;
    text.parse().map_err(|_| missing(&text))
}

/// A piece of the path as the name of something that may be new: what can't be one is told why.
fn new_name<T: FromStr<Err = NameError>>(segment: Segment) -> Result<T, Problem> {
    let Path(text) = segment.map_err(|_| params::invalid("name", "must be UTF-8"))?;
    text.parse().map_err(|error: NameError| params::invalid("name", &error.to_string()))
}

async fn no_route(uri: Uri) -> Response {
    let detail = format!("there is nothing at {}; /openapi.json lists what there is", uri.path());
    error::response(&Problem::new(Code::RouteNotFound, detail))
}

async fn no_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}; the header Allow says what it takes", uri.path());
    error::response(&Problem::new(Code::MethodNotAllowed, detail))
}
