//! Attacks on the channel between a call and the worker: forged, broken and hidden frames, and its descriptors.

use std::time::{Duration, Instant};

use protocol::error::Code;
use protocol::outcome::Ending;
use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Given, Ran, Stage};

attacks!("frames.py":
    announces_a_frame_that_is_too_large,
    writes_what_is_no_frame,
    writes_frames_of_kinds_that_only_the_worker_sends,
    writes_a_result_twice,
    writes_a_result_for_another_job,
    writes_the_result_of_the_next_call_ahead,
    writes_a_failure_with_a_code_of_the_dispatcher,
    writes_a_result_that_is_no_json,
    writes_a_result_that_is_too_deep,
    writes_a_result_that_is_too_large,
    writes_progress_that_is_no_number,
    writes_frames_byte_by_byte,
    never_finishes_a_frame,
    answers_from_a_child,
    closes_the_frame_descriptors,
    closes_all_descriptors,
    leaves_a_duplicate_of_the_frame_descriptors,
    makes_the_channel_block_or_not,
    reads_the_next_call_from_the_channel,
    sends_descriptors_to_the_worker,
    holds_the_worker_up_by_a_descriptor_that_is_slow_to_close,
    floods_the_channel_with_small_frames,
    writes_to_the_log_of_the_master,
);

async fn ran(stage: &Stage, step: &str) -> Ran {
    stage.ran(json!({"step": step}), Given::default()).await
}

async fn announces_a_frame_that_is_too_large(stage: &mut Stage) {
    ran(stage, "").await.assert_fails(Code::HandlerCrashed);
}

