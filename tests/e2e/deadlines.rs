//! Deadlines and timeouts: nobody is left waiting, and nothing runs on.

use std::time::{Duration, Instant};

use protocol::event::EventKind;
use protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{Dir, Servers, Sortie, until};
use crate::{Installation, journeys};

journeys!(
    a_handler_that_does_not_end_is_dead_within_200_ms_of_its_timeout,
    the_deadline_ends_an_attempt_before_its_timeout,
    a_cancelled_handler_is_dead_at_once,
);

/// Gives its process a name of its own and yields it first, so that the test can look whether the process is gone: the
/// number that it knows itself by is that of its own process namespace.
const STUBBORN: &str = r#"
import ctypes, os, signal, time

def handle_event(data):
    name = "s" + os.urandom(5).hex()
    ctypes.CDLL(None).prctl(15, name.encode())  # PR_SET_NAME
    yield name
    if data["how"] == "ignore":
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
    if data["how"] == "spin":
        while True:
            pass
    while True:
        time.sleep(60)
"#;

/// Waits until no process has that name, and says how long that took: the kernel takes a killed process apart beside us.
async fn gone(name: &Value) -> Duration {
    let asked = Instant::now();
    until("the handler's process is gone", Duration::from_secs(20), || async { (!runs(name)).then_some(()) })
        .await;
    asked.elapsed()
}

/// True if some process has that name.
fn runs(name: &Value) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("comm"));
    processes
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|comm| comm.trim() == name.as_str().unwrap())
}

/// How late a killed attempt may be, measured from its own limit.
const LATE: Duration = Duration::from_millis(200);

/// Something is no later than `limit`, given five tries: the machine may be busy for a moment, but who is late by design is
/// so every time.
async fn in_time(what: &str, limit: Duration, measure: impl AsyncFn() -> Duration) {
    let mut times = Vec::new();
    while times.len() < 5 {
        times.push(measure().await);
        if times.last() < Some(&limit) {
            println!("{what}: {times:?}");
            return;
        }
    }
    panic!("{what}: later than {limit:?} each time: {times:?}");
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

/// How long the only attempt of `job` ran.
fn ran(job: &Value) -> Duration {
    let attempt = &job["attempts"][0];
    instant(&attempt["ended_at"]).since(instant(&attempt["started_at"]))
}

async fn a_handler_that_does_not_end_is_dead_within_200_ms_of_its_timeout(sortie: &Installation) {
    let timeout = Duration::from_millis(1_500);
    sortie.client.publish("stubborn", STUBBORN, json!({"timeout_ms": 1_500})).await;
    for how in ["sleep", "spin", "ignore"] {
        in_time(&format!("{how}: dead after its timeout"), LATE, async || {
            let submitted =
                sortie.client.post("/v1/jobs", json!({"action": "stubborn", "input": {"how": how}})).await;
            let events = sortie.client.events(&submitted.id()).await;
            let told = events.iter().find(|event| event.kind == EventKind::Chunk).unwrap().data.value();
            let dying = gone(&told).await;
            let job = sortie.client.finished(&submitted.id()).await;
            assert_eq!(job["state"], "failed", "{job}");
            assert_eq!(job["error"]["code"], "handler_timed_out");
            assert_eq!(job["attempts"][0]["outcome"], "timed_out");
            ran(&job).saturating_sub(timeout) + dying
        })
        .await;
    }
}

async fn the_deadline_ends_an_attempt_before_its_timeout(sortie: &Installation) {
    sortie.client.publish("stubborn", STUBBORN, json!({"timeout_ms": 30_000})).await;
    let body = json!({"action": "stubborn", "input": {"how": "spin"}, "deadline_ms": 900});
    in_time("ended after its deadline", LATE, async || {
        let id = sortie.client.post("/v1/jobs", body.clone()).await.id();
        let job = sortie.client.finished(&id).await;
        assert_eq!(job["state"], "expired", "{job}");
        assert_eq!(job["error"]["code"], "deadline_exceeded");
        instant(&job["finished_at"]).since(instant(&job["deadline"]))
    })
    .await;
}

async fn a_cancelled_handler_is_dead_at_once(sortie: &Installation) {
    sortie.client.publish("stubborn", STUBBORN, json!({"timeout_ms": 30_000})).await;
    let body = json!({"action": "stubborn", "input": {"how": "ignore"}});
    in_time("cancelled and dead", Duration::from_millis(600), async || {
        let id = sortie.client.post("/v1/jobs", body.clone()).await.id();
        let mut stream = sortie.client.stream(&id, 0).await;
        let told = loop {
            let event = stream.next().await.unwrap();
            if event.kind == EventKind::Chunk {
                break event.data.value();
            }
        };
        assert!(runs(&told), "the name can be found while it runs");
        let asked = Instant::now();
        let answer = sortie.client.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await;
        assert!(answer.status == 202 || answer.status == 200, "{answer:?}");
        let job = sortie.client.finished(&id).await;
        gone(&told).await;
        let took = asked.elapsed();
        assert_eq!(job["state"], "cancelled", "{job}");
        assert_eq!(job["attempts"][0]["outcome"], "cancelled");
        took
    })
    .await;
}

/// Submits a job that nobody can run, which must become `expired` in time.
async fn expires(sortie: &Sortie, lane: &str) {
    sortie.client.publish("lonely", "def handle_event(data):\n    return 1\n", json!({})).await;
    let body = json!({"action": "lonely", "lane": lane, "deadline_ms": 600});
    in_time("expired after its deadline", Duration::from_secs(1), async || {
        let id = sortie.client.post("/v1/jobs", body.clone()).await.id();
        let job = sortie.client.finished(&id).await;
        assert_eq!(job["state"], "expired", "{job}");
        assert_eq!(job["attempts"], json!([]));
        instant(&job["finished_at"]).since(instant(&job["deadline"]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_worker_expires_within_a_second_distributed() {
    let (dir, servers) = (Dir::new(), Servers::of_the_run());
    expires(&Sortie::distributed("dispatcher", &dir, &servers, &[]).await, "default").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_worker_expires_within_a_second_embedded() {
    let dir = Dir::new();
    // The one process serves the lane `default` only.
    expires(&Sortie::embedded(&dir, &["--slots", "1"]).await, "elsewhere").await;
}
