//! What Sortie wants to reach, and whether this run shows it.

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::session::{CEILING, CLASSIC, EMBEDDED, SORTIE};

/// One aim, and how it is told from the figures: what was measured, and whether that is enough.
pub(crate) struct Aim {
    text: &'static str,
    judge: fn(&Figures) -> Option<(String, bool)>,
}

/// All of them.
pub(crate) const AIMS: &[Aim] = &[
    Aim {
        text: "warm no-op over HTTP in batches, jobs/s: at least 10 times Celery",
        judge: |f| {
            at_least(f.get(SORTIE, "throughput.noop_warm_batch")? / f.get("Celery", "throughput.noop")?, 10.0)
        },
    },
    Aim {
        text: "the same: at least 0.4 of the way without HTTP and Python, with bare clients",
        judge: |f| {
            at_least(
                f.get(SORTIE, "throughput.noop_warm_batch")? / f.get(CEILING, "ceiling.bare.per_second")?,
                0.4,
            )
        },
    },
    Aim {
        text: "fresh sandboxed no-op in batches, jobs/s: at least Celery without isolation",
        judge: |f| {
            at_least(f.get(SORTIE, "throughput.noop_fresh_batch")? / f.get("Celery", "throughput.noop")?, 1.0)
        },
    },
    Aim {
        text: "one client, p50 of a warm no-op: below Celery",
        judge: |f| below(f.get(SORTIE, P50)? / f.get("Celery", PEER_P50)?, 1.0, ""),
    },
    Aim {
        text: "the same with classic queues, which are what Dramatiq has: at most 1.15 of Dramatiq",
        judge: |f| below(f.get(CLASSIC, P50)? / f.get("Dramatiq", PEER_P50)?, 1.15, ""),
    },
    Aim {
        text: "with quorum queues, the default: at most 1.15 of Dramatiq",
        judge: |f| below(f.get(SORTIE, P50)? / f.get("Dramatiq", PEER_P50)?, 1.15, ""),
    },
    Aim {
        text: "one client, embedded, p50 of a warm no-op: below 1 ms",
        judge: |f| below(f.get(EMBEDDED, P50)?, 1.0, " ms"),
    },
    Aim {
        text: "one client, p50 of a fresh call over a warm one: at most 3 ms more",
        judge: |f| below(f.get(SORTIE, "latency.noop_fresh.p50_ms")? - f.get(SORTIE, P50)?, 3.0, " ms"),
    },
    Aim {
        text: "memory of a worker with 8 slots, idle: at most half of Celery with 8 processes",
        judge: |f| below(f.get(SORTIE, IDLE_MIB)? / f.get("Celery", IDLE_MIB)?, 0.5, ""),
    },
    Aim {
        text: "the same, all slots busy with fresh calls",
        judge: |f| {
            let celery = f.get("Celery", "memory.worker.busy_warm_mib")?;
            below(f.get(SORTIE, "memory.worker.busy_fresh_mib")? / celery, 0.5, "")
        },
    },
    Aim {
        text: "idle dispatcher, worker and slots: under 1 % of a core",
        judge: |f| {
            let parts = ["idle.dispatcher_percent", "idle.worker_percent", "idle.python_percent"];
            below(parts.iter().map(|part| f.get(SORTIE, part)).sum::<Option<f64>>()?, 1.0, " %")
        },
    },
    Aim {
        text: "the largest backlog is worked off at no less than 0.9 of the rate of 1,000 jobs",
        judge: |f| {
            let largest = largest_backlog(f)?;
            let rate = |jobs: u64| f.get(SORTIE, &format!("backlog.{jobs}.drained_per_second"));
            at_least(rate(largest)? / rate(1_000)?, 0.9)
        },
    },
    Aim {
        text: "and with no more than 1.1 of the memory",
        judge: |f| {
            let largest = largest_backlog(f)?;
            let memory = |jobs: u64| {
                let part = |part: &str| f.get(SORTIE, &format!("backlog.{jobs}.{part}_mib"));
                Some(part("worker")? + part("dispatcher")?)
            };
            below(memory(largest)? / memory(1_000)?, 1.1, "")
        },
    },
];

const P50: &str = "latency.noop_warm.p50_ms";
const PEER_P50: &str = "latency.noop.p50_ms";
const IDLE_MIB: &str = "memory.worker.idle_mib";

fn at_least(value: f64, bound: f64) -> Option<(String, bool)> {
    Some((format!("{value:.2}"), value >= bound))
}

fn below(value: f64, bound: f64, unit: &str) -> Option<(String, bool)> {
    Some((format!("{value:.2}{unit}"), value <= bound))
}

fn largest_backlog(figures: &Figures) -> Option<u64> {
    [100_000, 10_000]
        .into_iter()
        .find(|jobs| figures.get(SORTIE, &format!("backlog.{jobs}.drained_per_second")).is_some())
}

/// The aims as rows of a table.
pub(crate) fn rows(figures: &Figures) -> Vec<[String; 3]> {
    let row = |aim: &Aim| match (aim.judge)(figures) {
        Some((measured, met)) => {
            [aim.text.to_owned(), measured, if met { "met" } else { "**missed**" }.into()]
        }
        None => [aim.text.to_owned(), "not measured".into(), String::new()],
    };
    AIMS.iter().map(row).collect()
}

/// The same as data.
pub(crate) fn json(figures: &Figures) -> Value {
    let entry = |aim: &Aim| {
        let judged = (aim.judge)(figures);
        json!({"aim": aim.text, "measured": judged.as_ref().map(|it| &it.0), "met": judged.as_ref().map(|it| it.1)})
    };
    AIMS.iter().map(entry).collect()
}
