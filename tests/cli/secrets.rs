//! Secrets on the command line: from stdin or a file, never as an argument, and never printed.

use std::io::Write;
use std::process::Stdio;

use super::support::{ADMIN_KEY, Dir, Sortie};
use super::{ask, command, write};

const VALUE: &str = "hunter2-hunter2";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_set_from_a_file_or_stdin_and_never_shown() {
    let dir = Dir::new();
    let server = Sortie::embedded(&dir, &[]).await;
    write(&dir, "value", &format!("{VALUE}\n"));
    let set = ask(&server, &dir, &["secrets", "set", "API_KEY", "--file", "value"]).expect(0);
    assert_eq!(set.line(), "API_KEY is set");
    assert_eq!(from_stdin(&server, &dir, &format!("{VALUE}-2")), "API_KEY is replaced");

    // The line break at the file's end is no part of it.
    let source = "def handle_event(data, context):\n    return [len(v) for v in context.secrets.values()]\n";
    server.client.publish("length", source, serde_json::json!({"secrets": ["API_KEY", "OTHER"]})).await;
    ask(&server, &dir, &["secrets", "set", "OTHER", "--file", "value"]).expect(0);
    let run = ask(&server, &dir, &["submit", "length", "--wait"]).expect(0);
    assert_eq!(run.json(), serde_json::json!([VALUE.len() + 2, VALUE.len()]));

    let list = ask(&server, &dir, &["secrets", "list"]).expect(0);
    assert!(list.out.contains("API_KEY") && list.out.contains("OTHER"), "{list:?}");
    let json = ask(&server, &dir, &["secrets", "list", "--json"]).expect(0);
    assert_eq!(json.json()["secrets"][0]["name"], "API_KEY");
    assert!(!format!("{set:?} {list:?} {json:?} {}", server.log()).contains("hunter2"));

    ask(&server, &dir, &["secrets", "delete", "API_KEY"]).expect(0);
    let gone = ask(&server, &dir, &["secrets", "delete", "API_KEY"]).expect(5);
    assert!(gone.err.contains("secret_not_found"), "{gone:?}");
    write(&dir, "short", "hunter2");
    let short = ask(&server, &dir, &["secrets", "set", "API_KEY", "--file", "short"]).expect(5);
    assert!(short.err.contains("at least 8") && !short.err.contains("hunter2"), "{short:?}");
    ask(&server, &dir, &["secrets", "set", "API_KEY", VALUE]).expect(2);
}

/// Sets `API_KEY` from stdin; what the command printed.
fn from_stdin(server: &Sortie, dir: &Dir, value: &str) -> String {
    let mut command = command(dir.path(), &["secrets", "set", "API_KEY"]);
    command.env("SORTIE_URL", &server.url).env("SORTIE_KEY", ADMIN_KEY);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
