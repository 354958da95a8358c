//! What a worker does on hosts that can't isolate handlers, piece by piece: the real binary on a host that was made
//! poorer for real (`host.py`). With `required` it refuses and says what is missing; with `best-effort` it says so too,
//! and goes on.

use std::time::Duration;

use sandbox::{PIECES, Piece};
use serde_json::{Value, json};

use super::support::{Dir, Sortie, free_port, needed, until};
use super::{Outcome, command, run, write};

/// The command that takes a piece away from the host of the command that follows.
fn without(piece: &str) -> [String; 3] {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/host.py");
    [needed("SORTIE_TEST_PYTHON"), script.to_owned(), piece.to_owned()]
}

fn name_of(piece: Piece) -> String {
    serde_json::to_value(piece).unwrap().as_str().unwrap().to_owned()
}

/// `sortie worker` with these arguments, on a host without a piece. It must end by itself.
#[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
fn worker(dir: &Dir, piece: &str, arguments: &[&str]) -> Outcome {
    let [python, script, piece] = without(piece);
    let mut command = std::process::Command::new(&python);
    let servers = ["--amqp-url", "amqp://127.0.0.1:1/", "--redis-url", "redis://127.0.0.1:1/"];
    command
        .args([&script, &piece, env!("CARGO_BIN_EXE_sortie"), "worker", "--listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(dir.path().join("data"))
        .args(["--python", &python])
        .args(servers)
        .args(arguments)
        .env_clear();
    run(command)
}

/// A worker that nobody told anything refuses, with the piece and its mend, before it has touched anything.
fn refuses(piece: Piece) {
    let dir = Dir::new();
    let outcome = worker(&dir, &name_of(piece), &[]).expect(3);
    for part in [piece.name(), piece.mend(), "isolation = required", "nothing was started", "sortie doctor"] {
        assert!(outcome.err.contains(part), "{part}: {outcome:#?}");
    }
    assert!(!dir.path().join("data").exists(), "{outcome:#?}");
}

/// Told to do its best, it starts, says what is missing wherever somebody may look, and runs handlers.
async fn goes_on_without(piece: Piece) {
    let dir = Dir::new();
    let host = without(&name_of(piece));
    let host: Vec<&str> = host.iter().map(String::as_str).collect();
    let more = ["--isolation", "best-effort", "--slots", "1"];
    let server = Sortie::launch_by(&host, "serve", &dir, None, free_port(), &more);
    let log = summary(&server, "isolation  partial").await;
    let warned = log.lines().any(|line| line.contains("isolation is partial") && line.contains(piece.name()));
    assert!(warned, "{log}");
    assert_eq!(isolation_of(&server).await, ("partial".into(), "partial".into()));
}

/// What a server has written once its summary says this.
async fn summary(server: &Sortie, part: &str) -> String {
    server.until_ready().await;
    until(&format!("it says {part}"), Duration::from_secs(10), || async {
        let log = server.log();
        log.contains(part).then_some(log)
    })
    .await
}

/// What `/readyz` says, and the record of an attempt that ran.
async fn isolation_of(server: &Sortie) -> (String, String) {
    let ready = server.client.get("/readyz").await.body;
    let detail = ready["parts"]["worker"]["detail"].as_str().unwrap().to_owned();
    let (_, told) = detail.rsplit_once("isolation: ").unwrap();
    server.client.publish("one", "def handle_event(data):\n    return 1\n", json!({})).await;
    let job = server.client.run("one", json!({})).await;
    assert_eq!(job["result"], 1, "{job}");
    // The attempt that gave the result: on a machine that stood still, one before it may have been taken for dead.
    let attempt = job["attempts"].as_array().unwrap().last().unwrap();
    (told.to_owned(), attempt["isolation"].as_str().unwrap_or_default().to_owned())
}

/// One test for each piece and level, and a check that no piece is left out.
macro_rules! pieces {
    ($($name:ident: $piece:ident),+ $(,)?) => {
        mod required {
            $(#[test]
            fn $name() {
                super::refuses(sandbox::Piece::$piece);
            })+
        }
        mod best_effort {
            $(#[tokio::test]
            async fn $name() {
                super::goes_on_without(sandbox::Piece::$piece).await;
            })+
        }
        #[test]
        fn every_piece_has_its_tests() {
            // Nobody starts anything without no_new_privs, also not with `none`.
            let tested = [$(Piece::$piece,)+ Piece::NoNewPrivileges];
            assert!(PIECES.iter().all(|piece| tested.contains(piece)));
        }
    };
}

pieces!(
    a_kernel_that_is_too_old: Kernel,
    no_user_namespaces: User,
    no_nested_user_namespaces: NestedUser,
    no_user_for_handlers: HandlerUser,
    no_mount_namespaces: Mount,
    no_process_namespaces: Pid,
    no_ipc_namespaces: Ipc,
    no_host_name_namespaces: Uts,
    no_network_namespaces: Network,
    no_root_of_its_own: Root,
    a_masked_proc: Proc,
    no_system_call_filter: Filter,
);

#[test]
fn no_new_privileges_is_demanded() {
    refuses(Piece::NoNewPrivileges);
}

#[test]
fn a_limit_that_suffices_for_the_master_but_not_for_a_slot_is_named() {
    let outcome = worker(&Dir::new(), "network_of_a_slot", &[]).expect(3);
    assert!(outcome.err.contains("a slot gets no net namespace"), "{outcome:#?}");
    assert!(outcome.err.contains("user.max_net_namespaces"), "{outcome:#?}");
}

#[test]
fn a_python_without_ctypes_is_refused_on_every_level() {
    let dir = Dir::new();
    // How the interpreter is asked what it is: -I -B -c SCRIPT.
    let script = format!(
        "#!/bin/sh\nexec {} -I -B -c \"import sys; sys.modules['ctypes'] = None\n$4\"\n",
        needed("SORTIE_TEST_PYTHON")
    );
    write(&dir, "python", &script);
    let python = dir.path().join("python");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&python, mode).unwrap();
    for level in ["required", "best-effort", "none"] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--isolation", level, "--python"];
        let outcome =
            run(command(dir.path(), &[&arguments[..], &[python.to_str().unwrap()]].concat())).expect(3);
        assert!(outcome.err.contains("no module ctypes"), "{outcome:#?}");
        assert!(outcome.err.contains("hint: "), "{outcome:#?}");
        assert!(!dir.path().join(".local").exists());
    }
}

