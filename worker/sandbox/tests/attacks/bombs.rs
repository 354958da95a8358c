//! Bombs: processes, threads, disk, files, descriptors, output, patterns, time. The call ends, the worker lives.

use std::time::Duration;

use protocol::error::Code;
use protocol::limits;
use protocol::outcome::Ending;
use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Given, Ran, Stage};

attacks!("bombs.py":
    forks_without_end,
    forks_and_dies_without_end,
    starts_threads_without_end,
    leaves_zombies_without_end,
    fills_the_disk,
    fills_the_disk_with_files,
    makes_a_file_that_is_too_large,
    opens_descriptors_without_end,
    keeps_descriptors_under_way,
    prints_without_end,
    prints_one_endless_line,
    writes_to_its_standard_error_from_many_processes,
    logs_without_end,
    yields_without_end,
    yields_what_is_too_large,
    returns_what_is_too_large,
    returns_what_is_too_deep,
    raises_an_endless_message,
    raises_an_endless_chain,
    matches_a_pattern_without_end,
    computes_without_end,
    sleeps_without_end,
    blocks_in_c,
    ignores_the_limit_of_its_processor_time,
    takes_every_processor,
    reports_progress_without_end,
    imports_without_end,
);

/// Runs what has no end of its own for so long.
async fn stopped(stage: &mut Stage, limit: Duration) -> Ran {
    // There is little time to clean up after a call that was stopped: on a machine that is busy the slot is replaced.
    stage.may_cost_the_slot();
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    ran.assert_stopped(limit);
    ran
}

const LIMIT: Duration = Duration::from_millis(1_000);

async fn forks_without_end(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn forks_and_dies_without_end(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn starts_threads_without_end(stage: &mut Stage) {
    let started = stage.inside().await.as_u64().unwrap();
    assert!((10..=128).contains(&started), "{started} threads");
}

async fn leaves_zombies_without_end(stage: &mut Stage) {
    let made = stage.inside().await.as_u64().unwrap();
    assert!((10..=128).contains(&made), "{made} dead processes");
}

async fn fills_the_disk(stage: &mut Stage) {
    let told = stage.inside().await;
    for directory in ["/tmp", "/dev/shm"] {
        assert_eq!(told[directory]["error"], "ENOSPC");
        assert!(told[directory]["mib"].as_u64().unwrap() <= 64, "{told}");
    }
}

async fn fills_the_disk_with_files(stage: &mut Stage) {
    // On a machine that is busy the slot is replaced before all of them are removed.
    stage.may_cost_the_slot();
    let told = stage.inside().await;
    for directory in ["/tmp", "/dev/shm"] {
        assert_eq!(told[directory]["error"], "ENOSPC");
        assert!(told[directory]["files"].as_u64().unwrap() <= 16 * 1024, "{told}");
    }
}

async fn makes_a_file_that_is_too_large(stage: &mut Stage) {
    assert_eq!(stage.inside().await, json!({"sparse": "EFBIG", "truncated": "EFBIG", "allocated": "EFBIG"}));
}

async fn opens_descriptors_without_end(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["error"], "EMFILE");
    assert!(told["opened"].as_u64().unwrap() <= 1024, "{told}");
}

async fn keeps_descriptors_under_way(stage: &mut Stage) {
    // Descriptors in messages that nobody takes are counted for the user, over all slots: others must still be able
    // to pass theirs, above all the templates.
    let told = stage.inside().await;
    assert_eq!(told["error"], "ETOOMANYREFS", "{told}");
    stage.assert_clean().await;
    // While one slot holds as many as it can, another one starts a call.
    let other = Stage::set().await;
    let holding = stage.ran(json!({"seconds": 2}), Given::default());
    let (held, ()) = tokio::join!(holding, async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        for _ in 0..3 {
            other.pool.look().await;
        }
    });
    assert_eq!(held.value()["error"], "ETOOMANYREFS");
    assert_eq!(other.pool.look().await["slot"], other.before()["slot"], "the other slot had to be replaced");
}

