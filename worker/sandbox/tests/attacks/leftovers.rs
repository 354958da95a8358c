//! What calls leave behind: nothing of it is there for the next one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Given, Stage};

attacks!("leftovers.py":
    leaves_a_thread,
    leaves_a_timer,
    leaves_an_exit_hook,
    leaves_changed_modules,
    leaves_a_patched_json,
    leaves_patched_builtins,
    leaves_a_patched_runner,
    leaves_another_environment,
    leaves_signal_handlers_and_masks,
    leaves_lower_limits,
    leaves_files,
    leaves_unreadable_directories,
    leaves_directories_within_directories,
    leaves_names_that_are_no_text,
    leaves_a_full_tmp,
    leaves_more_files_than_fit,
    leaves_a_file_that_is_deleted_but_open,
    leaves_a_closed_tmp,
    leaves_attributes_on_tmp,
    leaves_a_message_in_the_times_of_tmp,
    leaves_flags_on_tmp,
    leaves_pipes_and_sockets_as_files,
    leaves_shared_memory,
    leaves_locks,
    leaves_a_listening_server,
    leaves_an_abstract_socket,
    leaves_a_connection_to_the_gate,
    leaves_other_scheduling,
    leaves_a_module_beside_the_next_call,
    leaves_a_new_session,
    leaves_a_warm_process_to_another_action,
    leaves_a_thread_in_a_warm_process,
);

/// It did what it says; the stage looks at the slot afterwards.
async fn assert_left(stage: &Stage, what: &str) {
    assert_eq!(stage.inside().await, what);
}

async fn leaves_a_thread(stage: &mut Stage) {
    assert_left(stage, "5 threads").await;
}

