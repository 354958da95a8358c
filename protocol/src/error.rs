//! Public errors: a closed list of codes ([`Code`]), the error that a job carries ([`JobError`]) and the
//! error that a request gets ([`Problem`]). Every code has a page in `protocol/errors/`.

mod codes;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use codes::Code;

use crate::limits;

/// Why a job, or one attempt of it, has no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobError {
    /// Which error it is.
    pub code: Code,
    /// What happened, for people.
    pub message: String,
    /// More, by code: a traceback for instance.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl JobError {
    /// An error without details. A message past [`limits::ERROR_BYTES`] is cut and marked.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into()), details: Value::Null }
    }

    /// The same error with details.
    #[must_use]
    pub fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

/// One thing that is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body, or into the input for `input_invalid`.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// Why a request was refused: what becomes `application/problem+json` (RFC 9457) over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Problem {
    /// Which error it is.
    pub code: Code,
    /// What happened this time, for people; says what to do next where that isn't obvious.
    pub detail: String,
    /// Where, for errors in a body.
    pub faults: Vec<Fault>,
    /// When to try again, in seconds.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem without faults. Codes that are worth another try say so with `retry_after`.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = code.retryable().then_some(1);
        Self { code, detail: cut(detail.into()), faults: Vec::new(), retry_after }
    }

    /// A problem at one place of the body.
    pub fn at(code: Code, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let fault = Fault::at(pointer, message);
        let place = if fault.pointer.is_empty() { "the body" } else { &fault.pointer };
        let detail = format!("{place}: {}", fault.message);
        Self { faults: vec![fault], ..Self::new(code, detail) }
    }

    /// The same problem with these faults.
    #[must_use]
    pub fn with(self, faults: Vec<Fault>) -> Self {
        Self { faults, ..self }
    }
}

/// `text`, cut at a character boundary and marked if it is too long for a stored error.
fn cut(mut text: String) -> String {
    if text.len() > limits::ERROR_BYTES {
        let mut end = limits::ERROR_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("… [cut]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters_and_marked() {
        let error = JobError::new(Code::HandlerRaised, "ä".repeat(limits::ERROR_BYTES));
        assert!(error.message.ends_with("… [cut]"));
        assert!(error.message.len() < limits::ERROR_BYTES + 16);
    }

    #[test]
    fn a_problem_in_a_body_names_the_place() {
        let problem = Problem::at(Code::FieldUnknown, "/colour", "unknown field");
        assert_eq!(problem.detail, "/colour: unknown field");
        assert_eq!(problem.faults[0].pointer, "/colour");
        assert_eq!(Problem::new(Code::StoreUnavailable, "x").retry_after, Some(1));
    }
}
