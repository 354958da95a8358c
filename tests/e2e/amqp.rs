//! A plain `pika` script submits over AMQP and gets its answers.

use std::process::Command;

use serde_json::{Value, json};

use crate::Installation;
use crate::support::{ADMIN_KEY, needed};

#[tokio::test(flavor = "multi_thread")]
async fn a_pika_script_gets_acceptance_and_result_and_twice_the_same_message_is_one_job() {
    let sortie = Installation::distributed().await;
    sortie.client.publish("echo", "def handle_event(data):\n    return data\n", json!({})).await;
    let servers = sortie.servers.as_ref().unwrap();
    let answers = pika(&servers.amqp, &format!("{}.requests", servers.prefix), "echo").await;

    // Accepted twice (the message was published twice), finished at least once; always the same job.
    let of = |kind: &str| -> Vec<&Value> { answers.iter().filter(|answer| answer["type"] == kind).collect() };
    assert_eq!(of("accepted").len(), 2, "{answers:?}");
    let id = &of("accepted")[0]["body"]["id"];
    for answer in of("accepted").into_iter().chain(of("finished")) {
        assert_eq!(answer["body"]["id"], *id);
        assert_eq!(answer["correlation_id"], "my-correlation");
    }
    assert_eq!(of("finished")[0]["body"]["state"], "succeeded");
    assert_eq!(of("finished")[0]["body"]["result"], json!({"city": "Oslo"}));
    let jobs = sortie.client.get("/v1/jobs?action=echo").await;
    assert_eq!(jobs.body["jobs"].as_array().unwrap().len(), 1, "{jobs:?}");

    // A wrong one is refused with the same problem as over HTTP.
    let answers = pika(&servers.amqp, &format!("{}.requests", servers.prefix), "no-such-action").await;
    assert_eq!(answers[0]["type"], "refused", "{answers:?}");
    assert_eq!(answers[0]["body"]["code"], "action_not_found");
}

/// Runs the script of `tests/e2e/submit.py`, and returns what came back to it.
#[expect(clippy::disallowed_methods, reason = "the test starts another system's own client")]
async fn pika(url: &str, exchange: &str, action: &str) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/submit.py");
    let args = [script, url, exchange, ADMIN_KEY, action].map(str::to_owned);
    let output =
        tokio::task::spawn_blocking(move || Command::new(needed("SORTIE_TEST_PYTHON")).args(args).output())
            .await
            .unwrap()
            .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
