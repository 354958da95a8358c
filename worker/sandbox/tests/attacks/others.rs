//! Attacks on a slot beside: two slots of one worker, each with a call of its own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use worker::python::Isolation;

use crate::attacks;
use crate::stage::{Given, Pool, Ran, Stage, assert_each, with_function};

attacks!("others.py":
    reads_the_files_of_another_slot,
    reads_the_memory_of_another_slot,
    sees_the_processes_of_another_slot,
    signals_the_processes_of_another_slot,
    connects_to_a_server_of_another_slot,
    connects_to_an_abstract_socket_of_another_slot,
    uses_the_gate_of_another_slot,
    uses_up_what_another_slot_may_have,
    leaves_its_message_in_a_lock,
    finds_the_secret_of_another_call,
);

/// The first of two calls that run beside each other: it does what it does, tells, and waits.
const VICTIM_SECONDS: f64 = 1.2;

/// Two slots, for one attack at a time.
async fn pair() -> tokio::sync::MutexGuard<'static, Pool> {
    static PAIR: OnceCell<tokio::sync::Mutex<Pool>> = OnceCell::const_new();
    let start = || async { tokio::sync::Mutex::new(Pool::start(Isolation::Required, 2).await) };
    PAIR.get_or_init(start).await.lock().await
}

/// What the victim and the attacker told.
async fn beside(stage: &Stage, input: Value) -> (Value, Value) {
    let (victim, attacker) = beside_given(stage, input, Given::default()).await;
    (victim.value(), attacker.value())
}

async fn beside_given(stage: &Stage, mut input: Value, given: Given) -> (Ran, Ran) {
    let pool = pair().await;
    input["seconds"] = VICTIM_SECONDS.into();
    let role = |role: &str| {
        let mut input = with_function(input.clone(), stage.function());
        input["role"] = role.into();
        input
    };
    let victim = async {
        let victim = pool.call(stage.source(), role("victim"), given).await;
        (victim, Instant::now())
    };
    let attacker = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        (pool.call(stage.source(), role("attacker"), Given::default()).await, began)
    };
    let ((victim, ended), (attacker, began)) = tokio::join!(victim, attacker);
    assert!(began < ended, "they ran one after the other");
    (victim, attacker)
}

async fn reads_the_files_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({})).await;
    assert_eq!(
        victim,
        json!({"/tmp": "mine", "/dev/shm": "mine"}),
        "the files of the victim are as it left them"
    );
    assert_eq!(attacker, json!([]));
}

async fn reads_the_memory_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({"halves": ["memory-of-", "the-victim"]})).await;
    assert!(victim.as_u64().unwrap() > 0, "the search finds what is there");
    assert_eq!(attacker["found"], 0);
}

async fn sees_the_processes_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({})).await;
    assert!(victim.as_u64().unwrap() >= 6, "{victim}");
    assert_eq!(attacker, 2, "it sees itself and its template");
}

async fn signals_the_processes_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({})).await;
    assert_eq!(victim, "unharmed");
    assert_eq!(
        attacker,
        json!([1]),
        "the only process that takes its signals is its template, and that ignores them"
    );
}

async fn connects_to_a_server_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({"port": 45_678})).await;
    assert_eq!(victim, json!({"own": "done", "others": 0}));
    assert_each(&attacker, &["ECONNREFUSED", "ENETUNREACH"]);
}

async fn connects_to_an_abstract_socket_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({})).await;
    assert_eq!((victim, attacker), (json!("done"), json!("ECONNREFUSED")));
}

async fn uses_the_gate_of_another_slot(stage: &mut Stage) {
    let (victim, attacker) = beside(stage, json!({})).await;
    assert!(victim.as_u64().unwrap() > 0);
    // Every port of the loopback but its own gate's.
    assert_eq!(attacker["open"], json!(1), "{attacker}");
}

async fn uses_up_what_another_slot_may_have(stage: &mut Stage) {
    // Processes, threads, files and space are counted for each slot by itself, though all have one user.
    let given = Given { memory_mb: 1024, ..Given::default() };
    let (victim, attacker) = beside_given(stage, json!({}), given).await;
    assert_eq!(victim.value(), "used up");
    assert_each(&attacker.value(), &["done"]);
}

async fn leaves_its_message_in_a_lock(stage: &mut Stage) {
    let (_, attacker) = beside(stage, json!({})).await;
    assert_eq!(attacker, json!([]), "locks of other slots can be seen");
}

async fn finds_the_secret_of_another_call(stage: &mut Stage) {
    let halves = ["correct-horse-", "other-staple"];
    let given = Given { secrets: vec![("TOKEN", halves.concat())], ..Given::default() };
    let (victim, attacker) = beside_given(stage, json!({"halves": halves}), given).await;
    assert!(victim.value()["found"].as_u64().unwrap() > 0);
    assert_eq!(attacker.value()["found"], 0);
}
