//! What a call finds loaded: the common libraries where its handler wants them, and little else where it doesn't.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::action::Reuse;
use serde_json::{Value, json};
use worker::python::Isolation;

use super::processes::send;
use super::support::{BOTH, Pool, call, eventually};

/// Tells whether `requests` had been loaded before the call, and imports nothing.
const BARE: &str = "import sys\ndef handle_event(data):\n    return 'requests' in sys.modules";
/// The same, and imports it.
const IMPORTS: &str = "import sys\nbefore = 'requests' in sys.modules\nimport requests\ndef handle_event(data):\n    return before";
/// Both take so long that calls meet.
const BARE_MEETS: &str =
    "import sys, time\ntime.sleep(0.5)\ndef handle_event(data):\n    return 'requests' in sys.modules";
const IMPORTS_MEETS: &str = "import sys, time\nbefore = 'requests' in sys.modules\nimport requests\ntime.sleep(0.5)\ndef handle_event(data):\n    return before";
const LIMIT: Duration = Duration::from_secs(30);

/// What three calls at once find.
async fn at_once(pool: &Arc<Pool>, source: &'static str) -> Vec<bool> {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let pool = pool.clone();
        calls.spawn(async move { pool.loads(source, Reuse::Fresh).await == true });
    }
    calls.join_all().await
}

impl Pool {
    async fn loads(&self, source: &str, reuse: Reuse) -> Value {
        self.call(call(source, json!({}), reuse), LIMIT).await.value()
    }

    /// Calls handlers that want the libraries until they are there: while their master starts, calls import them.
    async fn until_loaded(&self) {
        self.until(IMPORTS, true).await;
    }

    /// Makes such calls until one tells this.
    async fn until(&self, source: &str, told: bool) {
        let until = Instant::now() + LIMIT;
        while self.loads(source, Reuse::Fresh).await != told {
            assert!(Instant::now() < until, "it is never {told}");
        }
    }
}

#[tokio::test]
async fn libraries_are_loaded_for_handlers_that_want_them() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 3).await;
        assert_eq!(pool.loads(BARE, Reuse::Fresh).await, false);
        pool.until_loaded().await;
        for _ in 0..3 {
            // While the slot of the call before is made ready, another one is taken: of three, one is left as it was.
            pool.until(BARE, false).await;
            assert_eq!(pool.loads(IMPORTS, Reuse::Fresh).await, true);
        }
    }
}

/// With the only slot, whatever it has: one with libraries serves all, and a warm process gives way.
#[tokio::test]
async fn a_slot_is_made_anew_once_and_keeps_the_libraries() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        assert_eq!(pool.loads(BARE, Reuse::Warm).await, false);
        pool.until_loaded().await;
        assert_eq!(pool.loads(BARE, Reuse::Warm).await, true);
        assert_eq!(pool.loads(IMPORTS, Reuse::Warm).await, true);
        assert_eq!(pool.loads(BARE, Reuse::Fresh).await, true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_both_kinds_at_once_all_come_to_their_end() {
    let pool = Arc::new(Pool::start(3).await);
    pool.until_loaded().await;
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..9 {
        let pool = pool.clone();
        lanes.spawn(async move {
            for number in 0..10 {
                let reuse = if (lane + number) % 4 == 0 { Reuse::Warm } else { Reuse::Fresh };
                if (lane + number) % 3 == 0 {
                    assert_eq!(pool.loads(IMPORTS, reuse).await, true);
                } else {
                    pool.loads(BARE, reuse).await;
                }
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
}

/// A call that is given up while its slot is made anew leaves that to the others.
#[tokio::test]
async fn a_slot_that_nobody_waits_for_any_more_is_not_lost() {
    for millis in 0..5 {
        let pool = Pool::start(2).await;
        pool.until_loaded().await;
        // The slot with the libraries keeps this process, so the next call takes the other slot.
        assert_eq!(pool.loads(IMPORTS, Reuse::Warm).await, true);
        pool.call(call(IMPORTS, json!({}), Reuse::Fresh), Duration::from_millis(millis)).await;
        for _ in 0..2 {
            assert!(pool.loads(BARE, Reuse::Warm).await.is_boolean());
        }
        eventually("both slots are there", || pool.processes().len() == pool.at_rest() + 2).await;
    }
}

/// Three calls at once that want them, and then none for a while: one slot keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn libraries_are_taken_back_from_slots_where_nobody_wants_them() {
    let pool = Arc::new(Pool::start(3).await);
    pool.until_loaded().await;
    assert_eq!(at_once(&pool, IMPORTS_MEETS).await, [true; 3]);
    assert_eq!(at_once(&pool, BARE_MEETS).await, [true; 3]);
    let until = Instant::now() + LIMIT;
    loop {
        let mut has = at_once(&pool, BARE_MEETS).await;
        has.sort_unstable();
        if has == [false, false, true] {
            break;
        }
        assert!(Instant::now() < until, "they are kept: {has:?}");
    }
}

/// Without the libraries' master, calls import them; with the next one, they find them again.
#[tokio::test]
async fn a_master_that_dies_is_replaced() {
    let pool = Pool::with(Isolation::None, 1).await;
    for _ in 0..2 {
        pool.until_loaded().await;
        let all = pool.processes();
        // Neither the template nor the process of a call: those descend from a master.
        let masters = all.iter().filter(|process| all.iter().all(|other| other.number != process.parent));
        for master in masters {
            send("KILL", master.number);
        }
        // Its slot may have gone with them.
        pool.call(call(IMPORTS, json!({}), Reuse::Fresh), LIMIT).await;
        eventually("both masters are there", || pool.processes().len() == pool.at_rest()).await;
    }
    pool.until_loaded().await;
}