async fn writes_what_is_no_frame(stage: &mut Stage) {
    for step in ["empty", "text", "list", "unknown kind", "no kind", "not unicode", "null"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_frames_of_kinds_that_only_the_worker_sends(stage: &mut Stage) {
    for step in ["call", "spare", "exit", "clean", "template", "state"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_a_result_twice(stage: &mut Stage) {
    // The first one counts: it is the handler's own call, and nobody else's.
    assert_eq!(ran(stage, "").await.value(), "first");
}

async fn writes_a_result_for_another_job(stage: &mut Stage) {
    for step in ["0", "2", "4294967295", "none"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_the_result_of_the_next_call_ahead(stage: &mut Stage) {
    let warm = Given { warm: true, ..Given::default() };
    for step in ["behind", "before", "thread"] {
        let first = stage.ran(json!({"step": step}), warm.clone()).await;
        assert_ne!(first.ending, Ending::Interrupted);
        let second = stage.ran(json!({"step": "honest"}), warm.clone()).await;
        assert_eq!(second.value(), "honest", "{step}: the next job has a result that another one wrote");
    }
    // A warm process stays for its next call: make it give way.
    stage.pool.look().await;
}

async fn writes_a_failure_with_a_code_of_the_dispatcher(stage: &mut Stage) {
    for step in ["job_cancelled", "unauthorized", "internal", "worker_crashed", "no code"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_a_result_that_is_no_json(stage: &mut Stage) {
    for step in ["{", "nan", "Infinity", "1 2", "'x'", "[1,]", "\"\u{1}\"", "01", "tru"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_a_result_that_is_too_deep(stage: &mut Stage) {
    for step in ["65", "100000"] {
        ran(stage, step).await.assert_fails(Code::HandlerCrashed);
    }
}

async fn writes_a_result_that_is_too_large(stage: &mut Stage) {
    ran(stage, "").await.assert_fails(Code::OutputTooLarge);
}

async fn writes_progress_that_is_no_number(stage: &mut Stage) {
    for step in ["text", "large", "list", "negative"] {
        let ran = ran(stage, step).await;
        let told = ran.of_kind("progress");
        let sound = |data: &&Value| data["fraction"].as_f64().is_some_and(|told| (0.0..=1.0).contains(&told));
        assert!(told.iter().all(sound), "{step}: {told:?}");
    }
}

async fn writes_frames_byte_by_byte(stage: &mut Stage) {
    let ran = ran(stage, "").await;
    assert_eq!((ran.value(), ran.of_kind("chunk").len()), (json!("slow"), 3));
}

async fn never_finishes_a_frame(stage: &mut Stage) {
    let limit = Duration::from_millis(500);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    ran.assert_stopped(limit);
}

async fn answers_from_a_child(stage: &mut Stage) {
    // A child has no channel unless it takes one of the parent's memory: then it is the handler that answers.
    let ran = ran(stage, "").await;
    assert_eq!(ran.value(), "parent");
}

async fn closes_the_frame_descriptors(stage: &mut Stage) {
    ran(stage, "").await.assert_fails(Code::HandlerExited);
    let ran = ran(stage, "stay").await;
    ran.assert_fails(Code::HandlerExited);
    assert!(ran.took < Duration::from_secs(10), "it was waited for: {:?}", ran.took);
}

async fn closes_all_descriptors(stage: &mut Stage) {
    ran(stage, "").await.assert_fails(Code::HandlerExited);
}

async fn leaves_a_duplicate_of_the_frame_descriptors(stage: &mut Stage) {
    // Held by a daemon, which is killed: the worker must not wait for it, nor hear it in the next call.
    let ran = ran(stage, "").await;
    assert_eq!(ran.value(), "left");
    assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
    stage.assert_clean().await;
}

async fn makes_the_channel_block_or_not(stage: &mut Stage) {
    assert_eq!(ran(stage, "").await.value().as_str().map(str::len), Some(500_000));
}

async fn reads_the_next_call_from_the_channel(stage: &mut Stage) {
    let warm = Given { warm: true, secrets: vec![("TOKEN", "opensesame".into())], ..Given::default() };
    let first = stage.ran(json!({"step": "read"}), warm).await;
    assert_eq!(first.value(), "EAGAIN", "nothing waits in the channel but what was sent for this call");
    stage.pool.look().await;
}

async fn sends_descriptors_to_the_worker(stage: &mut Stage) {
    let before = descriptors();
    for _ in 0..10 {
        let ran = ran(stage, "").await;
        assert_ne!(ran.ending, Ending::Interrupted);
    }
    stage.assert_clean().await;
    let after = descriptors();
    // Other attacks run beside this one; ten calls sent 500 each.
    assert!(after < before + 1000, "descriptors of the worker: {before} before, {after} after");
}

/// How many descriptors this process, the worker, has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn holds_the_worker_up_by_a_descriptor_that_is_slow_to_close(stage: &mut Stage) {
    // Every thread of the runtime looks at the clock; none may stand still.
    let watch = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        loop {
            let began = Instant::now();
            tokio::time::sleep(Duration::from_millis(20)).await;
            longest = longest.max(began.elapsed());
            if longest > Duration::from_secs(2) {
                return longest;
            }
        }
    });
    let limit = Duration::from_secs(1);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    assert!(ran.took < Duration::from_secs(4), "the worker was held up: {:?}", ran.took);
    assert!(!watch.is_finished(), "the worker stood still");
    watch.abort();
}

async fn floods_the_channel_with_small_frames(stage: &mut Stage) {
    let limit = Duration::from_secs(2);
    let ran = stage.ran(json!({}), Given { limit, ..Given::default() }).await;
    ran.assert_stopped(limit);
    assert!(ran.events.len() as u64 <= protocol::limits::EVENTS + 10, "{}", ran.events.len());
}

async fn writes_to_the_log_of_the_master(stage: &mut Stage) {
    // Standard output and error of a call are its own pipe.
    let ran = ran(stage, "").await;
    assert_eq!(ran.value(), "same");
    let logged: String = ran.of_kind("log").iter().filter_map(|data| data["text"].as_str()).collect();
    assert!(logged.contains("to 1") && logged.contains("to 2"), "{logged}");
}
