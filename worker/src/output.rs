//! Whether what a handler returned may be a job's result: its size, its depth, and the version's schema.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::{Code, JobError};
use protocol::json::{self, Json};
use protocol::limits;
use protocol::outcome::Ending;
use protocol::schema::check_apart;
use serde_json::json;

use crate::contents::Version;

/// How long a check may take that isn't surely quick.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ending, with a result that breaks a rule turned into a failure. A check that may take long has a thread
/// of its own: it must hold up neither the leases nor the timeouts of other attempts.
pub(crate) async fn check(ending: Ending, version: &Arc<Version>) -> Ending {
    let Ending::Returned(result) = &ending else { return ending };
    if version
        .output
        .as_ref()
        .is_none_or(|schema| schema.as_ref().map_or(true, |s| s.is_quick(result.text().len())))
    {
        return judge(ending, version);
    }
    let (apart, kept) = (Arc::clone(version), ending);
    let answered = match check_apart("output-check", move || judge(kept, &apart)) {
        Ok(answered) => answered,
        Err(error) => {
            let message = format!("this worker can't check the result now: {error}");
            let error = JobError::new(Code::OutputInvalid, message);
            return Ending::Failed { error, retryable: true, retry_after: None };
        }
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(ending)) => ending,
        _ => {
            let message =
                format!("checking the result against the output schema took longer than {PATIENCE:?}");
            let error = JobError::new(Code::OutputInvalid, message);
            Ending::Failed { error, retryable: false, retry_after: None }
        }
    }
}

fn judge(ending: Ending, version: &Version) -> Ending {
    match ending {
        Ending::Returned(result) => match fault(&result, version) {
            None => Ending::Returned(result),
            // Another attempt may well return something else.
            Some(error) => Ending::Failed { error, retryable: true, retry_after: None },
        },
        other => other,
    }
}

fn fault(result: &Json, version: &Version) -> Option<JobError> {
    let text = result.text();
    if text.len() > limits::RESULT_BYTES {
        let message =
            format!("the result has {} bytes of JSON; it may have {}", text.len(), limits::RESULT_BYTES);
        return Some(JobError::new(Code::OutputTooLarge, message));
    }
    if json::depth(text.as_bytes()) > json::MAX_DEPTH {
        let message = format!("the result nests deeper than {} levels", json::MAX_DEPTH);
        return Some(JobError::new(Code::OutputInvalid, message));
    }
    match version.output.as_ref()? {
        Err(reason) => {
            let message = format!("the version's output schema can't be used: {reason}");
            Some(JobError::new(Code::OutputInvalid, message))
        }
        Ok(schema) => {
            // The text was only scanned so far: a number out of range or half a surrogate pair shows here.
            let value = match serde_json::from_str(text) {
                Ok(value) => value,
                Err(error) => {
                    let message = format!("the result can't be read: {error}");
                    return Some(JobError::new(Code::OutputInvalid, message));
                }
            };
            let faults = schema.faults(&value, text.len());
            let first = faults.first()?;
            let place = if first.pointer.is_empty() { "the result" } else { &first.pointer };
            let message = format!("{place}: {}", first.message);
            Some(JobError::new(Code::OutputInvalid, message).with(json!({ "errors": faults })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: &str, schema: serde_json::Value) -> Option<Code> {
        let content = json!({"handler": {"kind": "python", "source": ""}, "output_schema": schema});
        let version = Version::new(serde_json::from_value(content).unwrap());
        match judge(Ending::Returned(Json::parse(result.into()).unwrap()), &version) {
            Ending::Failed { error, .. } => Some(error.code),
            _ => None,
        }
    }

    #[test]
    fn results_fit_the_schema_and_the_limits() {
        let text = json!({"type": "string"});
        assert_eq!(code("\"x\"", text.clone()), None);
        assert_eq!(code("7", text.clone()), Some(Code::OutputInvalid));
        let large = format!("\"{}\"", "x".repeat(limits::RESULT_BYTES));
        assert_eq!(code(&large, text), Some(Code::OutputTooLarge));
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(code(&deep, json!({})), Some(Code::OutputInvalid));
        assert_eq!(code("1", json!({"type": "strin"})), Some(Code::OutputInvalid));
    }
}
