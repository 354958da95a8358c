//! `/v1/jobs/batch`: many jobs with one request.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use protocol::error::Problem;
use protocol::limits;

use super::jobs::tell_wait;
use super::{auth, body, error, json, params};
use crate::access::Verb;
use crate::dispatcher::Dispatcher;
use crate::intake::Batch;
use crate::view;

/// `POST /v1/jobs/batch`: 200 with an answer for each job, once all are accepted or refused; with `Prefer: wait=N` once
/// those that were accepted are finished too, or the time is over.
pub(super) async fn submit(State(dispatcher): State<Dispatcher>, headers: HeaderMap, body: Body) -> Response {
    let accepting = async {
        let caller = auth::caller(&dispatcher, &headers, Verb::SubmitBatch).await?;
        let (origin, wait) = (params::origin(&headers)?, params::prefer_wait(&headers)?);
        let batch = Batch::parse(&body::read(&headers, body, limits::BATCH_BYTES).await?)?;
        Ok((dispatcher.submit_batch(&caller, batch, &origin).await?, wait))
    };
    let answering = async {
        let (answers, wait) = dispatcher.metrics().measure(Verb::SubmitBatch, accepting).await?;
        let jobs = match wait {
            Some(limit) if !limit.is_zero() => {
                let waiting = async { Ok(dispatcher.await_batch(answers, limit).await) };
                dispatcher.metrics().measure(Verb::WaitJob, waiting).await?
            }
            _ => answers.into_iter().map(|answer| answer.map(|accepted| accepted.job)).collect(),
        };
        let mut response = json(StatusCode::OK, &view::batch(&jobs))?;
        tell_wait(&dispatcher, &mut response, wait);
        Ok(response)
    };
    answering.await.unwrap_or_else(|problem: Problem| error::response(&problem))
}
