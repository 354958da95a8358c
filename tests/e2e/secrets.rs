//! Secrets from the one who sets them to the handler that names them, and nowhere else: not into events, jobs, logs,
//! or a byte of what is stored.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use serde_json::{Value, json};

use crate::support::Servers;
use crate::{Installation, journeys};

journeys!(
    a_handler_gets_its_secret_and_no_byte_of_it_is_kept,
    an_action_that_does_not_name_a_secret_does_not_get_it,
    another_tenant_does_not_get_it,
    a_warm_process_keeps_no_secret_beyond_its_call,
    an_http_action_shows_its_secret_to_the_target_and_nobody_else,
);

/// What every spelling of the value has in it, and nothing else.
const CORE: &str = "tr0ub4dorXq7";
/// A value with something that each encoder writes otherwise.
const VALUE: &str = "pä/ss \"tr0ub4dorXq7\" &'1'\n+=%";

/// Prints, logs, yields, returns and raises the secret, in every spelling.
const LEAK: &str = r#"
import json, logging, os, sys, urllib.parse

def spellings(value):
    yield from (value, repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False))
    yield from (urllib.parse.quote(value), urllib.parse.quote_plus(value), urllib.parse.quote(value, safe=""))
    yield json.dumps({"inner": json.dumps({value: value})})

def handle_event(data, context):
    value = context.secrets["API_KEY"]
    assert len(value) == data["length"] and value.startswith("p\u00e4/ss"), "another value"
    assert list(context.secrets) == ["API_KEY"]
    assert not any(value in text or "tr0ub4dor" in text for text in os.environ.values()), "in the environment"
    for text in spellings(value):
        print("out", text)
        print("err", text, file=sys.stderr)
        logging.warning("log %s", text)
        os.write(1, f"raw {text}\n".encode())
        yield {"chunk": text, text: [text]}
    print(value[:9], end="", flush=True)
    print(value[9:])
    context.progress(0.5, f"at {value}")
    how = data["how"]
    if how == "raise":
        raise ValueError(f"no luck with {value}")
    if how == "key":
        raise KeyError(value)
    if how == "cause":
        raise RuntimeError("outer") from OSError(value)
    if how == "exit":
        sys.exit(f"ended with {value}")
    if how == "cut":
        raise ValueError("x" * 4080 + value)
    return {"result": value, "list": [value, {value: 1}]}
"#;

async fn set(sortie: &Installation, name: &str, value: &str) {
    let answer = sortie.client.put(&format!("/v1/secrets/{name}"), json!({ "value": value })).await;
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    assert!(!answer.body.to_string().contains(value), "{answer:?}");
}

async fn a_handler_gets_its_secret_and_no_byte_of_it_is_kept(sortie: &Installation) {
    set(sortie, "API_KEY", VALUE).await;
    set(sortie, "UNUSED", "nobody asks for this").await;
    sortie.client.publish("leak", LEAK, json!({"secrets": ["API_KEY"]})).await;
    for (how, state, code) in [
        ("return", "succeeded", ""),
        ("raise", "failed", "handler_raised"),
        ("key", "failed", "handler_raised"),
        ("cause", "failed", "handler_raised"),
        ("exit", "failed", "handler_exited"),
        ("cut", "failed", "handler_raised"),
    ] {
        let job = sortie.client.run("leak", json!({"how": how, "length": VALUE.chars().count()})).await;
        assert_eq!(job["state"], state, "{how}: {job}");
        assert_eq!(job["error"]["code"].as_str().unwrap_or(""), code, "{how}: {job}");
        let events = sortie.client.events(job["id"].as_str().unwrap()).await;
        let told: String = events.iter().map(|event| event.data.text().to_owned()).collect();
        for text in [job.to_string(), told] {
            assert!(!text.contains(CORE) && !text.contains("tr0ub4"), "{how}: {text}");
            assert!(text.contains("[secret API_KEY]"), "{how}: {text}");
        }
        if how == "return" {
            let mark = "[secret API_KEY]";
            assert_eq!(job["result"], json!({"result": mark, "list": [mark, {mark: 1}]}));
            let log: String = events
                .iter()
                .filter_map(|event| event.data.value()["text"].as_str().map(str::to_owned))
                .collect();
            for line in ["out [secret", "err [secret", "WARNING root: log [secret", "raw [secret"] {
                assert!(log.contains(line), "{line} is missing in {log}");
            }
        }
    }
    let list = sortie.client.get("/v1/secrets").await;
    assert_eq!(list.body["secrets"].as_array().unwrap().len(), 2);
    assert!(!list.body.to_string().contains(CORE));
    let kept = stored(sortie);
    // What is looked through has what the handler told, so a value would be found there too.
    assert!(contains(&kept, "[secret API_KEY]"));
    assert!(!contains(&kept, CORE), "the value is stored somewhere");
    assert!(!contains(&kept, "nobody asks for this"), "a value is stored that nobody uses");
}

