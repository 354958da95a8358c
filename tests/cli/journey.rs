//! The way of a newcomer: publish, run, watch, cancel, hand out keys; and the demo.

use serde_json::json;

use super::support::{Dir, Sortie, needed};
use super::{ask, command, run, write};

const GREET: &str = "def handle_event(data):\n    print('greeting', data['name'])\n    return {'greeting': f\"Hello, {data['name']}!\"}\n";
const COUNT: &str =
    "def handle_event(data):\n    for n in range(data['to']):\n        yield n\n    print('counted')\n";
const SLEEP: &str = "import time\ndef handle_event(data):\n    time.sleep(60)\n";

#[tokio::test]
async fn from_the_first_action_to_keys_for_others() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    let ask = |arguments: &[&str]| ask(&server, &dir, arguments);
    write(&dir, "greet.py", GREET);
    write(&dir, "count.py", COUNT);
    write(&dir, "sleep.py", SLEEP);

    // Publish; the same again makes no version; another content does.
    assert_eq!(
        ask(&["actions", "put", "greet", "--python", "greet.py"]).expect(0).line(),
        "published greet, version 1"
    );
    let again = ask(&["actions", "put", "greet", "--python", "greet.py"]).expect(0);
    assert!(again.out.starts_with("unchanged: greet, version 1"), "{again:?}");
    ask(&["actions", "put", "greet", "--python", "greet.py", "--description", "Greets."]).expect(0);
    let versions = ask(&["actions", "versions", "greet", "--json"]).expect(0).json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let first = ask(&["actions", "get", "greet", "--version", "1"]).expect(0).json();
    assert_eq!(first["content"]["handler"]["source"], GREET);
    let list = ask(&["actions", "list"]).expect(0);
    assert!(list.out.lines().nth(1).unwrap().starts_with("greet  2        yes"), "{list:?}");

    // Run it: the result on stdout, words on stderr.
    let waited = ask(&["submit", "greet", "--input", r#"{"name": "Ada"}"#, "--wait"]).expect(0);
    assert_eq!(waited.json(), json!({"greeting": "Hello, Ada!"}));
    assert_eq!(waited.err.lines().last(), Some("succeeded"));
    let arguments =
        ["submit", "greet", "--input", r#"{"name": "Bo"}"#, "--version", "1", "--label", "team=travel"];
    let id = ask(&[&arguments[..], &["--idempotency-key", "k1"]].concat()).expect(0).line().to_owned();
    assert_eq!(ask(&[&arguments[..], &["--idempotency-key", "k1"]].concat()).expect(0).line(), id);
    ask(&["jobs", "wait", &id]).expect(0);
    let job = ask(&["jobs", "get", &id, "--json"]).expect(0).json();
    assert_eq!((&job["version"], &job["labels"]["team"]), (&json!(1), &json!("travel")));
    let labelled = ask(&["jobs", "list", "--label", "team=travel", "--json"]).expect(0).json();
    assert_eq!(labelled["jobs"][0]["id"], id.as_str());
    assert_eq!(labelled["jobs"].as_array().unwrap().len(), 1);

    // Events: all of them, from the middle, and as JSON lines.
    let events = ask(&["jobs", "events", &id]).expect(0).out;
    assert!(events.contains("greeting Bo") && events.lines().last().unwrap().contains("result"), "{events}");
    let rest = ask(&["jobs", "events", &id, "--after", "2"]).expect(0).out;
    assert_eq!(rest.lines().count(), events.lines().count() - 2);
    let lines = ask(&["jobs", "events", &id, "--json"]).expect(0).out;
    assert!(
        lines.lines().all(|line| serde_json::from_str::<protocol::event::Event>(line).is_ok()),
        "{lines}"
    );

    // Follow a stream: chunks to stdout, the rest to stderr.
    ask(&["actions", "put", "count", "--python", "count.py"]).expect(0);
    let followed = ask(&["submit", "count", "--input", r#"{"to": 3}"#, "--follow"]).expect(0);
    assert_eq!(followed.out, "0\n1\n2\n");
    assert!(followed.err.contains("counted") && followed.err.contains("succeeded"), "{followed:?}");

    // Cancel.
    ask(&["actions", "put", "sleep", "--python", "sleep.py", "--timeout", "60s"]).expect(0);
    let id = ask(&["submit", "sleep"]).expect(0).line().to_owned();
    ask(&["jobs", "cancel", &id]).expect(0);
    ask(&["jobs", "wait", &id]).expect(7);

    // A draft runs without being published; a disabled action takes nothing.
    write(&dir, "draft.py", "def handle_event(data):\n    return 'draft'\n");
    let draft = ask(&["actions", "test", "greet", "--python", "draft.py"]).expect(0);
    assert_eq!(draft.line(), "draft");
    ask(&["actions", "disable", "greet"]).expect(0);
    let refused = ask(&["submit", "greet", "--input", r#"{"name": "Ada"}"#]).expect(5);
    assert!(refused.err.contains("action_disabled"), "{refused:?}");
    ask(&["actions", "enable", "greet"]).expect(0);

    // Keys: made once, limited, switched off, gone.
    let create =
        ["keys", "create", "planner", "--scope", "jobs:write", "--action", "greet", "--expires-in", "1h"];
    let secret = ask(&create).expect(0).line().to_owned();
    assert!(secret.starts_with("sk_"));
    let greet = ["submit", "greet", "--input", r#"{"name": "Cy"}"#, "--key", &secret];
    ask(&greet).expect(0);
    let other = ask(&["submit", "count", "--input", r#"{"to": 1}"#, "--key", &secret]).expect(5);
    assert!(other.err.contains("action_not_allowed"), "{other:?}");
    let keys = ask(&["keys", "list", "--json"]).expect(0).json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["name"] == "planner").unwrap();
    let id = key["id"].as_str().unwrap();
    ask(&["keys", "disable", id]).expect(0);
    assert!(ask(&greet).expect(5).err.contains("key_disabled"));
    ask(&["keys", "enable", id]).expect(0);
    ask(&greet).expect(0);
    ask(&["keys", "delete", id]).expect(0);
    assert!(ask(&greet).expect(5).err.contains("key_invalid"));

    // Gone, as far as new jobs see.
    ask(&["actions", "delete", "greet"]).expect(0);
    ask(&["actions", "get", "greet"]).expect(5);
}

#[test]
fn the_demo_shows_every_step_and_leaves_a_key_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    let arguments = ["demo", "--exit", "--listen", "127.0.0.1:0", "--data", "data"];
    let mut demo = command(dir.path(), &arguments);
    demo.env("SORTIE_PYTHON", needed("SORTIE_TEST_PYTHON"));
    let outcome = run(demo).expect(0);
    for words in [
        "1. demo.weather: a Python function that calls the service with `requests`",
        "accepted  202 after",
        "log: asking http://127.0.0.1:",
        "chunk: {\"number\":3}",
        "3. demo.lookup: an HTTP request",
        "result    {\"celsius\":9,\"city\":\"Nuuk\",\"sky\":\"sun\"}",
        "127.0.0.1/32 is allowed",
        "All 3 actions did what they should",
    ] {
        assert!(outcome.out.contains(words), "{words:?} is missing in:\n{}\n{}", outcome.out, outcome.err);
    }
    assert!(outcome.err.contains("isolation  sandbox: "), "{}", outcome.err);
    let key = std::fs::metadata(dir.path().join("data/admin.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}
