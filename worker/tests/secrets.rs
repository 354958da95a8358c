//! Secrets on their way through a worker: opened for the version that names them, and cut out of all that it tells.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod support;

use std::time::Duration;

use protocol::error::Code;
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::outcome::Outcome;
use protocol::seal::MasterKeys;
use serde_json::{Value, json};
use support::{Stage, master_keys};

const VALUE: &str = "pässwörd/with \"every\" trouble\n+ more";

/// The finished job, and all that was told of it as text.
async fn run(stage: &Stage, input: Value, version: Value) -> (Job, String) {
    let running = stage.worker(1, Duration::from_secs(5)).await;
    let spec = stage.submit(input, version, |_| {}).await;
    let job = stage.over(&spec).await;
    running.stopped().await;
    let told = told(stage, &spec, &job).await;
    (job, told)
}

async fn told(stage: &Stage, spec: &JobSpec, job: &Job) -> String {
    let page = stage.real.store.events(&spec.tenant, spec.id, 0, 1000).await.unwrap().unwrap();
    format!("{job:?} {}", page.events.iter().map(|event| event.data.text().to_owned()).collect::<String>())
}

#[tokio::test]
async fn a_handler_gets_what_its_version_names_and_nothing_of_it_is_told() {
    let stage = Stage::set().await;
    stage.set_secret(&master_keys(), "API_KEY", VALUE).await;
    stage.set_secret(&master_keys(), "OTHER", "not for this one").await;
    let version = json!({"secrets": ["API_KEY"]});
    let (job, told) = run(&stage, json!({"do": "tell"}), version.clone()).await;
    assert_eq!(job.result.as_ref().unwrap().value(), json!({"told": "API_KEY=[secret API_KEY]"}));
    assert!(!told.contains("trouble") && !told.contains("wörd") && !told.contains("OTHER"), "{told}");
    // In the log, which came in pieces, in the chunk, in the progress, in the result and its event.
    assert!(told.matches("[secret API_KEY]").count() >= 5, "{told}");
    assert_eq!(job.attempts[0].isolation, Isolation::Partial);

    let (job, told) = run(&stage, json!({"do": "tell", "fail": true}), version).await;
    assert_eq!(job.error.as_ref().unwrap().message, "API_KEY=[secret API_KEY]");
    assert!(!told.contains("trouble") && !told.contains("wörd"), "{told}");
}

#[tokio::test]
async fn a_version_that_names_none_gets_none() {
    let stage = Stage::set().await;
    stage.set_secret(&master_keys(), "API_KEY", VALUE).await;
    let (job, _) = run(&stage, json!({"do": "tell"}), json!({})).await;
    assert_eq!(job.result.unwrap().value(), json!({"told": ""}));
    assert_eq!(stage.faults.calls("registry.secret"), 0);
}

#[tokio::test]
async fn a_missing_secret_ends_the_job_at_once_and_its_handler_never_starts() {
    let stage = Stage::set().await;
    let version = json!({"secrets": ["API_KEY"], "retry": {"max_attempts": 3, "backoff_ms": 1}});
    let (job, _) = run(&stage, json!({"do": "tell"}), version).await;
    let error = job.error.unwrap();
    assert_eq!(error.code, Code::SecretMissing);
    assert!(error.message.contains("API_KEY"), "{}", error.message);
    assert_eq!((job.attempts.len(), job.attempts[0].outcome), (1, Some(Outcome::Failed)));
    assert!(stage.script.runs().is_empty());
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_says_why_and_may_be_tried_again() {
    let stage = Stage::set().await;
    let strange = MasterKeys::parse("//////////////////////////////////////////8=").unwrap();
    stage.set_secret(&strange, "API_KEY", VALUE).await;
    let version = json!({"secrets": ["API_KEY"], "retry": {"max_attempts": 2, "backoff_ms": 1}});
    let (job, _) = run(&stage, json!({"do": "tell"}), version).await;
    let error = job.error.unwrap();
    assert_eq!((error.code, job.attempts.len()), (Code::SecretUnreadable, 2));
    assert!(error.message.contains(strange.ids().next().unwrap()), "{}", error.message);
}

#[tokio::test]
async fn a_registry_that_is_away_costs_no_attempt() {
    let stage = Stage::set().await;
    stage.set_secret(&master_keys(), "API_KEY", VALUE).await;
    stage.faults.fail_next("registry.secret", 2);
    let (job, _) = run(&stage, json!({"do": "tell"}), json!({"secrets": ["API_KEY"]})).await;
    assert_eq!((job.attempts.len(), stage.faults.calls("registry.secret")), (1, 3));
}

#[tokio::test]
async fn a_secret_that_is_set_again_reaches_the_next_call() {
    let stage = Stage::set().await;
    for value in ["the first value", "the second value"] {
        stage.set_secret(&master_keys(), "API_KEY", value).await;
        let (job, told) = run(&stage, json!({"do": "tell"}), json!({"secrets": ["API_KEY"]})).await;
        assert_eq!(job.result.unwrap().value(), json!({"told": "API_KEY=[secret API_KEY]"}));
        assert!(!told.contains(value), "{told}");
    }
}
