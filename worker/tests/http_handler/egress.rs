//! Where requests go: every hop through the gate, and told to metrics and log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Uri};
use axum::response::Redirect;
use axum::routing::{any, get};
use protocol::error::Code;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use worker::egress::Gate;
use worker::handler::Handler;

use super::support::{
    behind, call, client, failure, metrics, mirror, nobody, result, run, run_listed, serve, sink,
};

#[tokio::test]
async fn private_addresses_are_never_called_however_they_are_written() {
    let called = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mark = called.clone();
    let host = serve(Router::new().fallback(move |uri: Uri, _: HeaderMap| async move {
        mark.store(true, std::sync::atomic::Ordering::SeqCst);
        uri.to_string()
    }))
    .await;
    let port = host.rsplit_once(':').unwrap().1.to_owned();
    let closed = client(&[]);
    for name in
        ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "017700000001", "0", "[::ffff:127.0.0.1]", "[::1]"]
    {
        let call = call(json!({"url": format!("http://{name}:{port}/")}), json!({}));
        let (error, retryable, _) = failure(closed.run(call, sink(), CancellationToken::new()).await);
        assert_eq!((error.code, retryable), (Code::EgressDenied, false), "{name}: {}", error.message);
        assert!(error.message.contains("--egress-allow"), "{}", error.message);
    }
    assert!(!called.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_the_gate_denies() {
    for target in [
        "http://127.0.0.2:9/",
        "http://localhost.localdomain.invalid:9/",
        "http://[::1]:9/",
        "http://169.254.169.254/",
    ] {
        let to = target.to_owned();
        let host =
            serve(Router::new().route("/", any(move || async move { Redirect::temporary(&to) }))).await;
        let (error, ..) = failure(run(json!({"url": format!("http://{host}/")}), json!({})).await);
        let expected = if target.contains("invalid") { Code::HttpFailed } else { Code::EgressDenied };
        assert_eq!(error.code, expected, "{target}: {}", error.message);
    }
}

#[tokio::test]
async fn a_name_is_called_where_its_addresses_are_open() {
    let host = serve(Router::new().fallback(mirror)).await;
    let port = host.rsplit_once(':').unwrap().1.to_owned();
    let seen = result(run(json!({"url": format!("http://localhost:{port}/x")}), json!({})).await);
    assert_eq!(seen["headers"]["host"], format!("localhost:{port}"));
}

#[tokio::test]
async fn an_allow_list_holds_for_every_hop() {
    let elsewhere = serve(Router::new().fallback(mirror)).await;
    let away = format!("http://{elsewhere}/landed");
    let router = Router::new()
        .route("/away", any(move || async move { Redirect::temporary(&away) }))
        .route("/metadata", any(|| async { Redirect::temporary("http://169.254.169.254/latest/") }))
        .route("/mirror", any(mirror));
    let host = serve(router).await;
    let opened = ["127.0.0.1".parse().unwrap()];
    let run = |path: &str, allow: &[&str]| {
        let allow: Vec<String> = allow.iter().map(|&allow| allow.to_owned()).collect();
        let url = format!("http://{host}{path}");
        async move { run_listed(Gate::new(&opened, &[]), url, &allow).await }
    };
    assert_eq!(result(run("/mirror", &[&host]).await)["uri"], "/mirror");
    assert_eq!(result(run("/away", &[&host, &elsewhere]).await)["uri"], "/landed");
    let denied: [(&str, &[&str]); 4] = [
        ("/mirror", &[]),
        ("/mirror", &["localhost"]),
        ("/away", &[&host]),
        ("/metadata", &[&host, "169.254.169.254"]),
    ];
    for (path, allow) in denied {
        let (error, retryable, _) = failure(run(path, allow).await);
        assert_eq!((error.code, retryable), (Code::EgressDenied, false), "{path}: {}", error.message);
    }
}

#[tokio::test]
async fn what_decides_about_a_name_is_the_address_that_is_called() {
    let host = serve(Router::new().fallback(mirror)).await;
    let port = host.rsplit_once(':').unwrap().1.to_owned();
    let url = format!("http://changing.test:{port}/");
    // Says 127.0.0.1 first, and 127.0.0.2, where nobody listens, ever after.
    let changing = || {
        let asked = std::sync::atomic::AtomicU8::new(0);
        move |_: &str| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            vec![if first { [127, 0, 0, 1].into() } else { [127, 0, 0, 2].into() }]
        }
    };
    let opened = ["127.0.0.0/8".parse().unwrap()];
    let gate = Gate::with_names(&opened, &[], changing());
    assert_eq!(result(run_listed(gate, url.clone(), &["127.0.0.1".into()]).await)["uri"], "/");
    let gate = Gate::with_names(&opened, &[], |_: &str| vec![[127, 0, 0, 1].into()]);
    let (error, ..) = failure(run_listed(gate, url.clone(), &["127.0.0.2".into()]).await);
    assert_eq!(error.code, Code::EgressDenied);
    let own = [host.parse().unwrap()];
    let gate = Gate::with_names(&opened, &own, |_: &str| vec![[127, 0, 0, 1].into()]);
    let (error, ..) = failure(run_listed(gate, url, &["changing.test".into()]).await);
    assert_eq!(error.code, Code::EgressDenied);
    assert!(error.message.contains("Sortie's own"), "{}", error.message);
}

