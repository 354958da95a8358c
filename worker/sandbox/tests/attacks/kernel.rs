//! Attacks on the kernel and on what it keeps apart: namespaces, mounts, rights, and its large or old surfaces.

use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Stage, assert_each};

attacks!("kernel.py":
    makes_a_user_namespace,
    makes_each_kind_of_namespace,
    makes_a_namespace_with_a_new_process,
    makes_a_process_by_clone3,
    enters_a_namespace_of_the_host,
    mounts_a_file_system,
    makes_a_read_only_mount_writable,
    takes_a_mount_away,
    changes_the_root,
    uses_the_newer_calls_for_mounts,
    keeps_a_key_in_the_kernel,
    loads_a_program_for_the_kernel,
    counts_events_of_the_machine,
    handles_page_faults_itself,
    goes_around_the_filter_by_io_uring,
    loads_a_kernel,
    loads_a_module,
    has_the_kernel_load_a_module_for_a_protocol,
    stops_the_machine,
    swaps,
    counts_the_disk_of_others,
    reads_the_log_of_the_kernel,
    uses_ports_and_segments_of_the_processor,
    sets_the_clock,
    changes_the_name_of_the_host,
    makes_objects_of_system_v,
    makes_a_message_queue,
    places_memory_of_others,
    makes_memory_predictable,
    becomes_root,
    gains_a_capability,
    takes_its_own_locks_off,
    calls_as_a_32_bit_program,
    calls_by_the_numbers_of_x32,
    hides_an_argument_in_the_upper_half,
    uses_calls_that_nobody_allowed,
    dumps_a_core_on_the_host,
);

/// Everything that is tried ends with EPERM, which is the filter's answer; outside, where nothing that is tried can do
/// harm, at least `others` of it end in another way.
async fn assert_refused(stage: &Stage, others: &[&str]) {
    assert_each(&stage.inside().await, &["EPERM", "absent"]);
    if !others.is_empty() {
        let outside = stage.outside().await;
        for name in others {
            assert_ne!(outside[name], json!("EPERM"), "{name} is refused outside too: {outside}");
        }
    }
}

async fn makes_a_user_namespace(stage: &mut Stage) {
    assert_refused(stage, &["unshare"]).await;
}

async fn makes_each_kind_of_namespace(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn makes_a_namespace_with_a_new_process(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["with"], &["EPERM", "ENOSYS"]);
    assert_eq!(told["user"], "EPERM");
    assert_eq!(told["without"], "done");
}

async fn makes_a_process_by_clone3(stage: &mut Stage) {
    assert_eq!(stage.inside().await, json!({"process": "ENOSYS", "namespace": "ENOSYS"}));
    assert_eq!(stage.outside().await["process"], "done");
}

async fn enters_a_namespace_of_the_host(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM", "EACCES"]);
}

async fn mounts_a_file_system(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn makes_a_read_only_mount_writable(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn takes_a_mount_away(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn changes_the_root(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn uses_the_newer_calls_for_mounts(stage: &mut Stage) {
    assert_refused(stage, &["open_tree", "mount_setattr"]).await;
}

async fn keeps_a_key_in_the_kernel(stage: &mut Stage) {
    assert_refused(stage, &["add_key"]).await;
}

async fn loads_a_program_for_the_kernel(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn counts_events_of_the_machine(stage: &mut Stage) {
    assert_refused(stage, &["perf_event_open"]).await;
}

async fn handles_page_faults_itself(stage: &mut Stage) {
    assert_refused(stage, &["only those of the program"]).await;
}

async fn goes_around_the_filter_by_io_uring(stage: &mut Stage) {
    assert_refused(stage, &["io_uring_enter"]).await;
}

async fn loads_a_kernel(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn loads_a_module(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn has_the_kernel_load_a_module_for_a_protocol(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["rare"], &["ENOSYS", "EPERM"]);
    assert_each(&told["ordinary"], &["done"]);
}

async fn stops_the_machine(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn swaps(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn counts_the_disk_of_others(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn reads_the_log_of_the_kernel(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn uses_ports_and_segments_of_the_processor(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn sets_the_clock(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn changes_the_name_of_the_host(stage: &mut Stage) {
    assert_refused(stage, &[]).await;
}

async fn makes_objects_of_system_v(stage: &mut Stage) {
    assert_refused(stage, &["shmget", "semget", "msgget"]).await;
}

async fn makes_a_message_queue(stage: &mut Stage) {
    assert_refused(stage, &["mq_open"]).await;
}

async fn places_memory_of_others(stage: &mut Stage) {
    assert_refused(stage, &["set_mempolicy"]).await;
}

async fn makes_memory_predictable(stage: &mut Stage) {
    assert_refused(stage, &["personality"]).await;
}

async fn becomes_root(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["calls"], &["EPERM", "EINVAL"]);
    assert_eq!(told["user"], json!([1000, 1000, 1000]));
}

async fn gains_a_capability(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["calls"], &["EPERM"]);
    assert_eq!(told["sets"], json!(["0000000000000000"]));
}

async fn takes_its_own_locks_off(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["calls"], &["EPERM", "EINVAL", "EFAULT", "EACCES"]);
    assert_eq!(told["state"], json!({"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "2"}));
}

/// `killed by 31` is SIGSYS, the filter's answer to another kind of system call.
async fn calls_as_a_32_bit_program(stage: &mut Stage) {
    let told = stage.inside().await;
    assert!(["killed by 31", "killed by 11", "absent"].iter().any(|end| told["32 bit"] == **end), "{told}");
    assert_eq!(told["64 bit"], "done", "the same code with the ordinary instruction");
}

async fn calls_by_the_numbers_of_x32(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENOSYS"]);
}

async fn hides_an_argument_in_the_upper_half(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told, &["EPERM", "ENOSYS"]);
}

async fn uses_calls_that_nobody_allowed(stage: &mut Stage) {
    let told = stage.inside().await;
    let allowed: Vec<&Value> = told["answered"].as_array().unwrap().iter().collect();
    assert!(allowed.is_empty(), "calls beyond the list: {allowed:?}");
    assert!(told["tried"].as_u64().unwrap() > 100);
}

async fn dumps_a_core_on_the_host(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told, json!({"signal": 11, "core": false, "files": [], "raised": "ValueError"}));
}
