//! What survives: `kill -9` of the one process of an embedded installation, SIGTERM, and a second process.

use std::time::Duration;

use serde_json::json;

use crate::support::{Dir, Sortie, until};

const ECHO: &str = "def handle_event(data):\n    return data\n";

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_1000_submits_loses_nothing_that_was_answered() {
    let dir = Dir::new();
    let mut sortie = Sortie::embedded(&dir, &["--slots", "2"]).await;
    sortie.client.publish("echo", ECHO, json!({"deadline_ms": 300_000, "timeout_ms": 20_000})).await;

    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let submitters: Vec<_> = (0..8_u32)
        .map(|part| {
            let (client, answered) = (sortie.client.clone(), answered.clone());
            tokio::spawn(async move {
                for number in (part..1_000).step_by(8) {
                    let body =
                        json!({"action": "echo", "input": {"number": number}}).to_string().into_bytes();
                    let answer = loop {
                        // After the kill nobody answers any more.
                        let Ok(answer) = client.try_send("POST", "/v1/jobs", &[], Some(body.clone())).await
                        else {
                            return;
                        };
                        // 503: the disk is slow just now.
                        if answer.status != 503 {
                            break answer;
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    };
                    assert_eq!(answer.status, 202, "{answer:?}");
                    let _ = answered.send((answer.id(), number));
                }
            })
        })
        .collect();
    drop(answered);

    let mut accepted = Vec::new();
    while accepted.len() < 500 {
        accepted.push(answers.recv().await.unwrap());
    }
    sortie.kill();
    for submitter in submitters {
        submitter.await.unwrap();
    }
    while let Some(answer) = answers.recv().await {
        accepted.push(answer);
    }

    let sortie = Sortie::embedded(&dir, &["--slots", "2"]).await;
    let mut crashed = 0;
    for (id, number) in &accepted {
        let job = sortie.client.finished(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"], json!({"number": number}));
        crashed += usize::from(job["attempts"].as_array().unwrap().len() > 1);
    }
    println!("answered before the kill: {}, finished: all, run again: {crashed}", accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_is_refused() {
    let dir = Dir::new();
    let first = Sortie::embedded(&dir, &["--slots", "1"]).await;
    let mut second = Sortie::launch("serve", &dir, None, crate::support::free_port(), &["--slots", "1"]);
    assert_eq!(second.exit_code(Duration::from_secs(10)).await, Some(3), "{}", second.log());
    let log = second.log();
    assert!(log.contains("another") && log.contains(&*dir.path().join("data").to_string_lossy()), "{log}");
    assert_eq!(first.client.status("/readyz").await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_jobs_finish_and_keeps_waiting_ones() {
    let dir = Dir::new();
    let mut sortie = Sortie::embedded(&dir, &["--slots", "1"]).await;
    let slow = "import time\ndef handle_event(data):\n    time.sleep(1)\n    return data\n";
    sortie.client.publish("slow", slow, json!({})).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(sortie.client.post("/v1/jobs", json!({"action": "slow", "input": number})).await.id());
    }
    // Perhaps not the first any more.
    until("one of them runs", Duration::from_secs(10), || async {
        for id in &ids {
            if sortie.client.get(&format!("/v1/jobs/{id}")).await.body["state"] == "running" {
                return Some(());
            }
        }
        None
    })
    .await;
    assert_eq!(sortie.terminate().await, Some(0), "{}", sortie.log());

    let sortie = Sortie::embedded(&dir, &["--slots", "1"]).await;
    for (number, id) in ids.iter().enumerate() {
        let job = sortie.client.finished(id).await;
        assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!(number)), "{job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
}