/// The marked cut, once, and not much more than what is allowed before it.
fn assert_cut(ran: &Ran) {
    let logs = ran.of_kind("log");
    let text: String = logs.iter().filter_map(|data| data["text"].as_str()).collect();
    assert!(text.len() <= limits::LOG_BYTES + 1_000, "{} bytes of log", text.len());
    assert_eq!(text.matches("[cut").count(), 1);
}

async fn prints_without_end(stage: &mut Stage) {
    assert_cut(&stopped(stage, LIMIT).await);
}

async fn prints_one_endless_line(stage: &mut Stage) {
    assert_cut(&stopped(stage, LIMIT).await);
}

async fn writes_to_its_standard_error_from_many_processes(stage: &mut Stage) {
    assert_cut(&stopped(stage, LIMIT).await);
}

async fn logs_without_end(stage: &mut Stage) {
    assert_cut(&stopped(stage, LIMIT).await);
}

async fn yields_without_end(stage: &mut Stage) {
    let ran = stopped(stage, LIMIT).await;
    assert!(ran.events.len() as u64 <= limits::EVENTS);
}

async fn yields_what_is_too_large(stage: &mut Stage) {
    stage.ran(json!({}), Given::default()).await.assert_fails(Code::OutputTooLarge);
}

async fn returns_what_is_too_large(stage: &mut Stage) {
    stage.ran(json!({}), Given::default()).await.assert_fails(Code::OutputTooLarge);
}

async fn returns_what_is_too_deep(stage: &mut Stage) {
    stage.ran(json!({}), Given::default()).await.assert_fails(Code::OutputNotJson);
}

async fn raises_an_endless_message(stage: &mut Stage) {
    let ran = stage.ran(json!({}), Given::default()).await;
    let error = ran.assert_fails(Code::HandlerRaised);
    assert!(error.message.len() < 20_000 && error.details.to_string().len() < 100_000);
}

async fn raises_an_endless_chain(stage: &mut Stage) {
    let ran = stage.ran(json!({}), Given { limit: Duration::from_secs(10), ..Given::default() }).await;
    match &ran.ending {
        Ending::Failed { error, .. } => assert!(error.details.to_string().len() < 100_000),
        other => panic!("{other:?}"),
    }
}

async fn matches_a_pattern_without_end(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn computes_without_end(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn sleeps_without_end(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn blocks_in_c(stage: &mut Stage) {
    stopped(stage, LIMIT).await;
}

async fn ignores_the_limit_of_its_processor_time(stage: &mut Stage) {
    let told = stage.inside().await;
    assert!(told["soft"].as_f64().unwrap() > 0.0 && told["soft"].as_f64().unwrap() < 1_000.0, "{told}");
    assert_eq!(told["child"], "killed by 9", "a process that takes no SIGXCPU: {told}");
}

async fn takes_every_processor(stage: &mut Stage) {
    // Another slot of the machine still answers, though not as soon.
    let other = Stage::set().await;
    stage.may_cost_the_slot();
    let bomb = stage.ran(json!({}), Given { limit: Duration::from_secs(2), ..Given::default() });
    let (ran, longest) = tokio::join!(bomb, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = std::time::Instant::now();
        other.pool.look().await;
        began.elapsed()
    });
    ran.assert_stopped(Duration::from_secs(2));
    assert!(longest < Duration::from_secs(5), "another slot answered after {longest:?}");
}

async fn reports_progress_without_end(stage: &mut Stage) {
    let ran = stopped(stage, LIMIT).await;
    assert!(ran.events.len() as u64 <= limits::EVENTS);
}

async fn imports_without_end(stage: &mut Stage) {
    // On a machine that is busy the slot is replaced before thousands of files are removed.
    stage.may_cost_the_slot();
    let ran = stage.ran(json!({}), Given::default()).await;
    assert!(matches!(ran.ending, Ending::Failed { .. } | Ending::Returned(_)), "{:?}", ran.ending);
    let _: Vec<&Value> = ran.of_kind("log");
}
