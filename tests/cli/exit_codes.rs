//! Every documented exit code, from a situation that gives it.

use std::process::Stdio;
use std::time::Duration;

use super::support::{Dir, Sortie, free_port};
use super::{ask, command, run, sortie, write};

#[test]
fn a_wrong_command_line_is_2() {
    sortie(&[]).expect(2);
    sortie(&["submit"]).expect(2);
    sortie(&["serve", "--slot", "3"]).expect(2);
    sortie(&["submit", "a", "--deadline", "soon"]).expect(2);
    let input = sortie(&["submit", "a", "--input", "{city: Oslo}"]).expect(2);
    assert!(input.err.contains("the input is not JSON"), "{input:?}");
    sortie(&["submit", "a", "--input", "@nowhere.json"]).expect(2);
}

#[test]
fn wrong_settings_are_3_and_are_all_told_at_once() {
    let dir = Dir::new();
    write(&dir, "sortie.toml", "slots = 0\nlane = \"gpu\"\n");
    let mut serve = command(dir.path(), &["serve", "--config", "sortie.toml", "--lanes", "A B"]);
    serve
        .env("SORTIE_AMQP_URL", "http://user:hunter2@host")
        .env("SORTIE_SYNC", "half")
        .env("SORTIE_REDIS_URL", "");
    let outcome = run(serve).expect(3);
    for words in [
        "5 settings are wrong; nothing was started",
        "lane (sortie.toml, line 2): there is no such setting",
        "slots = \"0\" (sortie.toml, line 1): must lie between 1 and 1024",
        "lanes = \"A B\" (flag --lanes): a lane must be",
        "amqp_url (environment SORTIE_AMQP_URL): must begin with amqp://",
        "sync = \"half\" (environment SORTIE_SYNC)",
    ] {
        assert!(outcome.err.contains(words), "{words:?} is missing in:\n{}", outcome.err);
    }
    assert!(!outcome.err.contains("hunter2"), "{}", outcome.err);
    // Nothing was started: not even the data folder was made.
    assert!(!dir.path().join(".local").exists());
}

#[test]
fn an_open_address_without_a_key_is_3() {
    let outcome = sortie(&["serve", "--listen", "0.0.0.0:0"]).expect(3);
    assert!(outcome.err.contains("SORTIE_ADMIN_KEY"), "{outcome:?}");
    let outcome = sortie(&["worker"]).expect(3);
    assert!(outcome.err.contains("2 settings are wrong"), "{outcome:?}");
}

#[test]
fn a_host_without_python_is_3() {
    let dir = Dir::new();
    let mut serve = command(dir.path(), &["serve", "--listen", "127.0.0.1:0"]);
    serve.env("PATH", dir.path());
    let outcome = run(serve).expect(3);
    assert!(outcome.err.contains("no Python 3.12 or newer"), "{outcome:?}");
}

#[test]
fn no_server_is_4() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let outcome = sortie(&["jobs", "list", "--url", &url, "--key", "sk_x"]).expect(4);
    assert!(outcome.err.contains(&format!("can't reach Sortie at {url}")), "{outcome:?}");
    assert!(outcome.err.contains("sortie serve"), "{outcome:?}");
}

#[tokio::test]
async fn refusals_are_5_and_say_where_and_what_to_read() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    let unknown = ask(&server, &dir, &["submit", "nothing.here"]).expect(5);
    assert!(unknown.err.contains("sortie explain action_not_found"), "{unknown:?}");
    let key = ask(&server, &dir, &["jobs", "list", "--key", "sk_wrong"]).expect(5);
    assert!(key.err.contains("sortie explain key_invalid"), "{key:?}");
    let mut without = command(dir.path(), &["jobs", "list", "--data", "nowhere"]);
    without.env("SORTIE_URL", &server.url);
    let without = run(without).expect(5);
    assert!(without.err.contains("nowhere/admin.key is not there"), "{without:?}");

    write(&dir, "schema.json", r#"{"parameters": {"city": {"type": "string"}}, "required": ["city"]}"#);
    write(&dir, "a.py", "def handle_event(data):\n    return data\n");
    ask(&server, &dir, &["actions", "put", "a", "--python", "a.py", "--schema", "schema.json"]).expect(0);
    let input = ask(&server, &dir, &["submit", "a", "--input", r#"{"city": 7}"#]).expect(5);
    assert!(input.err.contains("/city"), "{input:?}");
}

#[tokio::test]
async fn the_end_of_a_job_is_6_7_or_9() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    write(&dir, "raises.py", "def handle_event(data):\n    return data['missing']\n");
    write(&dir, "sleeps.py", "import time\ndef handle_event(data):\n    time.sleep(60)\n");
    ask(&server, &dir, &["actions", "put", "raises", "--python", "raises.py"]).expect(0);
    ask(&server, &dir, &["actions", "put", "sleeps", "--python", "sleeps.py", "--timeout", "60s"]).expect(0);

    let failed = ask(&server, &dir, &["submit", "raises", "--wait"]).expect(6);
    assert!(failed.err.contains("handler_raised") && failed.err.contains("KeyError"), "{failed:?}");
    assert_eq!(failed.out, "");
    let failed = ask(&server, &dir, &["submit", "raises", "--follow"]).expect(6);
    assert!(failed.err.contains("handler_raised"), "{failed:?}");

    let expired = ask(&server, &dir, &["submit", "sleeps", "--deadline", "300ms", "--wait"]).expect(7);
    assert!(expired.err.contains("deadline_exceeded"), "{expired:?}");

    let id = ask(&server, &dir, &["submit", "sleeps"]).expect(0).line().to_owned();
    ask(&server, &dir, &["jobs", "wait", &id, "--timeout", "50ms"]).expect(9);
    ask(&server, &dir, &["jobs", "cancel", &id]).expect(0);
    ask(&server, &dir, &["jobs", "wait", &id, "--timeout", "10s"]).expect(7);
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_3() {
    let dir = Dir::new();
    let _first = Sortie::embedded(&dir, &[]).await;
    let mut second = Sortie::launch("serve", &dir, None, free_port(), &[]);
    assert_eq!(second.exit_code(Duration::from_secs(20)).await, Some(3));
    assert!(second.log().contains("--data"), "{}", second.log());
}

#[tokio::test]
async fn a_port_that_is_taken_is_3_and_sigterm_is_0() {
    let (dir, other) = (Dir::new(), Dir::new());
    let mut first = Sortie::embedded(&dir, &[]).await;
    let port = first.url.rsplit(':').next().unwrap().parse().unwrap();
    let mut second = Sortie::launch("serve", &other, None, port, &[]);
    assert_eq!(second.exit_code(Duration::from_secs(20)).await, Some(3));
    assert!(second.log().contains("can't listen on"), "{}", second.log());
    assert_eq!(first.terminate().await, Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_0() {
    let dir = Dir::new();
    let mut child =
        command(dir.path(), &["explain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
