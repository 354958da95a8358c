//! Many requests in one: each is accepted or refused by itself, as if it had come alone.

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use protocol::error::{Code, Problem};
use protocol::id::JobId;
use protocol::json::Json;
use protocol::limits;
use serde::Deserialize;

use super::{Accepted, Origin, Submit};
use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::outcome::Room;

/// Requests of one batch that are recorded at the same time, and then published at the same time. Enough for the backends
/// to take them together; inputs whose check needs a thread of its own must not crowd out each other.
const AT_ONCE: usize = 64;
/// So many such parts are under way: while one is recorded, the one before is published.
const PARTS: usize = 2;

/// Requests that came together: the body of `POST /v1/jobs/batch`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Each as it would be the body of `POST /v1/jobs`; read one by one, so that a mistake in one is its own.
    jobs: Vec<Json>,
}

impl Batch {
    /// Reads the body of a request. What is wrong with one of its jobs is not seen yet.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let batch: Self = super::read_outside(body)?;
        let most = limits::BATCH;
        match batch.jobs.len() {
            0 => Err(Problem::at(Code::FieldInvalid, "/jobs", "names at least one job")),
            count if count > most => {
                let message = format!("names {count} jobs; at most {most} are allowed in one batch");
                Err(Problem::at(Code::FieldInvalid, "/jobs", message))
            }
            _ => Ok(batch),
        }
    }
}

/// Accepts what can be accepted. An answer for each request, in order.
pub(crate) async fn submit(
    dispatcher: &Dispatcher,
    caller: &Caller,
    batch: Batch,
    origin: &Origin,
) -> Vec<Result<Accepted, Problem>> {
    let came = batch.jobs.len();
    let one = async |(index, text): (usize, Json), beside| {
        let submit = Submit::parse(text.text().as_bytes())?;
        super::recorded(dispatcher, caller, submit, origin.of_item(index, beside)).await
    };
    let some = async |requests: Vec<(usize, Json)>| {
        // They are recorded together, most likely share a message, and are claimed and finished together then.
        let beside = JobId::generate();
        let recorded = join_all(requests.into_iter().map(|request| one(request, beside))).await;
        join_all(recorded.iter().flatten().map(|accepted| accepted.publish(dispatcher, came))).await;
        recorded
    };
    let mut room = Room::of_batch();
    let answer = |mut answer: Result<Accepted, Problem>| {
        match &mut answer {
            // That of an earlier request may be finished.
            Ok(accepted) => room.fit(&mut accepted.job),
            Err(problem) => dispatcher.metrics().refused(problem.code),
        }
        answer
    };
    let parts = stream::iter(batch.jobs.into_iter().enumerate()).chunks(AT_ONCE);
    parts.map(some).buffered(PARTS).flat_map(stream::iter).map(answer).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_one_to_a_thousand_jobs_and_nothing_else() {
        let refusal = |body: &str| {
            let problem = Batch::parse(body.as_bytes()).unwrap_err();
            (problem.code, problem.faults.first().map(|fault| fault.pointer.clone()).unwrap_or_default())
        };
        let body = |count: usize| format!(r#"{{"jobs":[{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(Batch::parse(body(limits::BATCH).as_bytes()).unwrap().jobs.len(), limits::BATCH);
        for count in [0, limits::BATCH + 1] {
            assert_eq!(refusal(&body(count)), (Code::FieldInvalid, "/jobs".into()));
        }
        assert_eq!(refusal("{}"), (Code::FieldMissing, "/jobs".into()));
        assert_eq!(refusal(r#"{"jobs":[{}],"wait":1}"#), (Code::FieldUnknown, "/wait".into()));
        assert_eq!(refusal(r#"{"jobs":[{]}"#).0, Code::BodyNotJson);
    }

    #[test]
    fn a_job_that_nests_too_deep_is_refused_alone() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(r#"{{"jobs":[{{"action":"a"}},{{"action":"a","input":{deep}}}]}}"#);
        let batch = Batch::parse(body.as_bytes()).unwrap();
        let read = |job: &Json| Submit::parse(job.text().as_bytes()).map_err(|problem| problem.code);
        assert!(read(&batch.jobs[0]).is_ok());
        assert_eq!(read(&batch.jobs[1]).unwrap_err(), Code::BodyTooDeep);
    }
}