#[tokio::test]
async fn none_is_possible_anywhere_and_never_silent() {
    let dir = Dir::new();
    let host = without("user");
    let host: Vec<&str> = host.iter().map(String::as_str).collect();
    let more = ["--isolation", "none", "--slots", "1"];
    let server = Sortie::launch_by(&host, "serve", &dir, None, free_port(), &more);
    let log = summary(&server, "isolation  none").await;
    assert!(log.contains("handlers are not isolated"), "{log}");
    assert_eq!(isolation_of(&server).await, ("none".into(), "none".into()));
}

#[tokio::test]
async fn by_default_handlers_are_in_a_sandbox_also_where_only_the_owner_reaches_the_folder() {
    let dir = Dir::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(dir.path(), mode).unwrap();
    let server = Sortie::embedded(&dir, &["--slots", "1"]).await;
    summary(&server, "isolation  sandbox").await;
    assert_eq!(isolation_of(&server).await, ("sandbox".into(), "sandbox".into()));

    // The interpreter may lie below /tmp, and is mounted there then.
    let source = "import os\ndef handle_event(data):\n    found = [name for name in os.listdir('/tmp') if not os.path.ismount('/tmp/' + name)]\n    return [os.path.exists(data), found, os.getuid()]\n";
    server.client.publish("look", source, json!({})).await;
    let job = server.client.run("look", json!(dir.path())).await;
    assert_eq!(job["result"], json!([false, [], 1000]), "{job}");

    // Whoever runs the worker, handlers are not root.
    let sleep = "import time\ndef handle_event(data):\n    time.sleep(60)\n";
    server.client.publish("sleep", sleep, json!({"timeout_ms": 60_000})).await;
    assert_eq!(server.client.post("/v1/jobs", json!({"action": "sleep", "input": {}})).await.status, 202);
    let users = users_in_slots(server.pid());
    assert!(!users.is_empty() && !users.contains(&0), "{users:?}");
}

/// The users, as the host sees them, of the processes in namespaces of slots below a worker.
fn users_in_slots(worker: u32) -> Vec<u32> {
    let statuses: Vec<Value> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("status")).ok())
        .map(|status| {
            status
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name, value.trim()))
                .collect()
        })
        .collect();
    let number = |status: &Value, name: &str| -> u32 {
        status[name]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .next()
            .unwrap_or("0")
            .parse()
            .unwrap_or(0)
    };
    let mut below = std::collections::BTreeSet::from([worker]);
    for _ in 0..8 {
        let children = statuses.iter().filter(|status| below.contains(&number(status, "PPid")));
        let children: Vec<u32> = children.map(|status| number(status, "Pid")).collect();
        below.extend(children);
    }
    let inside = |status: &&Value| {
        below.contains(&number(status, "Pid"))
            && status["NSpid"].as_str().unwrap_or_default().split_whitespace().count() == 3
    };
    statuses.iter().filter(inside).map(|status| number(status, "Uid")).collect()
}
