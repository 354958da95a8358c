//! Whether a content may be published or tried: every bound, both schemas, the handler. Tells all that is
//! wrong at once. Python is only compiled where it runs, never here.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use protocol::action::{Content, Handler};
use protocol::error::{Code, Fault, Problem};
use protocol::http_template;
use protocol::limits;
use protocol::schema::Schema;

use crate::intake;
use crate::intake::resolve::Terms;
use crate::options::Options;

/// Memory of one attempt, in MiB. Below the least of it Python doesn't start.
const MEMORY_MB: RangeInclusive<u32> = 16..=8192;
/// Attempts of one job.
const ATTEMPTS: RangeInclusive<u32> = 1..=20;
/// What a pause between attempts is multiplied by.
const FACTOR: RangeInclusive<f64> = 1.0..=10.0;
/// A pause between attempts, in milliseconds: no job lives longer than a day.
const PAUSE_MS: RangeInclusive<u64> = 0..=86_400_000;

/// Checks a content, found at the pointer `root`, and gives back its terms.
pub(crate) fn content(root: &str, content: &Content, options: &Options) -> Result<Terms, Problem> {
    let size = serde_json::to_vec(content).map(|bytes| bytes.len()).unwrap_or(usize::MAX);
    if size > limits::CONTENT_BYTES {
        let detail =
            format!("the content has {size} bytes of JSON; at most {} are allowed", limits::CONTENT_BYTES);
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let faults = faults(root, content, options.deadline_ceiling);
    if !faults.is_empty() {
        return Err(intake::invalid(faults));
    }
    if let Some(schema) = &content.output_schema {
        Schema::compile(schema, &format!("{root}/output_schema"))?;
    }
    Terms::of(root, content)
}

fn faults(root: &str, content: &Content, deadline_ceiling: Duration) -> Vec<Fault> {
    let retry = &content.retry;
    let mut faults: Vec<Fault> = [
        within(root, "timeout_ms", &content.timeout_ms, &(1..=millis(limits::TIMEOUT_CEILING))),
        within(root, "deadline_ms", &content.deadline_ms, &(1..=millis(deadline_ceiling))),
        within(root, "memory_mb", &content.memory_mb, &MEMORY_MB),
        within(root, "retry/max_attempts", &retry.max_attempts, &ATTEMPTS),
        within(root, "retry/backoff_ms", &retry.backoff_ms, &PAUSE_MS),
        within(root, "retry/factor", &retry.factor, &FACTOR),
        within(root, "retry/max_backoff_ms", &retry.max_backoff_ms, &PAUSE_MS),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Each entry was checked where it was read.
    if let Some(count) = content.egress.as_ref().map(|egress| egress.allow.len())
        && count > limits::EGRESS_HOSTS
    {
        let message = format!("must have at most {} entries, and has {count}", limits::EGRESS_HOSTS);
        faults.push(Fault::at(format!("{root}/egress/allow"), message));
    }
    if content.secrets.len() > limits::SECRETS {
        let message =
            format!("must name at most {} secrets, and names {}", limits::SECRETS, content.secrets.len());
        faults.push(Fault::at(format!("{root}/secrets"), message));
    }
    for (index, name) in content.secrets.iter().enumerate() {
        if content.secrets[..index].contains(name) {
            faults.push(Fault::at(format!("{root}/secrets/{index}"), format!("names {name} a second time")));
        }
    }
    match &content.handler {
        Handler::Python { source } if source.trim().is_empty() => {
            faults
                .push(Fault::at(format!("{root}/handler/source"), "is empty; it needs a handle_event(data)"));
        }
        Handler::Python { .. } => {}
        Handler::Http(handler) => faults.extend(
            http_template::check(handler)
                .into_iter()
                .map(|fault| Fault { pointer: format!("{root}/handler{}", fault.pointer), ..fault }),
        ),
    }
    faults
}

fn within<T: PartialOrd + Display>(
    root: &str,
    field: &str,
    value: &T,
    range: &RangeInclusive<T>,
) -> Option<Fault> {
    let message = || format!("must lie between {} and {}, and is {value}", range.start(), range.end());
    (!range.contains(value)).then(|| Fault::at(format!("{root}/{field}"), message()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(fields: Value) -> Result<(), (Code, Vec<String>)> {
        let mut body = json!({"handler": {"kind": "python", "source": "def handle_event(data): return 1"}});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let content = serde_json::from_value(body).unwrap();
        super::content("", &content, &Options::default()).map(drop).map_err(|problem| {
            (problem.code, problem.faults.into_iter().map(|fault| fault.pointer).collect())
        })
    }

    #[test]
    fn every_bound_is_kept_and_all_faults_are_told_at_once() {
        assert_eq!(check(json!({})), Ok(()));
        assert_eq!(check(json!({"memory_mb": 16, "timeout_ms": 900_000, "deadline_ms": 86_400_000})), Ok(()));
        let wrong = json!({
            "timeout_ms": 0, "deadline_ms": 86_400_001, "memory_mb": 15,
            "retry": {"max_attempts": 21, "factor": 0.5, "backoff_ms": 86_400_001, "max_backoff_ms": 86_400_001},
            "handler": {"kind": "python", "source": " \n"},
        });
        let (code, places) = check(wrong).unwrap_err();
        assert_eq!(code, Code::FieldInvalid);
        assert_eq!(
            places,
            [
                "/timeout_ms",
                "/deadline_ms",
                "/memory_mb",
                "/retry/max_attempts",
                "/retry/backoff_ms",
                "/retry/factor",
                "/retry/max_backoff_ms",
                "/handler/source"
            ]
        );
    }

    #[test]
    fn an_allow_list_is_bounded() {
        let hosts = |count| json!({"egress": {"allow": vec!["a.example"; count]}});
        assert_eq!(check(hosts(limits::EGRESS_HOSTS)), Ok(()));
        let (code, places) = check(hosts(limits::EGRESS_HOSTS + 1)).unwrap_err();
        assert_eq!((code, places), (Code::FieldInvalid, vec!["/egress/allow".to_owned()]));
    }

    #[test]
    fn secrets_are_few_and_each_is_named_once() {
        let names =
            |count: usize| json!({"secrets": (0..count).map(|n| format!("S{n}")).collect::<Vec<_>>()});
        assert_eq!(check(names(limits::SECRETS)), Ok(()));
        assert_eq!(check(names(limits::SECRETS + 1)).unwrap_err().1, ["/secrets"]);
        assert_eq!(check(json!({"secrets": ["A", "B", "A"]})).unwrap_err().1, ["/secrets/2"]);
    }

    #[test]
    fn both_schemas_are_compiled() {
        let code = |fields| check(fields).unwrap_err();
        assert_eq!(code(json!({"input_schema": {"type": "strin"}})).0, Code::SchemaInvalid);
        let (code, places) = code(json!({"output_schema": {"$ref": "file:///etc/passwd"}}));
        assert_eq!((code, places), (Code::SchemaReference, vec!["/output_schema/$ref".to_owned()]));
    }

    #[test]
    fn a_content_beyond_the_limit_is_too_large() {
        let (code, _) = check(json!({"description": "x".repeat(limits::CONTENT_BYTES)})).unwrap_err();
        assert_eq!(code, Code::BodyTooLarge);
    }
}
