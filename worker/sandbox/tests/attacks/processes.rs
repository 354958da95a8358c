//! Attacks on processes: signals, looking into others, and staying behind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Given, Stage, assert_each};

attacks!("processes.py":
    kills_the_template,
    kills_the_template_by_its_pidfd,
    has_the_kernel_kill_the_template,
    has_the_kernel_signal_the_template_at_the_end_of_a_sibling,
    kills_everybody,
    kills_the_worker,
    traces_the_template,
    traces_its_own_child,
    looks_into_the_template,
    reads_the_memory_of_a_process,
    takes_descriptors_of_a_process,
    compares_itself_with_a_process,
    joins_the_group_of_the_template,
    types_into_a_terminal,
    changes_the_limits_of_the_template,
    changes_the_scheduling_of_the_template,
    takes_the_processor_from_the_template,
    starts_a_program_that_grants_rights,
    stays_as_a_daemon,
    stays_as_a_daemon_without_descriptors,
    stays_as_a_sibling_of_its_own,
    stays_behind_a_reaper_of_its_own,
    stays_stopped,
    stays_by_running_away_from_the_killer,
    stays_when_it_is_stopped_at_its_limit,
    stays_when_its_process_crashes,
    stays_as_a_thread_of_a_process_whose_main_thread_ended,
);

async fn kills_the_template(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["alive"], true);
    assert_each(&told["sent"], &["done", "EINVAL"]);
    assert_eq!(told["own child"], "killed by 9", "the same signals work on others");
}

async fn kills_the_template_by_its_pidfd(stage: &mut Stage) {
    assert_eq!(stage.inside().await, json!({"template": "alive", "own child": "killed by 9"}));
}

async fn has_the_kernel_kill_the_template(stage: &mut Stage) {
    // The owner of a descriptor gets a signal of choice when something can be read.
    assert_eq!(stage.inside().await, json!({"template": "alive", "own child": "killed by 9"}));
}

async fn has_the_kernel_signal_the_template_at_the_end_of_a_sibling(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["template"], "alive");
    assert_eq!(told["parent of the sibling"], 1, "the sibling was made: {told}");
}

async fn kills_everybody(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["template"], "alive");
    // Of several signals that are under way, the kernel takes the lowest first.
    assert!(told["own child"] == "killed by 9" || told["own child"] == "killed by 15", "{told}");
}

async fn kills_the_worker(stage: &mut Stage) {
    let told = stage.inside_with(json!({"worker": std::process::id()})).await;
    assert_eq!(told["worker"], "ESRCH");
    assert_eq!(told["reached"], json!([1]), "the only other process is the template");
}

async fn traces_the_template(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
}

async fn traces_its_own_child(stage: &mut Stage) {
    assert_eq!(stage.inside().await, "EPERM");
    assert_eq!(stage.outside().await, "done");
}

async fn looks_into_the_template(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EACCES", "EPERM", "ENOENT"]);
}

async fn reads_the_memory_of_a_process(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_eq!(stage.outside().await["own child"], json!({"read": "done", "write": "done"}));
}

async fn takes_descriptors_of_a_process(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_eq!(stage.outside().await["own child"], "done");
}

async fn compares_itself_with_a_process(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
}

async fn joins_the_group_of_the_template(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "ESRCH"]);
}

async fn types_into_a_terminal(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_each(&stage.outside().await, &["ENOTTY"]);
}

async fn changes_the_limits_of_the_template(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["others"], &["ENOSYS"]);
    assert_eq!(told["own"], "done");
}

async fn changes_the_scheduling_of_the_template(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENOSYS", "EPERM"]);
}

async fn takes_the_processor_from_the_template(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told, &["EPERM", "EACCES", "EINVAL", "ENOSYS"]);
}

async fn starts_a_program_that_grants_rights(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["user"], json!([1000, 1000]));
    assert_eq!(told["capabilities"], json!(["0000000000000000"]));
    assert_eq!(told["own setuid file"], json!([1000, 1000]));
}

/// The number of the process that stayed, in the slot: gone before the answer comes.
async fn assert_gone(stage: &Stage, pid: &Value) {
    assert!(pid.as_u64().is_some_and(|pid| pid > 1), "nothing was started: {pid}");
    let look = stage.pool.look().await;
    assert_eq!(look["processes"], 2, "the template and the call");
}

async fn stays_as_a_daemon(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_as_a_daemon_without_descriptors(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_as_a_sibling_of_its_own(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_behind_a_reaper_of_its_own(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_stopped(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_by_running_away_from_the_killer(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}

async fn stays_when_it_is_stopped_at_its_limit(stage: &mut Stage) {
    // As in `bombs.rs`: little time to clean up.
    stage.may_cost_the_slot();
    let limit = Duration::from_millis(800);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    ran.assert_stopped(limit);
    assert_gone(stage, &json!(2)).await;
    assert_eq!(ran.of_kind("chunk").len(), 1, "its processes ran");
}

async fn stays_when_its_process_crashes(stage: &mut Stage) {
    let ran = stage.ran(json!({}), Given::default()).await;
    ran.assert_fails(protocol::error::Code::HandlerCrashed);
    assert_eq!(ran.of_kind("chunk").len(), 1, "its processes ran");
    assert_gone(stage, &json!(2)).await;
}

async fn stays_as_a_thread_of_a_process_whose_main_thread_ended(stage: &mut Stage) {
    let pid = stage.inside().await;
    assert_gone(stage, &pid).await;
}