const COUNT: &str = "def handle_event(data, context):\n    return sorted(context.secrets)\n";

async fn an_action_that_does_not_name_a_secret_does_not_get_it(sortie: &Installation) {
    // Actions may come before their secrets.
    sortie.client.publish("one", COUNT, json!({"secrets": ["ONE"], "retry": {"max_attempts": 3}})).await;
    let job = sortie.client.run("one", json!({})).await;
    assert_eq!(job["error"]["code"], "secret_missing", "{job}");
    assert!(job["error"]["message"].as_str().unwrap().contains("ONE"), "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "trying again is pointless: {job}");

    set(sortie, "ONE", "the first one").await;
    set(sortie, "TWO", "the second one").await;
    assert_eq!(sortie.client.run("one", json!({})).await["result"], json!(["ONE"]));
    sortie.client.publish("none", COUNT, json!({})).await;
    assert_eq!(sortie.client.run("none", json!({})).await["result"], json!([]));
    let draft = json!({"handler": {"kind": "python", "source": COUNT}, "secrets": ["ONE", "TWO"]});
    let test = sortie.client.post("/v1/actions/none/test", json!({"draft": draft, "input": {}})).await;
    assert_eq!(sortie.client.finished(&test.id()).await["result"], json!(["ONE", "TWO"]), "{test:?}");
}

async fn another_tenant_does_not_get_it(sortie: &Installation) {
    set(sortie, "ONE", "the first one").await;
    let made =
        sortie.client.post("/v1/keys", json!({"name": "k", "scopes": ["admin"], "tenant": "other"})).await;
    let other = sortie.client.with_key(made.body["secret"].as_str().unwrap());
    assert_eq!(other.get("/v1/secrets").await.body["secrets"], json!([]));
    other.publish("one", COUNT, json!({"secrets": ["ONE"]})).await;
    let job = other.run("one", json!({})).await;
    assert_eq!(job["error"]["code"], "secret_missing", "{job}");
    let gone = other.send("DELETE", "/v1/secrets/ONE", &[], None).await;
    assert_eq!((gone.status, gone.code()), (404, "secret_not_found"));
}

async fn a_warm_process_keeps_no_secret_beyond_its_call(sortie: &Installation) {
    let source = "calls = 0\ndef handle_event(data, context):\n    global calls\n    calls += 1\n    \
                  return [calls, context.secrets['ONE'].upper()]\n";
    sortie.client.publish("warm", source, json!({"secrets": ["ONE"], "reuse": "warm"})).await;
    for value in ["first-value", "second-value"] {
        set(sortie, "ONE", value).await;
        let job = sortie.client.run("warm", json!({})).await;
        // Capitals are a spelling that isn't known: here it shows which value the handler got.
        assert_eq!(job["result"][1], value.to_uppercase(), "{job}");
    }
    assert_eq!(sortie.client.send("DELETE", "/v1/secrets/ONE", &[], None).await.status, 204);
    let job = sortie.client.run("warm", json!({})).await;
    assert_eq!(job["error"]["code"], "secret_missing", "{job}");
}

/// What a server was asked: paths with headers and bodies.
type Seen = Arc<Mutex<Vec<(String, HeaderMap, String)>>>;

/// A server that answers with what it was asked, and sends who asks for `/away` there.
async fn mirror(away: Option<String>) -> (String, Seen) {
    let seen = Seen::default();
    let record = seen.clone();
    let answer = move |request: Request| {
        let (record, away) = (record.clone(), away.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            record.lock().unwrap().push((parts.uri.to_string(), parts.headers.clone(), body.clone()));
            answer(&parts.uri.to_string(), &parts.headers, body, away)
        }
    };
    let app = axum::Router::new().fallback(any(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), seen)
}

fn answer(uri: &str, headers: &HeaderMap, body: String, away: Option<String>) -> Response {
    if let Some(away) = away.filter(|_| uri.starts_with("/away")) {
        return Redirect::temporary(&away).into_response();
    }
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    if uri.starts_with("/private") && token != "Bearer t0ken-of-the-team" {
        return (StatusCode::UNAUTHORIZED, format!("not {token}")).into_response();
    }
    axum::Json(json!({"uri": uri, "authorization": token, "body": body})).into_response()
}

async fn an_http_action_shows_its_secret_to_the_target_and_nobody_else(sortie: &Installation) {
    let (elsewhere, stranger) = mirror(None).await;
    let (target, seen) = mirror(Some(format!("{elsewhere}/landed"))).await;
    set(sortie, "TOKEN", "t0ken-of-the-team").await;
    let publish = async |name: &str, path: &str, auth: Value| {
        let handler =
            json!({"kind": "http", "method": "POST", "url": format!("{target}{path}"), "auth": auth});
        let answer = sortie.client.put(&format!("/v1/actions/{name}"), json!({ "handler": handler })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let header = json!({"in": "header", "name": "Authorization", "secret": "TOKEN", "prefix": "Bearer "});
    publish("header", "/private", header.clone()).await;
    let job = sortie.client.run("header", json!({})).await;
    // It got through, and what the target said of it is cut.
    assert_eq!(job["result"]["authorization"], "Bearer [secret TOKEN]", "{job}");
    assert_eq!(job["attempts"][0]["isolation"], "gate", "{job}");

    publish("query", "/open", json!({"in": "query", "name": "key", "secret": "TOKEN"})).await;
    assert_eq!(sortie.client.run("query", json!({})).await["result"]["uri"], "/open?key=[secret TOKEN]");
    publish("body", "/open", json!({"in": "body", "name": "key", "secret": "TOKEN"})).await;
    assert_eq!(sortie.client.run("body", json!({})).await["result"]["body"], r#"{"key":"[secret TOKEN]"}"#);
    let asked = seen.lock().unwrap().clone();
    assert_eq!(asked[0].1["authorization"], "Bearer t0ken-of-the-team");
    assert_eq!(
        (asked[1].0.as_str(), asked[2].2.as_str()),
        ("/open?key=t0ken-of-the-team", r#"{"key":"t0ken-of-the-team"}"#)
    );

    // A redirect to another origin goes there without it, or not at all.
    for (name, auth) in [
        ("away-header", header),
        ("away-accept", json!({"in": "header", "name": "Accept", "secret": "TOKEN"})),
        ("away-query", json!({"in": "query", "name": "key", "secret": "TOKEN"})),
    ] {
        publish(name, "/away", auth).await;
        let job = sortie.client.run(name, json!({})).await;
        assert_eq!(job["result"]["uri"], "/landed", "{job}");
    }
    publish("away-body", "/away", json!({"in": "body", "name": "key", "secret": "TOKEN"})).await;
    let job = sortie.client.run("away-body", json!({})).await;
    assert_eq!(job["error"]["code"], "http_answer_invalid", "{job}");
    let arrived = format!("{:?}", stranger.lock().unwrap());
    assert!(!arrived.contains("t0ken") && arrived.matches("/landed").count() == 3, "{arrived}");

    assert_eq!(sortie.client.send("DELETE", "/v1/secrets/TOKEN", &[], None).await.status, 204);
    let job = sortie.client.run("header", json!({})).await;
    assert_eq!(job["error"]["code"], "secret_missing", "{job}");
    let kept = stored(sortie);
    assert!(
        contains(&kept, "[secret TOKEN]") && !contains(&kept, "t0ken-of"),
        "the value is stored somewhere"
    );
}

/// Every byte that the installation keeps: its folder, logs included, and its keys in Redis.
fn stored(sortie: &Installation) -> Vec<u8> {
    let mut bytes = Vec::new();
    folder(sortie.dir.path(), &mut bytes);
    if let Some(servers) = &sortie.servers {
        bytes.extend(redis(servers));
    }
    bytes
}

fn folder(path: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        // What is no file is a socket or a link; what goes away meanwhile was a slot's.
        if kind.is_dir() {
            folder(&entry.path(), bytes);
        } else if kind.is_file() {
            bytes.extend(std::fs::read(entry.path()).unwrap_or_default());
        }
    }
}

/// All keys of the prefix with all that is in them, by one script over a plain socket.
fn redis(servers: &Servers) -> Vec<u8> {
    const SCRIPT: &str = "
        local out = {}
        local function add(values) for _, value in ipairs(values) do out[#out + 1] = value end end
        for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
            out[#out + 1] = key
            local kind = redis.call('TYPE', key).ok
            if kind == 'string' then add({ redis.call('GET', key) })
            elseif kind == 'hash' then add(redis.call('HGETALL', key))
            elseif kind == 'list' then add(redis.call('LRANGE', key, 0, -1))
            elseif kind == 'set' then add(redis.call('SMEMBERS', key))
            elseif kind == 'zset' then add(redis.call('ZRANGE', key, 0, -1))
            else error('a kind that is not looked into: ' .. kind) end
        end
        return table.concat(out, '\\n')";
    let url = reqwest::Url::parse(&servers.redis).unwrap();
    let mut socket = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap_or(6379))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut ask = |words: &[&str]| {
        let mut command = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| command.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        socket.write_all(command.as_bytes()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let size = line.trim_end().strip_prefix('$').map_or(0, |size| size.parse::<usize>().unwrap());
        assert!(!line.starts_with('-'), "{line}");
        let mut body = vec![0; size];
        answers.read_exact(&mut body).unwrap();
        body
    };
    if let Some(password) = url.password() {
        ask(&["AUTH", password]);
    }
    ask(&["EVAL", SCRIPT, "0", &servers.prefix])
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
