//! Reads what a refused request still sends, so that its answer arrives and its connection stays of use.
//!
//! A server that answers and closes while the client still writes resets the connection: the client loses the answer
//! and sees a broken network instead. RFC 9112 section 9.6 tells servers to read on for a while.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use http_body::{Frame, SizeHint};

/// How much is read for an answer that nobody may wait for.
const MOST: usize = 16 * 1024 * 1024;
/// How long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers the request; then reads the rest of its body, or announces that the connection closes.
pub(super) async fn read_on(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(body)));
    let mut response = next.run(Request::from_parts(head, Body::new(shared.clone()))).await;
    if !tokio::time::timeout(PATIENCE, read_to_end(shared)).await.unwrap_or(false) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// True if the end came before too much was read.
async fn read_to_end(body: Shared) -> bool {
    if body.is_end_stream() {
        return true;
    }
    let mut pieces = pin!(Body::new(body).into_data_stream());
    let mut read = 0;
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return false };
        read += piece.len();
        if read > MOST {
            return false;
        }
    }
    true
}

/// A body that its handler can drop in the middle without losing the rest for us.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
