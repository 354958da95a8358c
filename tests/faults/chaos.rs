//! 5,000 jobs, and batches of short ones beside them, through two dispatchers and three workers, while everything is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checker::Report;
use crate::own_servers::OwnServers;
use crate::support::{Client, Dir, Sortie, free_port, until};

const JOBS: usize = 5_000;
/// Short jobs, which share messages, in each batch; and how often one is submitted.
const BATCH: usize = 64;
const BATCH_EVERY: Duration = Duration::from_millis(500);
const SLOTS: &[&str] = &["--slots", "2"];

/// Long enough that kills hit running attempts, and a result that shows whether it belongs to the input.
const SQUARE: &str = r#"
import time

def handle_event(data):
    time.sleep(0.01)
    return {"number": data["number"], "square": data["number"] ** 2}
"#;

/// So short that its jobs may share a message.
const CUBE: &str = "def handle_event(data):\n    return {'cube': data['number'] ** 3}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_jobs_survive_the_loss_of_everything() {
    let own = OwnServers::up().await;
    let dir = Dir::new();
    let ports = [free_port(), free_port()];
    let worker_ports = [free_port(), free_port(), free_port()];
    let dispatcher = |index: usize| Sortie::launch("dispatcher", &dir, Some(&own.servers), ports[index], &[]);
    let worker =
        |index: usize| Sortie::launch("worker", &dir, Some(&own.servers), worker_ports[index], SLOTS);
    let mut dispatchers = [dispatcher(0), dispatcher(1)];
    let mut workers = [worker(0), worker(1), worker(2)];
    for process in dispatchers.iter().chain(&workers) {
        process.until_ready().await;
    }
    let clients = [dispatchers[0].client.clone(), dispatchers[1].client.clone()];
    clients[0].publish("square", SQUARE, json!({"deadline_ms": 600_000, "timeout_ms": 30_000})).await;

    let terms = json!({"deadline_ms": 600_000, "timeout_ms": 30_000, "reuse": "warm"});
    clients[0].publish("cube", CUBE, terms).await;

    let begun = Instant::now();
    let submitted = Arc::new(AtomicUsize::new(0));
    let submitters: Vec<_> =
        (0..4).map(|part| tokio::spawn(submit(part, clients.clone(), Arc::clone(&submitted)))).collect();

    let batches = tokio::spawn(submit_batches(clients.clone(), Arc::clone(&submitted)));

    // A worker dies every second until all is submitted; the rest happens on the way.
    let done = || submitted.load(Ordering::Relaxed);
    let mut pending = vec![
        ("dispatcher", JOBS / 5),
        ("rabbitmq", 2 * JOBS / 5),
        ("redis", 3 * JOBS / 5),
        ("dispatcher", 4 * JOBS / 5),
    ];
    pending.reverse();
    let mut killed = 0;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while !submitters.iter().all(tokio::task::JoinHandle::is_finished) {
        tick.tick().await;
        workers[killed % 3].kill();
        workers[killed % 3] = worker(killed % 3);
        killed += 1;
        if let Some((what, at)) = pending.last().copied()
            && done() >= at
        {
            pending.pop();
            println!("{:>6.1?} {} submitted: kill -9 {what}", begun.elapsed(), done());
            if what == "dispatcher" {
                let index = pending.len() % 2;
                dispatchers[index].kill();
                dispatchers[index] = dispatcher(index);
            } else {
                own.tell("restart", what).await;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "submitted only {} in ten minutes", done());
    }
    assert!(pending.is_empty(), "everything was submitted before {pending:?} were killed");
    let mut accepted = Vec::new();
    for submitter in submitters {
        accepted.extend(submitter.await.unwrap());
    }
    let short = batches.await.unwrap();
    println!("{:>6.1?} {} short jobs submitted in batches", begun.elapsed(), short.len());
    assert!(short.len() >= 10 * BATCH, "too few batches to say anything");
    let all = JOBS + short.len();
    accepted.extend(short);
    println!("{:>6.1?} all submitted; workers killed: {killed}", begun.elapsed());

    for client in &clients {
        until("the dispatchers are back", Duration::from_secs(30), || async {
            (client.status("/readyz").await == Some(200)).then_some(())
        })
        .await;
    }
    for (id, _) in &accepted {
        clients[0].finished(id).await;
    }
    println!("{:>6.1?} all finished", begun.elapsed());
    let report = Report::of(&clients[0], &accepted).await;
    println!("{report}");
    assert_eq!(report.accepted, all);
    report.assert_invariants();
}

/// Submits a quarter of the jobs, each until some dispatcher answers 202: with the same idempotency key, so
/// that a lost answer makes no second job.
async fn submit(part: usize, clients: [Client; 2], submitted: Arc<AtomicUsize>) -> Vec<(String, Value)> {
    let mut accepted = Vec::new();
    for number in (part..JOBS).step_by(4) {
        let body = json!({"action": "square", "input": {"number": number}}).to_string().into_bytes();
        let key = format!("chaos-{number}");
        let mut attempt = number;
        let id = loop {
            let client = &clients[attempt % 2];
            attempt += 1;
            match client.try_send("POST", "/v1/jobs", &[("idempotency-key", &key)], Some(body.clone())).await
            {
                Ok(answer) if answer.status == 202 || answer.status == 200 => break answer.id(),
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{answer:?}");
                    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        accepted.push((id, json!({"number": number, "square": number * number})));
        submitted.fetch_add(1, Ordering::Relaxed);
    }
    accepted
}

/// Submits batches until all other jobs are: each until every job of it is accepted, with the same idempotency key.
async fn submit_batches(clients: [Client; 2], others: Arc<AtomicUsize>) -> Vec<(String, Value)> {
    let mut accepted = Vec::new();
    let mut tick = tokio::time::interval(BATCH_EVERY);
    for batch in 0.. {
        if others.load(Ordering::Relaxed) >= JOBS {
            break;
        }
        tick.tick().await;
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let job = |number| json!({"action": "cube", "input": {"number": number}});
        let body = json!({"jobs": numbers.clone().map(job).collect::<Vec<_>>()}).to_string().into_bytes();
        let key = format!("chaos-batch-{batch}");
        let mut attempt = batch;
        let ids: Vec<String> = loop {
            let client = &clients[attempt % 2];
            attempt += 1;
            let headers = [("idempotency-key", key.as_str())];
            let answer = client.try_send("POST", "/v1/jobs/batch", &headers, Some(body.clone())).await;
            if let Ok(answer) = answer {
                assert!([200, 503].contains(&answer.status), "{answer:?}");
                let jobs = answer.body["answers"].as_array().cloned().unwrap_or_default();
                assert!(jobs.iter().all(|job| [200, 202, 503].contains(&job["status"].as_u64().unwrap())));
                let ids = jobs.iter().filter_map(|job| job["job"]["id"].as_str().map(str::to_owned));
                let ids: Vec<_> = ids.collect();
                if ids.len() == BATCH {
                    break ids;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        accepted.extend(ids.into_iter().zip(numbers.map(|number| json!({"cube": number.pow(3)}))));
    }
    accepted
}
