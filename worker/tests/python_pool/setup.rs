//! What `Python::start` says on a host where something is missing.

use std::error::Error as _;

use worker::python::{Error, Options, ProbeError, probe};

use super::support::{BOTH, Dir, interpreter, options, start};

#[tokio::test]
async fn a_missing_interpreter_is_named_with_the_mend() {
    let options = Options { interpreter: "/nonexistent/python3.12".into(), ..options() };
    let error = start(options, 1).await.unwrap_err();
    assert!(matches!(error, Error::Interpreter(ProbeError::Start { .. })), "{error}");
    assert!(error.to_string().contains("/nonexistent/python3.12"));
    assert!(error.to_string().contains("SORTIE_PYTHON"));
}

#[tokio::test]
async fn a_missing_helper_is_named() {
    for isolation in BOTH {
        let options = Options { helper: "/nonexistent/sortie".into(), isolation, ..options() };
        let _dir = Dir(options.runner_dir.clone());
        let error = start(options, 1).await.unwrap_err();
        assert!(matches!(error, Error::Host(_) | Error::Helper { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/sortie"), "{error}");
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_helper_that_is_something_else_is_an_error_and_not_a_hang() {
    for isolation in BOTH {
        let options = Options { helper: "/bin/true".into(), isolation, ..options() };
        let _dir = Dir(options.runner_dir.clone());
        let error = start(options, 2).await.unwrap_err();
        assert!(matches!(error, Error::Host(_) | Error::Template(_)), "{error}");
    }
}

#[tokio::test]
async fn a_directory_that_can_not_be_made_is_named() {
    let options = Options { runner_dir: "/proc/sortie".into(), ..options() };
    let error = start(options, 1).await.unwrap_err();
    assert!(error.to_string().contains("/proc/sortie"), "{error}");
}

#[test]
fn the_interpreter_of_the_tests_is_fit_for_them() {
    let probe = probe(&interpreter()).unwrap();
    assert!(probe.version >= (3, 12, 0));
    assert!(probe.has_requests, "{} lacks `requests`", probe.executable.display());
}