#[tokio::test]
async fn every_hop_is_counted_by_how_it_ended_and_what_it_moved() {
    let endless = || async {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece)))
    };
    let arrived = CancellationToken::new();
    let silent = {
        let arrived = arrived.clone();
        || async move {
            arrived.cancel();
            std::future::pending::<String>().await
        }
    };
    let router = Router::new()
        .route("/redirect", any(|| async { Redirect::temporary("/hello") }))
        .route("/hello", any(|| async { "hello" }))
        .route("/endless", get(endless))
        .route("/silent", get(silent));
    let host = serve(router).await;
    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut = rude.local_addr().unwrap().to_string();
    tokio::spawn(async move { while rude.accept().await.is_ok() {} });
    let (_bound, gone) = nobody();

    let metrics = metrics();
    let opened = ["127.0.0.1".parse().unwrap()];
    let gate = Gate::with_names(&opened, &[], |name: &str| match name {
        "private.test" => vec![[10, 0, 0, 1].into()],
        _ => Vec::new(),
    });
    let http = behind(gate, &metrics);
    let run = async |url: String, body: Option<&str>| {
        let call = call(
            json!({"url": url, "method": if body.is_some() { "POST" } else { "GET" }, "body": body}),
            json!({}),
        );
        // It is stopped once its request has arrived.
        let stop = if url.ends_with("/silent") { arrived.clone() } else { CancellationToken::new() };
        http.run(call, sink(), stop).await
    };
    for (url, outcome, hops) in [
        (format!("http://{host}/hello"), "served", 1),
        (format!("http://{host}/redirect"), "served", 2),
        (format!("http://{host}/endless"), "limited", 1),
        (format!("http://{host}/silent"), "closed", 1),
        (format!("http://{cut}/"), "broken", 1),
        (format!("http://{gone}/"), "unreachable", 1),
        ("http://unknown.test/".to_owned(), "unreachable", 1),
        ("http://private.test/".to_owned(), "denied", 1),
        ("http://169.254.169.254/".to_owned(), "denied", 1),
    ] {
        let count = || metrics.egress_connections.with_label_values(&[outcome]).get();
        let before = count();
        let ending = run(url.clone(), None).await;
        assert_eq!(count() - before, hops, "{url}: {ending:?}");
    }

    let moved = |direction| metrics.egress_bytes.with_label_values(&[direction]).get();
    let (sent, received) = (moved("sent"), moved("received"));
    // The body goes to both hops, as JSON.
    run(format!("http://{host}/redirect"), Some("12345")).await;
    assert_eq!((moved("sent") - sent, moved("received") - received), (14, 5));
}

#[tokio::test]
async fn every_hop_is_logged_with_its_attempt() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
    // For the whole program: what a thread without a subscriber meets first may be switched off for all.
    log.init();

    let host = serve(Router::new().route("/", get(|| async { "hello" }))).await;
    let (_, port) = host.rsplit_once(':').unwrap();
    let http = client(&["127.0.0.1"]);
    for url in [format!("http://{host}/?key=s3cr3t"), "http://10.1.2.3/".to_owned()] {
        let running = http.run(call(json!({ "url": url }), json!({})), sink(), CancellationToken::new());
        running.instrument(tracing::info_span!("attempt", job = "j1")).await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| {
            line["message"] == "egress connection" && line["span"]["job"] == "j1"
        })
        .collect();
    assert_eq!(told.len(), 2, "{text}");
    for (line, host, port, outcome) in
        [(&told[0], "127.0.0.1", port, "served"), (&told[1], "10.1.2.3", "80", "denied")]
    {
        assert_eq!((&line["host"], line["port"].to_string().as_str()), (&json!(host), port), "{line}");
        assert_eq!(line["outcome"], outcome, "{line}");
    }
    assert_eq!((&told[0]["address"], &told[0]["received"]), (&json!("127.0.0.1"), &json!(5)), "{text}");
    assert!(told[1]["reason"].as_str().unwrap().contains("10.1.2.3"), "{text}");
    assert!(told.iter().all(|line| !line.to_string().contains("s3cr3t")), "{text}");
}
