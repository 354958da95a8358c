//! Ten thousand calls in a row leave nothing behind: the figures of the worker and of its Python side before and after.
//! A test program of its own, because the figures are those of the whole process.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod endurance {
    pub(crate) mod figures;
}
#[path = "python_pool/support.rs"]
#[expect(dead_code, reason = "the other tests of the pool need more of it")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use endurance::figures::Figures;
use protocol::action::Reuse;
use protocol::error::Code;
use protocol::outcome::Ending;
use serde_json::json;
use support::{Pool, call};

const SLOTS: usize = 4;
const CALLS: usize = 10_000;
/// Calls before the first figures: what is made once is there then.
const WARM_UP: usize = 400;
/// How long processes that just ended may take to be gone, and idle threads of the runtime to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the worker's own memory may differ by: its allocator gives back what it likes.
const WORKER_KIB: u64 = 4 * 1024;
/// What a slot's memory may differ by: Python's allocator, and the moment at which the next process is looked at.
const SLOT_KIB: u64 = 512;

/// A statement of a handler, and whether it ended as it must.
type Kind = (&'static str, fn(&Ending) -> bool);

/// What calls do: one of these in turn.
const KINDS: [Kind; 10] = [
    ("return calls", first),
    ("raise ValueError('no')", |ending| failed(ending, Code::HandlerRaised)),
    ("return calls", first),
    ("os.kill(os.getpid(), 9)", |ending| matches!(ending, Ending::Crashed(_))),
    ("return calls", first),
    ("os._exit(3)", |ending| failed(ending, Code::HandlerExited)),
    // Longer than it may.
    ("time.sleep(60)", |ending| matches!(ending, Ending::Interrupted)),
    // A daemon.
    ("if os.fork() == 0: os.setsid(); os.fork() or time.sleep(60)", |ending| {
        matches!(ending, Ending::Returned(_))
    }),
    ("open('file', 'w').write('x' * 9999); os.mkdir('locked', 0); print('printed')", |ending| {
        matches!(ending, Ending::Returned(_))
    }),
    ("threading.Thread(target=time.sleep, args=(60,)).start()", |ending| {
        matches!(ending, Ending::Returned(_))
    }),
];
/// How long a call may take that has to be stopped, and any other.
const LIMITS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(30)];

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_leave_nothing_behind() {
    let pool = Arc::new(Pool::start(SLOTS).await);
    run(&pool, WARM_UP).await;
    let before = at_rest().await;
    let began = Instant::now();
    run(&pool, CALLS).await;
    let took = began.elapsed();
    let mut after = at_rest().await;
    let until = Instant::now() + PATIENCE;
    while !after.grown_since(&before, WORKER_KIB, SLOT_KIB * SLOTS as u64).is_empty()
        && Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = at_rest().await;
    }
    println!("{CALLS} calls on {SLOTS} slots in {took:.1?}\n{}", before.beside(&after));
    let grown = after.grown_since(&before, WORKER_KIB, SLOT_KIB * SLOTS as u64);
    assert!(grown.is_empty(), "after {CALLS} calls there is more of: {}", grown.join(", "));
}

/// As many calls, one after the other in each slot.
async fn run(pool: &Arc<Pool>, calls: usize) {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..SLOTS {
        let pool = pool.clone();
        lanes.spawn(async move {
            for number in 0..calls / SLOTS {
                let (statement, is_right) = KINDS[(lane + number) % KINDS.len()];
                let source = format!(
                    "import os, threading, time\ncalls = 0\ndef handle_event(data):\n    global calls\n    calls += 1\n    {statement}"
                );
                let limit = LIMITS[usize::from(statement != "time.sleep(60)")];
                let ran = pool.call(call(&source, json!({}), Reuse::Fresh), limit).await;
                assert!(is_right(&ran.ending), "{statement} ended as {:?}", ran.ending);
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
}

/// The figures once every slot waits for its next call, and nothing else is there.
async fn at_rest() -> Figures {
    let until = Instant::now() + PATIENCE;
    let mut last = None;
    loop {
        // Two masters with their helpers, and two processes in each slot.
        let now = Figures::take().filter(|figures| figures.processes() == 4 + 2 * SLOTS);
        match (last, now) {
            (Some(last), Some(now)) if now.is_as_large_as(&last) => return now,
            (_, now) => last = now,
        }
        assert!(Instant::now() < until, "the slots never came to rest: {:?}", Figures::take());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A process that had no call before.
fn first(ending: &Ending) -> bool {
    matches!(ending, Ending::Returned(value) if value.text() == "1")
}

fn failed(ending: &Ending, code: Code) -> bool {
    matches!(ending, Ending::Failed { error, .. } if error.code == code)
}
