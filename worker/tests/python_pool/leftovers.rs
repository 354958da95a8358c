//! Nothing of a call is there when the next one starts: no process, thread, file, descriptor or variable.

use std::time::Duration;

use protocol::action::Reuse;
use protocol::outcome::Ending;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::handler::{EventSink, Handler};
use worker::python::Isolation;

use super::processes::alive;
use super::support::{BOTH, Pool, UNIVERSAL, call, eventually};

#[tokio::test]
async fn processes_that_a_call_started_are_dead_when_it_has_returned() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        for name in ["fork", "subprocess", "daemon"] {
            let pid = pool.run(json!({"do": name})).await.value();
            assert!(pid.is_u64(), "{name}: {pid}");
            assert_eq!(pool.find(&pid), None, "{name}: {pid} still lives");
            pool.assert_unharmed().await;
            eventually("only what waits for calls is left", || pool.processes().len() == pool.at_rest())
                .await;
        }
    }
}

#[tokio::test]
async fn threads_and_exit_hooks_do_not_hold_a_call_up() {
    let pool = Pool::start(1).await;
    assert_eq!(pool.run(json!({"do": "thread"})).await.value(), "left a thread");
    assert_eq!(pool.run(json!({"do": "atexit"})).await.value(), "left an exit hook");
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_is_killed_with_everything_it_started() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        let source = "import os, subprocess, time
def handle_event(data):
    child = subprocess.Popen(['sleep', '600'])
    print(os.getpid(), child.pid, os.getppid(), flush=True)
    time.sleep(600)";
        let sink = EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let running = tokio::spawn({
            let (python, sink) = (pool.python.clone(), sink.clone());
            async move { python.run(call(source, json!({}), Reuse::Fresh), sink, CancellationToken::new()).await }
        });
        eventually("the handler told its processes", || !sink.rest().events.is_empty()).await;
        let told = sink.rest().events[0].data.value();
        let told = told["text"].as_str().unwrap().split_whitespace();
        let pids: Vec<i32> = told.map(|pid| pool.find(&pid.parse().unwrap()).expect("it lives")).collect();
        running.abort();
        eventually("all its processes are dead", || !pids.iter().copied().any(alive)).await;
        pool.assert_unharmed().await;
    }
}

#[tokio::test]
async fn every_call_is_the_first_in_its_process() {
    let pool = Pool::start(1).await;
    let counter = include_str!("../../../tests/fixtures/handlers/counter.py");
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        assert_eq!(pool.source(counter, json!({})).await.value(), 1);
        pids.insert(pool.run(json!({"do": "pid"})).await.value().to_string());
    }
    assert_eq!(pids.len(), 20);
    let random = "import random, uuid\ndef handle_event(data): return [random.random(), str(uuid.uuid4())]";
    let (one, two) =
        (pool.source(random, json!({})).await.value(), pool.source(random, json!({})).await.value());
    assert!(one[0] != two[0] && one[1] != two[1]);
}

#[tokio::test]
async fn the_private_directory_is_empty_at_every_start() {
    let pool = Pool::start(1).await;
    for _ in 0..3 {
        let value = pool.run(json!({"do": "files"})).await.value();
        assert_eq!(value["found"], json!([]));
        assert_eq!(value["here"], value["tmp"]);
    }
    assert!(std::path::Path::new("/etc").exists(), "links are not followed");
}

