//! Attacks on the memory of the machine: whatever kind it is, a call gets what its action may have and not much more.

use std::time::Duration;

use protocol::error::Code;
use protocol::outcome::Ending;
use serde_json::json;

use crate::attacks;
use crate::stage::{Given, Ran, Stage, assert_each};

attacks!("memory.py":
    takes_private_memory,
    takes_shared_memory,
    takes_memory_in_many_processes,
    takes_memory_in_many_threads,
    takes_memory_in_files_that_are_mapped,
    takes_memory_for_page_tables,
    takes_memory_by_executing_programs,
    takes_memory_in_secret_files,
    takes_memory_as_a_daemon,
    locks_memory,
    unpacks_a_bomb,
    unpacks_a_bomb_of_xml,
    makes_a_large_number,
    makes_a_large_text,
    recurses_in_python,
    recurses_in_c,
    fills_the_buffers_of_sockets,
    fills_the_buffers_of_pipes,
    queues_signals,
    has_the_kernel_kill_the_worker_for_want_of_memory,
);

/// How much memory a machine may lack while a call is being found out, in MiB: the watch looks every 100 ms.
const SLACK_MB: u64 = 3_000;

/// Runs it; and the machine never lacked more memory meanwhile than a call may have and [`SLACK_MB`].
async fn bounded(stage: &mut Stage) -> Ran {
    // There is little time to clean up after a call that was stopped: on a machine that is busy the slot is replaced.
    stage.may_cost_the_slot();
    let before = available_mb();
    let watch = tokio::task::spawn_blocking(move || {
        let mut least = before;
        for _ in 0..120 {
            least = least.min(available_mb());
            std::thread::sleep(Duration::from_millis(25));
        }
        least
    });
    let ran = stage.ran(json!({}), Given { limit: Duration::from_secs(10), ..Given::default() }).await;
    let least = watch.await.unwrap();
    // Other attacks take memory at the same time.
    assert!(before.saturating_sub(least) < SLACK_MB, "{before} MiB were available, and then only {least}");
    ran
}

fn available_mb() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Bounded, and told as what it is.
async fn assert_out_of_memory(stage: &mut Stage) {
    let ran = bounded(stage).await;
    let error = ran.assert_fails(Code::OutOfMemory);
    assert!(error.message.contains("128 MiB"), "{}", error.message);
}

async fn takes_private_memory(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_shared_memory(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_memory_in_many_processes(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_memory_in_many_threads(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_memory_in_files_that_are_mapped(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_memory_for_page_tables(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn takes_memory_by_executing_programs(stage: &mut Stage) {
    let ran = bounded(stage).await;
    // The limit of a process goes with it into another program; and all of them together have one.
    match &ran.ending {
        Ending::Failed { error, .. } => assert_eq!(error.code, Code::OutOfMemory, "{}", error.message),
        other => panic!("{other:?}"),
    }
}

async fn takes_memory_in_secret_files(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_eq!(stage.outside().await["memfd_create"], "done");
}

async fn takes_memory_as_a_daemon(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn locks_memory(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["all"], &["EPERM"]);
    assert!(told["locked"].as_u64().unwrap() <= 8 * 1024 * 1024, "{told}");
}

async fn unpacks_a_bomb(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn unpacks_a_bomb_of_xml(stage: &mut Stage) {
    let ran = bounded(stage).await;
    assert!(!matches!(ran.ending, Ending::Returned(_)), "{:?}", ran.ending);
}

async fn makes_a_large_number(stage: &mut Stage) {
    let limit = Duration::from_secs(2);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    match &ran.ending {
        Ending::Interrupted => ran.assert_stopped(limit),
        _ => drop(ran.assert_fails(Code::OutOfMemory)),
    }
}

async fn makes_a_large_text(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn recurses_in_python(stage: &mut Stage) {
    let ran = stage.ran(json!({}), Given::default()).await;
    match &ran.ending {
        Ending::Crashed(error) => assert!(error.message.contains("SIGSEGV"), "{}", error.message),
        Ending::Failed { error, .. } => {
            assert!([Code::HandlerRaised, Code::OutOfMemory].contains(&error.code), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
}

async fn recurses_in_c(stage: &mut Stage) {
    let ran = stage.ran(json!({}), Given::default()).await;
    let error = ran.assert_fails(Code::HandlerCrashed);
    assert!(error.message.contains("SIGSEGV"), "{}", error.message);
}

async fn fills_the_buffers_of_sockets(stage: &mut Stage) {
    assert_out_of_memory(stage).await;
}

async fn fills_the_buffers_of_pipes(stage: &mut Stage) {
    let told = bounded(stage).await.value();
    // Beyond a limit for each user that the kernel has, a pipe holds little.
    assert!(told["filled"].as_u64().unwrap() < 512 * 1024 * 1024, "{told}");
}

async fn queues_signals(stage: &mut Stage) {
    let queued = stage.inside().await.as_u64().unwrap();
    assert!((1..=4096).contains(&queued), "{queued} signals wait");
}

async fn has_the_kernel_kill_the_worker_for_want_of_memory(stage: &mut Stage) {
    // Handlers come first: 1000 is the highest score there is.
    assert_eq!(stage.inside().await, json!({"own": 1000, "template": 1000}));
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_ne!(own.trim(), "1000");
}
