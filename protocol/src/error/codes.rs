//! The closed list of public error codes: name, HTTP status, one-line title.
//!
//! A code exists only where a client would act on it. Each has a page `protocol/errors/<code>.md`
//! (what happened, why, what to do), which `sortie explain <code>` prints.

use serde::{Deserialize, Serialize};

/// Declares the codes once: variant, name, HTTP status of a request that gets it, title.
macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $title:literal,)+) => {
        /// A public error code. Names never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(
                #[doc = $title]
                #[serde(rename = $name)]
                $variant,
            )+
        }

        impl Code {
            /// Every code, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status of a request that gets this code; for codes that only jobs carry, the status
            /// that fits best where another API has to answer with one.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The page that explains it, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../errors/", $name, ".md")),)+ }
            }
        }
    };
}

codes! {
    // The request itself.
    BodyTooLarge "body_too_large" 413 "The request's body is too large",
    BodyNotUtf8 "body_not_utf8" 400 "The body is not UTF-8",
    BodyNotJson "body_not_json" 400 "The body is not JSON",
    BodyTooDeep "body_too_deep" 400 "The JSON nests too deep",
    MediaTypeUnsupported "media_type_unsupported" 415 "The body has another media type than expected",
    FieldUnknown "field_unknown" 422 "A field is not known",
    FieldMissing "field_missing" 422 "A field is missing",
    FieldInvalid "field_invalid" 422 "A field has a wrong value",
    ParameterInvalid "parameter_invalid" 400 "A query parameter or header has a wrong value",
    RouteNotFound "route_not_found" 404 "There is nothing at this path",
    MethodNotAllowed "method_not_allowed" 405 "This path takes other methods",
    // Who asks.
    KeyMissing "key_missing" 401 "The request has no API key",
    KeyInvalid "key_invalid" 401 "The API key is not known",
    KeyExpired "key_expired" 401 "The API key has expired",
    KeyDisabled "key_disabled" 401 "The API key is disabled",
    ScopeMissing "scope_missing" 403 "The API key lacks the scope",
    ActionNotAllowed "action_not_allowed" 403 "The API key may not touch this action",
    // What is asked for.
    ActionNotFound "action_not_found" 404 "There is no such action",
    ActionDisabled "action_disabled" 409 "The action is disabled",
    VersionNotFound "version_not_found" 404 "The action has no such version",
    JobNotFound "job_not_found" 404 "There is no such job",
    KeyNotFound "key_not_found" 404 "There is no such key",
    SecretNotFound "secret_not_found" 404 "There is no such secret",
    SecretsTooMany "secrets_too_many" 409 "The tenant has as many secrets as it may have",
    InputInvalid "input_invalid" 422 "The input does not fit the action's schema",
    InputTooLarge "input_too_large" 413 "The input is too large",
    SchemaInvalid "schema_invalid" 422 "A schema is not valid JSON Schema 2020-12",
    SchemaReference "schema_reference" 422 "A schema refers to a file or an address",
    SchemaTooComplex "schema_too_complex" 422 "A schema is too large or nests too deep",
    DeadlinePast "deadline_past" 422 "The deadline is in the past",
    DeadlineTooFar "deadline_too_far" 422 "The deadline is beyond the ceiling",
    IdempotencyConflict "idempotency_conflict" 409 "The idempotency key was used with another body",
    // Our own troubles.
    QueueUnavailable "queue_unavailable" 503 "The queue can't be reached now",
    StoreUnavailable "store_unavailable" 503 "The store can't be reached now",
    Overloaded "overloaded" 503 "Too much is being done at this moment",
    Draining "draining" 503 "This process is stopping",
    MasterKeyMissing "master_key_missing" 503 "No master key is set, so secrets can't be used",
    Internal "internal" 500 "Something went wrong inside",
    // How a job ended.
    HandlerInvalid "handler_invalid" 422 "The handler's source does not compile",
    HandlerMissing "handler_missing" 422 "The source has no handle_event that can be called",
    HandlerRaised "handler_raised" 502 "The handler raised an exception",
    HandlerExited "handler_exited" 502 "The handler ended its process",
    HandlerCrashed "handler_crashed" 502 "The handler's process was killed",
    HandlerTimedOut "handler_timed_out" 504 "The handler used up its timeout",
    OutOfMemory "out_of_memory" 502 "The handler needed more memory than it may have",
    OutputNotJson "output_not_json" 502 "The handler's result is not JSON",
    OutputInvalid "output_invalid" 502 "The result does not fit the output schema",
    OutputTooLarge "output_too_large" 502 "The result is too large",
    EventsTooMany "events_too_many" 502 "The handler sent too many events",
    HttpFailed "http_failed" 502 "The target can't be reached",
    HttpStatus "http_status" 502 "The target answered with an error status",
    HttpAnswerInvalid "http_answer_invalid" 502 "The target's answer is not what the action says",
    SecretMissing "secret_missing" 422 "The action names a secret that is not set",
    SecretUnreadable "secret_unreadable" 502 "A secret can't be opened or used",
    EgressDenied "egress_denied" 403 "The address may not be called",
    WorkerCrashed "worker_crashed" 502 "The job was given up after its worker crashed",
    VersionGone "version_gone" 410 "The version's content is no longer stored",
    DeadlineExceeded "deadline_exceeded" 504 "The job's deadline passed",
    JobCancelled "job_cancelled" 409 "The job was cancelled",
}

impl Code {
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// True if the same request may well work a little later.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::QueueUnavailable | Self::StoreUnavailable | Self::Overloaded | Self::Draining)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_opens_with_its_name_and_says_what_to_do() {
        for code in Code::ALL {
            let page = code.page();
            assert!(page.starts_with(&format!("# {code}\n")), "{code}: the page must open with the code");
            assert!(page.contains("## What to do"), "{code}: the page must say what to do");
        }
    }

    #[test]
    fn there_is_no_page_without_a_code() {
        let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/errors")).unwrap();
        for page in pages {
            let name = page.unwrap().file_name().into_string().unwrap();
            assert!(Code::from_name(name.trim_end_matches(".md")).is_some(), "{name} has no code");
        }
    }

    #[test]
    fn names_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.as_str()), Some(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
