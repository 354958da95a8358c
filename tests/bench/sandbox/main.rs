//! What a sandboxed call costs, against the bare interpreter with and without bubblewrap around it. One run measures
//! all of it in turns, so that a busy moment of the machine meets every row, and prints Markdown and JSON to standard
//! output.
//!
//! `bench-sandbox PYTHON`; tests/bench/run prepares what it needs. It is its own sandbox helper, as `sortie` is.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are printed, and what is going on")]

mod bare;
mod calls;
mod memory;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use bare::Bare;
use calls::Pool;
use report::{Report, Sample, Start};

/// How often everything is measured.
const ROUNDS: usize = 4;
/// Calls of each kind in a round.
const CALLS: usize = 500;
/// Bare starts of each kind in a round.
const STARTS: usize = 25;
/// Slots of the pool whose calls are timed.
const SLOTS: usize = 4;
/// Calls of each kind in a round while all slots are busy.
const BUSY_CALLS: usize = 1_000;
/// Pools whose start and whose memory are measured, by their slots.
const SIZES: [usize; 3] = [1, 4, 8];
/// How often each of them is started.
const POOL_STARTS: usize = 3;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == sandbox::SUBCOMMAND) {
        return sandbox::helper_main();
    }
    match measure() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure() -> anyhow::Result<Report> {
    let python = std::env::args_os().nth(1).map(PathBuf::from).context("usage: bench-sandbox PYTHON")?;
    let mut report = Report::default();
    for slots in SIZES {
        eprintln!("bench: starting {slots} slots, {POOL_STARTS} times");
        report.starts.push(start(&python, slots).await?);
    }
    let pool = Pool::start(&python, SLOTS).await?;
    let all_bare = Bare::all(&python);
    for round in 1..=ROUNDS {
        eprintln!("bench: round {round} of {ROUNDS}");
        for kind in calls::KINDS {
            report.add(Sample::new(kind.name, pool.one_at_a_time(kind, CALLS).await?));
        }
        for bare in &all_bare {
            report.add(Sample::new(bare.name, bare.starts(STARTS)?));
        }
        for kind in calls::KINDS {
            report.add_busy(kind.name, pool.all_busy(kind, BUSY_CALLS).await?);
        }
    }
    pool.end();
    Ok(report)
}

/// Starts pools of this size: how long until the first call has its result, and the memory of the last one at rest.
async fn start(python: &std::path::Path, slots: usize) -> anyhow::Result<Start> {
    let mut times = Vec::new();
    loop {
        let began = std::time::Instant::now();
        let pool = Pool::start(python, slots).await?;
        pool.one_at_a_time(&calls::FRESH, 1).await?;
        times.push(began.elapsed());
        if times.len() == POOL_STARTS {
            // Every slot has had calls, as in a worker that has been up for a while.
            pool.all_busy(&calls::FRESH, 20 * slots).await?;
            let memory = memory::at_rest(slots).await?;
            pool.end();
            return Ok(Start::new(slots, times, memory));
        }
        pool.end();
        memory::gone().await?;
    }
}
