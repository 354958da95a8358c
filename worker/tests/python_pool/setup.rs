//! What `Python::start` says on a host where something is missing.

use std::error::Error as _;

use worker::python::{Error, Options, ProbeError, Python, probe};

use super::support::{interpreter, options};

#[tokio::test]
async fn a_missing_interpreter_is_named_with_the_mend() {
    let options = Options { interpreter: "/nonexistent/python3.12".into(), ..options() };
    let error = Python::start(options, 1).await.unwrap_err();
    assert!(matches!(error, Error::Interpreter(ProbeError::Start { .. })), "{error}");
    assert!(error.to_string().contains("/nonexistent/python3.12"));
    assert!(error.to_string().contains("SORTIE_PYTHON"));
}

#[tokio::test]
async fn a_missing_helper_is_named() {
    let options = Options { helper: "/nonexistent/sortie".into(), ..options() };
    let dir = options.runner_dir.clone();
    let error = Python::start(options, 1).await.unwrap_err();
    assert!(matches!(error, Error::Helper { .. }), "{error}");
    assert!(error.source().is_some());
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_helper_that_is_something_else_is_an_error_and_not_a_hang() {
    let options = Options { helper: "/bin/true".into(), ..options() };
    let dir = options.runner_dir.clone();
    let error = Python::start(options, 2).await.unwrap_err();
    assert!(matches!(error, Error::Template(_)), "{error}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_directory_that_can_not_be_made_is_named() {
    let options = Options { runner_dir: "/proc/sortie".into(), ..options() };
    let error = Python::start(options, 1).await.unwrap_err();
    assert!(error.to_string().contains("/proc/sortie"), "{error}");
}

#[test]
fn the_interpreter_of_the_tests_is_fit_for_them() {
    let probe = probe(&interpreter()).unwrap();
    assert!(probe.version >= (3, 12, 0));
    assert!(probe.has_requests, "{} lacks `requests`", probe.executable.display());
}