#[tokio::test]
async fn a_call_gets_no_variable_and_no_descriptor_of_ours() {
    let pool = Pool::start(2).await;
    let environment = pool.run(json!({"do": "environment"})).await.value();
    let names: Vec<_> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
    let mut expected = [&["HOME", "LANG", "PATH", "TMPDIR"][..], &proxies].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    // The way to the gate, and nothing that stood in an environment of ours.
    for (name, value) in environment.as_object().unwrap() {
        let value = value.as_str().unwrap();
        let right = match name.to_lowercase().as_str() {
            "home" | "tmpdir" => value == "/tmp",
            "lang" => value == "C.UTF-8",
            "path" => value == "/usr/local/bin:/usr/bin:/bin",
            "no_proxy" => value == "localhost,127.0.0.1,::1",
            _ => value.strip_prefix("http://127.0.0.1:").is_some_and(|port| port.parse::<u16>().is_ok()),
        };
        assert!(right, "{name}={value}");
    }
    let open = pool.run(json!({"do": "descriptors"})).await.value();
    let open = open.as_object().unwrap();
    assert_eq!(open["0"], "/dev/null");
    assert_eq!(open["1"], open["2"]);
    let pipes = open.values().filter(|target| target.as_str().unwrap().starts_with("pipe:")).count();
    // Three standard ones and the two of the channel; the listing itself is closed when it is looked at.
    assert_eq!((open.len(), pipes), (5, 4), "{open:?}");
}

#[tokio::test]
async fn without_namespaces_a_call_gets_no_variable_of_ours_either() {
    let pool = Pool::with(Isolation::None, 1).await;
    let environment = pool.run(json!({"do": "environment"})).await.value();
    let names: Vec<_> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"]);
}

#[tokio::test]
async fn nothing_is_left_when_the_pool_is_dropped() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 2).await;
        assert_eq!(pool.run(json!({"do": "ok", "value": 1})).await.value(), 1);
        eventually("both masters are there, and two slots", || pool.processes().len() == pool.at_rest() + 2)
            .await;
        let processes = pool.processes();
        let slots = pool.dir.0.join("slots");
        let on_disk = if isolation == Isolation::None { 2 } else { 0 };
        assert_eq!(std::fs::read_dir(&slots).unwrap().count(), on_disk);
        let Pool { python, dir, .. } = pool;
        drop(python);
        eventually("all processes are dead", || !processes.iter().any(|process| alive(process.number))).await;
        eventually("its directories are gone", || std::fs::read_dir(&slots).unwrap().count() == 0).await;
        drop(dir);
    }
}

/// Whether it is seen when the call has answered, or when all of it is dead.
#[tokio::test]
async fn what_a_thread_writes_until_it_is_killed_is_removed_too() {
    let pool = Pool::start(1).await;
    let source = "import os, threading
def write():
    while True:
        for number in range(100):
            open(f'/tmp/{number}', 'w').close()
        for number in range(100):
            os.unlink(f'/tmp/{number}')
def handle_event(data):
    # The interpreter itself may lie below.
    found = [name for name in os.listdir('/tmp') if name.isdigit()]
    threading.Thread(target=write).start()
    return found
";
    for _ in 0..30 {
        assert_eq!(pool.source(source, json!({})).await.value(), json!([]));
    }
}

/// What a step of Python costs more than all else (sortie_runner/quick.py).
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn between_plain_calls_the_template_writes_to_next_to_nothing() {
    const CALLS: u64 = 20;
    let pool = Pool::start(1).await;
    pool.assert_unharmed().await;
    let faults = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pool.template())).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(7).unwrap().parse().unwrap()
    };
    let before = faults();
    for _ in 0..CALLS {
        pool.assert_unharmed().await;
    }
    // With Python they are more than forty a call.
    let each = (faults() - before) / CALLS;
    assert!(each < 12, "{each} page faults a call");
}

#[tokio::test]
async fn slots_work_side_by_side() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 2).await;
        let slow = call(UNIVERSAL, json!({"do": "sleep", "seconds": 60}), Reuse::Fresh);
        let one = pool.call(slow, Duration::from_secs(2));
        let two = async {
            for _ in 0..5 {
                pool.assert_unharmed().await;
            }
            pool.run(json!({"do": "kill"})).await;
            pool.assert_unharmed().await;
        };
        let (slow, ()) = tokio::join!(one, two);
        assert_eq!(slow.ending, Ending::Interrupted);
    }
}
