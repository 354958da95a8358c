//! The description of this API in OpenAPI 3.1.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// `GET /openapi.json`: needs no key.
pub(super) async fn read() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../openapi.json")).into_response()
}
