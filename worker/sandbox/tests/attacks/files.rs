//! Attacks on files: those of the host, of the worker, of other slots, and the tmp that is emptied after each call.

use std::time::Duration;

use serde_json::{Value, json};

use crate::attacks;
use crate::stage::{Given, Stage, assert_each};

attacks!("files.py":
    reads_a_file_of_the_host,
    reads_the_password_files_of_the_host,
    lists_the_directories_of_the_host,
    climbs_out_of_the_root,
    reads_through_the_root_of_other_processes,
    reads_the_environment_of_the_worker,
    finds_the_environment_of_the_worker_in_memory,
    finds_the_secrets_of_another_action_in_memory,
    writes_anywhere_but_tmp,
    changes_files_that_are_its_own_users_outside,
    changes_the_runner,
    opens_the_memory_and_the_disks_of_the_machine,
    makes_a_device,
    reads_the_secrets_of_the_kernel,
    writes_settings_of_the_kernel,
    opens_files_by_handle,
    gives_a_file_to_root,
    finds_a_mount_that_can_be_written_or_grants_rights,
    replaces_tmp_by_a_link,
    leaves_links_that_lead_out_of_tmp,
    links_a_file_of_the_host_into_tmp,
    uses_a_descriptor_of_the_worker,
    watches_files_that_others_read,
);

/// A file that everybody on the host may read.
struct HostFile(std::path::PathBuf);

impl HostFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sortie-host-{}-{name}", std::process::id()));
        std::fs::write(&path, "of the host").unwrap();
        Self(path)
    }

    fn input(&self) -> Value {
        json!({"path": self.0})
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn reads_a_file_of_the_host(stage: &mut Stage) {
    let file = HostFile::new("read");
    assert_eq!(stage.outside_with(file.input()).await, "of the host");
    assert_eq!(stage.inside_with(file.input()).await, "ENOENT");
}

async fn reads_the_password_files_of_the_host(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["users"], json!(["handler"]));
    assert_each(&told["shadow"], &["ENOENT"]);
    assert_ne!(stage.outside().await["users"], told["users"]);
}

async fn lists_the_directories_of_the_host(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told, &["ENOENT", "only the way to Python"]);
    assert_eq!(stage.outside().await["/sys"], "files");
}

async fn climbs_out_of_the_root(stage: &mut Stage) {
    let file = HostFile::new("climb");
    let way = json!({"path": file.0.strip_prefix("/").unwrap()});
    assert_each(&stage.inside_with(way.clone()).await, &["ENOENT"]);
    assert_each(&stage.outside_with(way).await, &["done"]);
}

async fn reads_through_the_root_of_other_processes(stage: &mut Stage) {
    let file = HostFile::new("root");
    assert_each(&stage.inside_with(file.input()).await, &["ENOENT", "EACCES", "EPERM"]);
}

async fn reads_the_environment_of_the_worker(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["own"], json!([]), "its own environment");
    assert_eq!(told["others"], json!([]), "the environment of others");
    assert_eq!(told["template"], "EACCES");
}

async fn finds_the_environment_of_the_worker_in_memory(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["found"], 0);
    assert!(
        told["searched"].as_u64().unwrap() > 10_000_000 && told["control"].as_u64().unwrap() > 0,
        "{told}"
    );
}

async fn finds_the_secrets_of_another_action_in_memory(stage: &mut Stage) {
    let (first, second) = ("correct-horse-", "battery-staple");
    let given = Given { secrets: vec![("TOKEN", format!("{first}{second}"))], ..Given::default() };
    // The input has the secret in two halves, so that the search doesn't find what it searches for.
    let halves = json!({"halves": [first, second]});
    let owner = stage.ran(halves.clone(), given).await.value();
    assert!(owner["found"].as_u64().unwrap() > 0, "the search finds what is there: {owner}");
    assert_eq!(owner["secrets"], json!(["TOKEN"]));
    let other = stage.inside_with(halves).await;
    assert_eq!((&other["found"], &other["secrets"]), (&json!(0), &json!([])), "{other}");
}

async fn writes_anywhere_but_tmp(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["written"], json!([]));
    assert!(told["tried"].as_u64().unwrap() > 100, "{told}");
    assert_eq!(told["tmp"], "done");
}

async fn changes_files_that_are_its_own_users_outside(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EROFS", "EACCES"]);
}

async fn changes_the_runner(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EROFS", "EACCES"]);
}

async fn opens_the_memory_and_the_disks_of_the_machine(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["ENOENT", "EACCES", "EPERM"]);
}

async fn makes_a_device(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["devices"], &["EPERM"]);
    assert_eq!(told["pipe"], "done", "a FIFO is no device");
}

async fn reads_the_secrets_of_the_kernel(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["files"], &["ENOENT", "EACCES", "EPERM"]);
    assert_eq!(told["addresses"], json!([]), "addresses of the kernel");
    assert_eq!(told["machine"], json!([]), "keys and hardware of the host");
}

async fn writes_settings_of_the_kernel(stage: &mut Stage) {
    let told = stage.inside().await;
    assert!(told["tried"].as_u64().unwrap() > 100, "{told}");
    assert_eq!(told["written"], json!([]));
}

async fn opens_files_by_handle(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_ne!(stage.outside().await["name_to_handle_at"], "EPERM");
}

async fn gives_a_file_to_root(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["chown"], &["EPERM", "EINVAL"]);
    assert_eq!(told["owner"], 1000);
}

async fn finds_a_mount_that_can_be_written_or_grants_rights(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["writable"], json!(["/dev/shm", "/proc", "/tmp"]));
    assert_eq!(told["setuid"], json!([]), "mounts that honour setuid");
    assert_eq!(told["not nodev"], told["devices"], "mounts that honour devices");
}

async fn replaces_tmp_by_a_link(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EBUSY", "EROFS", "EXDEV"]);
}

async fn leaves_links_that_lead_out_of_tmp(stage: &mut Stage) {
    // What the links of the first call lead to must survive its end.
    assert_eq!(stage.inside().await, 10);
    stage.assert_clean().await;
    let file = HostFile::new("link");
    let ran = stage
        .ran(json!({"path": file.0}), Given { limit: Duration::from_secs(10), ..Given::default() })
        .await;
    assert_eq!(ran.value(), 10);
    stage.assert_clean().await;
    assert!(file.0.exists());
}

async fn links_a_file_of_the_host_into_tmp(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_each(&told["host"], &["EXDEV", "EPERM"]);
    assert_eq!(told["own"], "done");
}

async fn uses_a_descriptor_of_the_worker(stage: &mut Stage) {
    let told = stage.inside().await;
    assert_eq!(told["directories"], json!([]));
    assert_eq!(told["regular"], json!([]));
    assert_eq!(told["more than the channel"], json!([]));
}

async fn watches_files_that_others_read(stage: &mut Stage) {
    assert_each(&stage.inside().await, &["EPERM"]);
    assert_eq!(stage.outside().await["inotify_init1"], "done");
}
