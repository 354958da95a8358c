//! `/openapi.json` describes the API that there is: its paths, its error codes, its scopes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Dir, Sortie};

/// Paths of one process, which need no key.
const WITHOUT_KEY: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

#[tokio::test]
async fn every_call_that_is_described_is_there_and_asks_for_a_key() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    let description = server.client.get("/openapi.json").await.body;
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 15, "{paths:?}");
    for (path, calls) in paths {
        for method in calls.as_object().unwrap().keys() {
            let place = path.replace("{id}", "nothing").replace("{name}", "nothing").replace("{number}", "1");
            let method = method.to_uppercase();
            let body = matches!(method.as_str(), "POST" | "PUT").then(|| json!({}));
            let answer = server.client.with_key("").send(&method, &place, &[], body).await;
            if WITHOUT_KEY.contains(&path.as_str()) {
                assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
            } else {
                assert_eq!(answer.code(), "key_missing", "{method} {path}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_lists_of_codes_and_scopes_are_the_whole_lists() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    let description = server.client.get("/openapi.json").await.body;
    let schemas = &description["components"]["schemas"];
    let listed = |name: &str| -> BTreeSet<String> {
        let names = schemas[name]["enum"].as_array().unwrap();
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let codes = protocol::error::Code::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(listed("Code"), codes);
    assert_eq!(listed("Scope"), protocol::key::Scope::ALL.iter().map(ToString::to_string).collect());
    assert_eq!(listed("JobState"), protocol::state::JobState::ALL.iter().map(ToString::to_string).collect());
}
