//! The commands, one file each: read arguments, ask the server or this host, print the answer.

pub(crate) mod actions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod secrets;
pub(crate) mod submit;

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::exit::{Exit, Failure};

/// The text that an argument stands for: `-` is stdin, `@FILE` a file, anything else is meant literally.
fn text_or_file(argument: &str) -> Result<String, Failure> {
    match (argument, argument.strip_prefix('@')) {
        ("-", _) => stdin(),
        (_, Some(path)) => file(path),
        (text, None) => Ok(text.to_owned()),
    }
}

/// A file's text; `-` is stdin.
fn file(path: &str) -> Result<String, Failure> {
    if path == "-" {
        return stdin();
    }
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("can't read {path}: {error}")))
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Exit::Usage, format!("can't read stdin: {error}")))?;
    Ok(text)
}

/// JSON out of an argument or a file, which `what` names.
fn parse(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(Exit::Usage, format!("{what} is not JSON: {error}"))
            .hint("quote it for the shell ('{\"city\": \"Oslo\"}'), or use @FILE or - for stdin")
    })
}

/// A duration as the API's fields have it.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A text field of an answer; empty if it isn't there.
fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
