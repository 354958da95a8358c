//! `sortie doctor` on a machine without RabbitMQ, without Python 3.12, and with everything.

use serde_json::Value;

use super::support::{Dir, MASTER_KEY, Servers, Sortie, free_port, needed};
use super::{Outcome, command, run};

/// Runs doctor with these arguments on top of a free port; `python` is where it may look for one.
fn doctor(dir: &Dir, path: &str, arguments: &[&str]) -> Outcome {
    let mut command = command(dir.path(), &[&["doctor", "--listen", "127.0.0.1:0"], arguments].concat());
    command.env("PATH", path);
    run(command)
}

/// The report's lines about one area.
fn about<'a>(report: &'a Value, area: &str) -> Vec<&'a Value> {
    report["checks"].as_array().unwrap().iter().filter(|check| check["area"] == area).collect()
}

#[test]
fn without_python_it_says_how_to_get_one() {
    let dir = Dir::new();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let outcome = doctor(&dir, empty.to_str().unwrap(), &[]).expect(8);
    assert!(outcome.out.contains("problem  python     no Python 3.12 or newer"), "{outcome:?}");
    assert!(outcome.out.contains("to mend: run `deploy/python/prepare"), "{outcome:?}");
    assert!(outcome.err.contains("1 problem found"), "{outcome:?}");
}

#[test]
fn without_rabbitmq_it_names_the_server_that_is_away() {
    let dir = Dir::new();
    let (amqp, redis) =
        (format!("amqp://guest:hunter2@127.0.0.1:{}/", free_port()), needed("SORTIE_TEST_REDIS_URL"));
    let python = needed("SORTIE_TEST_PYTHON");
    let arguments = ["--python", &python, "--amqp-url", &amqp, "--redis-url", &redis, "--json"];
    let outcome = doctor(&dir, "/usr/bin:/bin", &arguments).expect(8);
    let report = outcome.json();
    assert_eq!(report["healthy"], false);
    let rabbitmq = about(&report, "rabbitmq");
    assert_eq!(rabbitmq[0]["level"], "problem", "{report:#}");
    assert!(
        rabbitmq[0]["finding"].as_str().unwrap().contains("can't be reached at 127.0.0.1:"),
        "{report:#}"
    );
    assert!(about(&report, "redis").iter().all(|check| check["level"] == "ok"), "{report:#}");
    assert!(!outcome.out.contains("hunter2"));
}

#[test]
fn with_everything_it_finds_no_problem() {
    let dir = Dir::new();
    let servers = Servers::of_the_run();
    let python = needed("SORTIE_TEST_PYTHON");
    let arguments = [
        "--python",
        &python,
        "--amqp-url",
        &servers.amqp,
        "--redis-url",
        &servers.redis,
        "--prefix",
        &servers.prefix,
        "--master-key",
        MASTER_KEY,
        "--json",
    ];
    let report = doctor(&dir, "/usr/bin:/bin", &arguments).expect(0).json();
    assert_eq!(report["healthy"], true, "{report:#}");
    for area in ["settings", "python", "requests", "data", "listen", "rabbitmq", "redis", "secrets", "clock"]
    {
        let checks = about(&report, area);
        assert!(
            !checks.is_empty() && checks.iter().all(|check| check["level"] == "ok"),
            "{area}: {report:#}"
        );
    }
    assert!(about(&report, "rabbitmq")[0]["finding"].as_str().unwrap().starts_with("version "), "{report:#}");
    // It only looked.
    assert!(!dir.path().join(".local").exists());
}

#[test]
fn the_master_key_is_read_where_a_start_would_and_never_shown_or_made() {
    let (dir, python) = (Dir::new(), needed("SORTIE_TEST_PYTHON"));
    let look = |data: &str, more: &[&str]| {
        let data = dir.path().join(data);
        doctor(
            &dir,
            "/usr/bin:/bin",
            &[&["--python", &python, "--data", data.to_str().unwrap()], more].concat(),
        )
    };
    let first = look("first", &[]).expect(0);
    assert!(first.out.contains("ok       secrets    no master key yet"), "{first:?}");
    assert!(!dir.path().join("first").exists());

    // The id of MASTER_KEY.
    let id = "5210a2ebe4a36516";
    let file = dir.path().join("cluster.key");
    std::fs::write(&file, MASTER_KEY).unwrap();
    let file = file.to_str().unwrap();
    for (more, at) in
        [(["--master-key", MASTER_KEY], "set from outside"), (["--master-key-file", file], file)]
    {
        let outcome = look("first", &more).expect(0);
        assert!(outcome.out.contains(id) && outcome.out.contains(at), "{outcome:?}");
        assert!(!outcome.out.contains(MASTER_KEY), "{outcome:?}");
    }

    std::fs::create_dir(dir.path().join("damaged")).unwrap();
    std::fs::write(dir.path().join("damaged/master.key"), "c2hvcnQ=").unwrap();
    let damaged = look("damaged", &[]).expect(8);
    assert!(damaged.out.contains("problem  secrets    the master key can't be used"), "{damaged:?}");
    assert!(
        damaged.out.contains("damaged/master.key: master key 1 is not 32 bytes in Base64"),
        "{damaged:?}"
    );
    assert!(damaged.out.contains("openssl rand -base64 32"), "{damaged:?}");
    assert!(!damaged.out.contains("c2hvcnQ="), "{damaged:?}");
}

#[tokio::test]
async fn a_running_sortie_is_no_problem_but_a_stranger_on_its_folder_is() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    let address = server.url.trim_start_matches("http://");
    let (data, python) = (dir.path().join("data"), needed("SORTIE_TEST_PYTHON"));
    let arguments = ["doctor", "--data", data.to_str().unwrap(), "--python", &python, "--json", "--listen"];
    let beside = run(command(dir.path(), &[&arguments[..], &[address]].concat())).expect(0).json();
    assert_eq!(about(&beside, "store")[0]["level"], "ok", "{beside:#}");
    let elsewhere = run(command(dir.path(), &[&arguments[..], &["127.0.0.1:0"]].concat())).expect(8).json();
    assert_eq!(about(&elsewhere, "store")[0]["level"], "problem", "{elsewhere:#}");
}

#[test]
fn wrong_settings_are_problems_among_the_others() {
    let dir = Dir::new();
    let outcome = doctor(&dir, "/usr/bin:/bin", &["--slots", "none", "--redis-url", "redis://h"]).expect(8);
    assert!(outcome.out.contains("problem  settings   slots = \"none\""), "{outcome:?}");
    assert!(outcome.out.contains("problem  settings   amqp_url"), "{outcome:?}");
}
