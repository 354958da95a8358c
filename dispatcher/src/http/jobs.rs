//! `/v1/jobs`: submit, get, list, cancel.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use protocol::error::Problem;
use protocol::id::{ActionName, JobId};
use protocol::limits;
use protocol::ports::{Cancelled, JobFilter};
use protocol::state::JobState;

use super::params::{Params, invalid};
use super::{Segment, answer, auth, body, error, json, params, segment};
use crate::access::Verb;
use crate::dispatcher::Dispatcher;
use crate::intake::{Accepted, Submit};
use crate::outcome::no_job;
use crate::view;

/// `POST /v1/jobs`: 202 with the accepted job, or 200 if it is finished already.
pub(super) async fn submit(State(dispatcher): State<Dispatcher>, headers: HeaderMap, body: Body) -> Response {
    let accepting = async {
        let caller = auth::caller(&dispatcher, &headers, Verb::Submit).await?;
        let (origin, wait) = (params::origin(&headers)?, params::prefer_wait(&headers)?);
        let submit = Submit::parse(&body::read(&headers, body, limits::BODY_BYTES).await?)?;
        let accepted = match wait {
            Some(limit) if !limit.is_zero() => dispatcher.submit_to_wait(&caller, submit, origin).await?,
            _ => dispatcher.submit(&caller, submit, origin).await?,
        };
        Ok((accepted, wait))
    };
    match dispatcher.metrics().measure(Verb::Submit, accepting).await {
        Ok((accepted, wait)) => answer_accepted(&dispatcher, accepted, wait).await,
        Err(problem) => error::response(&problem),
    }
}

/// The answer to a request that made (or found) a job, after waiting for it if that was asked for.
pub(super) async fn answer_accepted(
    dispatcher: &Dispatcher,
    accepted: Accepted,
    wait: Option<Duration>,
) -> Response {
    let job = match wait {
        Some(limit) if !limit.is_zero() => {
            let waiting = async { Ok::<_, Problem>(dispatcher.await_accepted(accepted, limit).await) };
            match dispatcher.metrics().measure(Verb::WaitJob, waiting).await {
                Ok(job) => job,
                Err(problem) => return error::response(&problem),
            }
        }
        _ => accepted.job,
    };
    let status = if job.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = json(status, &view::job(&job)).unwrap_or_else(|problem| error::response(&problem));
    if let Ok(place) = HeaderValue::try_from(format!("/v1/jobs/{}", job.spec.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    tell_wait(dispatcher, &mut response, wait);
    response
}

/// Says how long a request was waited for, if it asked for that: as long as it asked, or the ceiling.
pub(super) fn tell_wait(dispatcher: &Dispatcher, response: &mut Response, wait: Option<Duration>) {
    let applied = wait.map(|limit| limit.min(dispatcher.options().wait_ceiling).as_secs());
    if let Some(Ok(applied)) = applied.map(|seconds| HeaderValue::try_from(format!("wait={seconds}"))) {
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
}

/// `GET /v1/jobs/{id}?wait=N`: the job, once it is finished or the time is over.
pub(super) async fn get(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let verb =
        if uri.query().is_some_and(|query| query.contains("wait")) { Verb::WaitJob } else { Verb::GetJob };
    answer(&dispatcher, verb, async {
        let caller = auth::caller(&dispatcher, &headers, verb).await?;
        let wait = Params::of(&uri, &["wait"])?.wait()?;
        let job = dispatcher.wait(&caller, job_id(id)?, wait).await?;
        json(StatusCode::OK, &view::job(&job))
    })
    .await
}

/// `POST /v1/jobs/{id}/cancel`: 200 if the job is over, 202 if its worker has been asked.
pub(super) async fn cancel(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::CancelJob, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::CancelJob).await?;
        let (job, found) = dispatcher.cancel(&caller, job_id(id)?).await?;
        let status = if found == Cancelled::Asked { StatusCode::ACCEPTED } else { StatusCode::OK };
        json(status, &view::job(&job))
    })
    .await
}

/// `GET /v1/jobs?state=&action=&label=&dead_letter=&cursor=&limit=`: newest first.
pub(super) async fn list(State(dispatcher): State<Dispatcher>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&dispatcher, Verb::ListJobs, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ListJobs).await?;
        let page = dispatcher.jobs(&caller, filter(&uri)?).await?;
        json(StatusCode::OK, &view::jobs(&page))
    })
    .await
}

/// The job that the path names.
pub(super) fn job_id(id: Segment) -> Result<JobId, Problem> {
    segment(id, |text| no_job(text))
}

fn filter(uri: &Uri) -> Result<JobFilter, Problem> {
    let params = Params::of(uri, &["state", "action", "label", "dead_letter", "cursor", "limit"])?;
    let state = |name: &str| {
        let known = JobState::ALL.map(JobState::as_str).join(", ");
        JobState::from_name(name).ok_or_else(|| invalid("state", &format!("must be one of {known}")))
    };
    let label = params.one("label")?.map(|text| {
        let pair = text.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| invalid("label", "must be name:value"))
    });
    Ok(JobFilter {
        // `state=queued,running` and `state=queued&state=running` mean the same.
        states: params
            .all("state")
            .flat_map(|states| states.split(','))
            .map(state)
            .collect::<Result<_, _>>()?,
        action: params.parsed::<ActionName>("action", "is not the name of an action")?,
        label: label.transpose()?,
        dead_letters: params.parsed("dead_letter", "must be true or false")?.unwrap_or(false),
        before: params.parsed("cursor", "must be the `next` of the page before")?,
        limit: params.limit()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_from_the_query() {
        let uri =
            Uri::from_static("/?state=queued,running&state=failed&label=team:a:b&dead_letter=true&limit=5");
        let filter = filter(&uri).unwrap();
        assert_eq!(filter.states, [JobState::Queued, JobState::Running, JobState::Failed]);
        assert_eq!(filter.label, Some(("team".into(), "a:b".into())));
        assert!(filter.dead_letters);
        assert_eq!(filter.limit, 5);
    }

    #[test]
    fn wrong_filters_are_refused_by_name() {
        for (query, name) in [
            ("/?state=done", "state"),
            ("/?label=team", "label"),
            ("/?cursor=1", "cursor"),
            ("/?dead_letter=1", "dead_letter"),
            ("/?action=a%20b", "action"),
        ] {
            let problem = filter(&query.parse().unwrap()).unwrap_err();
            assert!(problem.detail.starts_with(name), "{query}: {}", problem.detail);
        }
    }
}
