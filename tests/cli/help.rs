//! Help texts are part of the interface: each is compared with a file, to the letter.
//! `SORTIE_TEST_REWRITE=1` writes the files anew; read the difference before you commit it.

use std::path::{Path, PathBuf};

use super::sortie;

const COMMANDS: [&str; 11] =
    ["", "serve", "dispatcher", "worker", "submit", "jobs", "actions", "keys", "secrets", "doctor", "demo"];

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let mut changed = Vec::new();
    for command in COMMANDS {
        let name = if command.is_empty() { "sortie" } else { command };
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let help = sortie(&arguments).expect(0).out;
        changed.extend(compare(&snapshot(name), &help));
    }
    assert!(
        changed.is_empty(),
        "help texts changed: {changed:?}; if that is meant, run this test with SORTIE_TEST_REWRITE=1"
    );
}

#[test]
fn the_help_lists_the_exit_codes_and_the_first_steps() {
    let help = sortie(&["--help"]).expect(0).out;
    for words in ["Exit codes:", "First steps:", "sortie demo", "6  the job failed"] {
        assert!(help.contains(words), "{words} is missing in:\n{help}");
    }
}

#[test]
fn the_helper_of_the_sandbox_is_not_for_people() {
    assert!(!sortie(&["--help"]).expect(0).out.contains("sandbox-exec"));
}

#[test]
fn explain_prints_the_page_of_a_code_and_the_list() {
    let page = sortie(&["explain", "input_invalid"]).expect(0).out;
    assert!(page.starts_with("# input_invalid\n") && page.contains("## What to do"), "{page}");
    let list = sortie(&["explain"]).expect(0).out;
    assert_eq!(list.lines().count(), 1 + protocol::error::Code::ALL.len());
    let wrong = sortie(&["explain", "inputinvalid"]).expect(2);
    assert!(wrong.err.contains("there is no error code"), "{wrong:?}");
}

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(format!("{name}.txt"))
}

/// The file's name if the text differs from it.
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the program")]
fn compare(file: &Path, text: &str) -> Option<String> {
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    if kept == text {
        return None;
    }
    if std::env::var("SORTIE_TEST_REWRITE").is_ok() {
        std::fs::write(file, text).unwrap();
        return None;
    }
    Some(file.display().to_string())
}
