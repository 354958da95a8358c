//! `reuse: "warm"`: the process stays for calls of the same tenant and version, until something speaks against it.

use std::sync::Arc;
use std::time::Duration;

use protocol::action::Reuse;
use protocol::id::TenantId;
use protocol::outcome::Ending;
use serde_json::{Value, json};
use worker::python::Isolation;

use super::processes::{alive, send};
use super::support::{BOTH, Pool, UNIVERSAL, call, eventually};

const LIMIT: Duration = Duration::from_secs(30);

async fn warm(pool: &Pool, input: Value) -> Value {
    pool.call(call(UNIVERSAL, input, Reuse::Warm), LIMIT).await.value()
}

#[tokio::test]
async fn calls_of_one_version_share_a_process() {
    let pool = Pool::start(2).await;
    for count in 1..=5 {
        assert_eq!(warm(&pool, json!({"do": "counter"})).await, count);
    }
    // A fresh call in between takes the other slot, and leaves the warm process alone.
    pool.assert_unharmed().await;
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 6);
    let ran = pool.call(call(UNIVERSAL, json!({"do": "print"}), Reuse::Warm), LIMIT).await;
    assert_eq!(ran.text("stderr"), "to stderr\n");
    assert_eq!(warm(&pool, json!({"do": "stream", "count": 1})).await, json!([{"number": 0}]));
}

#[tokio::test]
async fn another_tenant_or_version_gets_another_process() {
    let pool = Pool::start(1).await;
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1);
    let mut other = call(UNIVERSAL, json!({"do": "counter"}), Reuse::Warm);
    Arc::make_mut(&mut other.spec).tenant = TenantId::new("other").unwrap();
    assert_eq!(pool.call(other, LIMIT).await.value(), 1);
    let changed = format!("{UNIVERSAL}\n# another version\n");
    assert_eq!(pool.call(call(&changed, json!({"do": "counter"}), Reuse::Warm), LIMIT).await.value(), 1);
    pool.assert_unharmed().await;
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1);
}

#[tokio::test]
async fn a_failure_or_something_left_behind_ends_it() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        for name in
            ["raise", "exit", "_exit", "kill", "set", "thread", "subprocess", "daemon", "second_result"]
        {
            assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1, "before {name}");
            let mut second = warm(&pool, json!({"do": "counter"})).await;
            for _ in 0..5 {
                // Without namespaces what a call left is looked for, which has its time: on a machine that is busy just then
                // the slot is replaced.
                if isolation == Isolation::None && second == 1 {
                    second = warm(&pool, json!({"do": "counter"})).await;
                }
            }
            assert_eq!(second, 2, "before {name}");
            let ran = pool.call(call(UNIVERSAL, json!({"do": name}), Reuse::Warm), LIMIT).await;
            assert_ne!(ran.ending, Ending::Interrupted, "{name} hangs");
            if matches!(name, "subprocess" | "daemon") {
                assert_eq!(pool.find(&ran.value()), None, "{name}: what it left still lives");
            }
        }
        let spin = call(UNIVERSAL, json!({"do": "spin"}), Reuse::Warm);
        pool.call(spin, Duration::from_millis(200)).await;
        assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1);
    }
}

#[tokio::test]
async fn files_do_not_stay_in_a_warm_process() {
    let pool = Pool::start(1).await;
    for _ in 0..2 {
        assert_eq!(warm(&pool, json!({"do": "files"})).await["found"], json!([]));
    }
}

#[tokio::test]
async fn a_warm_process_that_died_is_noticed_before_the_next_call() {
    let pool = Pool::start(1).await;
    let pid = warm(&pool, json!({"do": "pid"})).await;
    let number = pool.find(&pid).expect("it is kept");
    send("KILL", number);
    eventually("it is dead", || !alive(number)).await;
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1);
}

#[tokio::test]
async fn after_a_thousand_calls_it_is_a_new_one() {
    let pool = Pool::start(1).await;
    for _ in 0..999 {
        warm(&pool, json!({"do": "ok"})).await;
    }
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1000);
    assert_eq!(warm(&pool, json!({"do": "counter"})).await, 1);
}