async fn leaves_a_timer(stage: &mut Stage) {
    assert_left(stage, "timers").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn leaves_an_exit_hook(stage: &mut Stage) {
    assert_left(stage, "hooks").await;
}

async fn leaves_changed_modules(stage: &mut Stage) {
    assert_left(stage, "changed").await;
}

async fn leaves_a_patched_json(stage: &mut Stage) {
    spoil(stage).await;
}

/// Runs what may spoil its own answer, and no other.
async fn spoil(stage: &Stage) {
    let limit = Duration::from_millis(500);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    assert!(ran.took < limit + Duration::from_secs(3), "{:?}", ran.took);
}

async fn leaves_patched_builtins(stage: &mut Stage) {
    spoil(stage).await;
}

async fn leaves_a_patched_runner(stage: &mut Stage) {
    spoil(stage).await;
}

async fn leaves_another_environment(stage: &mut Stage) {
    assert_left(stage, "changed").await;
}

async fn leaves_signal_handlers_and_masks(stage: &mut Stage) {
    assert_left(stage, "changed").await;
}

async fn leaves_lower_limits(stage: &mut Stage) {
    assert_left(stage, "changed").await;
}

async fn leaves_files(stage: &mut Stage) {
    assert_left(stage, "1000 files").await;
}

async fn leaves_unreadable_directories(stage: &mut Stage) {
    assert_left(stage, "locked").await;
}

async fn leaves_directories_within_directories(stage: &mut Stage) {
    // On a machine that is busy the slot is replaced before all of it is removed.
    stage.may_cost_the_slot();
    assert_left(stage, "10000 levels").await;
}

async fn leaves_names_that_are_no_text(stage: &mut Stage) {
    assert_left(stage, "named").await;
}

async fn leaves_a_full_tmp(stage: &mut Stage) {
    assert_left(stage, "full").await;
}

async fn leaves_more_files_than_fit(stage: &mut Stage) {
    // On a machine that is busy the slot is replaced before all of them are removed.
    stage.may_cost_the_slot();
    assert_left(stage, "full").await;
}

async fn leaves_a_file_that_is_deleted_but_open(stage: &mut Stage) {
    assert_left(stage, "hidden").await;
}

async fn leaves_a_closed_tmp(stage: &mut Stage) {
    assert_left(stage, "closed").await;
}

async fn leaves_attributes_on_tmp(stage: &mut Stage) {
    assert!(stage.inside_with(json!({"step": "leave"})).await.as_u64().unwrap() > 0, "none could be left");
    assert_eq!(stage.inside_with(json!({"step": "find"})).await, json!([]));
}

async fn leaves_a_message_in_the_times_of_tmp(stage: &mut Stage) {
    let message = json!({"step": "leave", "message": 1_234_567_890});
    assert_eq!(stage.inside_with(message).await, json!([1_234_567_890, 1_234_567_890]));
    let found: Vec<Value> = serde_json::from_value(stage.inside_with(json!({"step": "find"})).await).unwrap();
    assert!(found.iter().all(|time| *time != json!(1_234_567_890)), "{found:?}");
}

async fn leaves_flags_on_tmp(stage: &mut Stage) {
    let clean = stage.inside_with(json!({"step": "find"})).await;
    stage.inside_with(json!({"step": "leave"})).await;
    assert_eq!(stage.inside_with(json!({"step": "find"})).await, clean);
}

async fn leaves_pipes_and_sockets_as_files(stage: &mut Stage) {
    assert_left(stage, "made").await;
}

async fn leaves_shared_memory(stage: &mut Stage) {
    assert_left(stage, "shared").await;
}

async fn leaves_locks(stage: &mut Stage) {
    assert_eq!(stage.inside_with(json!({"step": "lock"})).await, "locked");
    assert_eq!(stage.inside_with(json!({"step": "try"})).await, "free");
}

async fn leaves_a_listening_server(stage: &mut Stage) {
    let port = stage.inside_with(json!({"step": "listen"})).await;
    assert_eq!(
        stage.inside_with(json!({"step": "try", "port": port})).await,
        json!({"connect": "ECONNREFUSED", "bind": "done"})
    );
}

async fn leaves_an_abstract_socket(stage: &mut Stage) {
    assert_eq!(stage.inside_with(json!({"step": "listen"})).await, "done");
    assert_eq!(stage.inside_with(json!({"step": "try"})).await, "ECONNREFUSED");
}

async fn leaves_a_connection_to_the_gate(stage: &mut Stage) {
    let port = crate::servers::servers().await.open.port();
    assert_eq!(stage.inside_with(json!({"port": port})).await, "open");
    // The next call gets connections of its own, and the budget of its own.
    assert_eq!(stage.inside_with(json!({"port": port})).await, "open");
}

async fn leaves_other_scheduling(stage: &mut Stage) {
    assert_left(stage, "nice").await;
}

async fn leaves_a_module_beside_the_next_call(stage: &mut Stage) {
    assert_left(stage, "imported").await;
}

async fn leaves_a_new_session(stage: &mut Stage) {
    assert_left(stage, "elsewhere").await;
}

async fn leaves_a_warm_process_to_another_action(stage: &mut Stage) {
    let warm = Given { warm: true, ..Given::default() };
    assert_eq!(stage.ran(json!({"step": "leave"}), warm.clone()).await.value(), 1);
    assert_eq!(stage.ran(json!({"step": "find"}), warm.clone()).await.value(), "left behind", "it is warm");
    // Another version, also warm.
    let other = format!("{}\n# another\n", stage.source());
    let input =
        crate::stage::with_function(json!({"step": "find"}), "leaves_a_warm_process_to_another_action");
    assert_eq!(stage.pool.call(&other, input, warm).await.value(), "nothing");
    stage.pool.look().await;
}

async fn leaves_a_thread_in_a_warm_process(stage: &mut Stage) {
    let warm = Given { warm: true, ..Given::default() };
    for step in ["counted", "not counted"] {
        assert_eq!(stage.ran(json!({"step": "calls"}), warm.clone()).await.value(), 1);
        assert_eq!(stage.ran(json!({"step": step}), warm.clone()).await.value(), 2);
        let next = stage.ran(json!({"step": "calls"}), warm.clone()).await;
        assert_eq!(next.value(), 1, "a process with a thread that was left ({step}) was kept");
        stage.pool.look().await;
    }
}
