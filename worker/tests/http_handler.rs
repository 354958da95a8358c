//! The http handler against real servers on this machine: what is sent, what answers mean, and which addresses
//! are never called.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use protocol::action::Content;
use protocol::deadline::Limit;
use protocol::error::{Code, JobError};
use protocol::event::EventKind;
use protocol::id::{ActionName, JobId, Lane, TenantId};
use protocol::job::{JobSpec, Priority};
use protocol::limits;
use protocol::outcome::Ending;
use protocol::time::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::egress::Gate;
use worker::handler::http::Http;
use worker::handler::{Call, EventSink, Handler};

/// Serves `router` on a free port of this machine, and tells its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

fn client(allowed: &[&str]) -> Http {
    // Another test of this program may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let allowed: Vec<_> = allowed.iter().map(|range| range.parse().unwrap()).collect();
    Http::new(Gate::new(&allowed, &[])).unwrap()
}

fn call(handler: Value, input: Value) -> Call {
    let mut handler = handler;
    handler["kind"] = json!("http");
    let content: Content = serde_json::from_value(json!({ "handler": handler })).unwrap();
    let now = Timestamp::now();
    let spec = JobSpec {
        id: JobId::generate(),
        tenant: TenantId::standard(),
        action: ActionName::new("test.http").unwrap(),
        version: Some(1),
        content_hash: content.hash(),
        input: input.into(),
        lane: Lane::standard(),
        priority: Priority::Normal,
        created_at: now,
        run_at: None,
        deadline: now.plus(Duration::from_secs(60)),
        timeout_ms: 5000,
        retry: Default::default(),
        labels: Default::default(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        reply: None,
        key: None,
    };
    let limit = Limit::Timeout(Duration::from_secs(5));
    Call { spec: Arc::new(spec), attempt: 1, content: Arc::new(content), limit, secrets: Default::default() }
}

fn sink() -> EventSink {
    EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap())
}

/// Runs a handler with loopback opened.
async fn run(handler: Value, input: Value) -> Ending {
    client(&["127.0.0.1"]).run(call(handler, input), sink(), CancellationToken::new()).await
}

fn result(ending: Ending) -> Value {
    match ending {
        Ending::Returned(json) => json.value(),
        other => panic!("no result: {other:?}"),
    }
}

fn failure(ending: Ending) -> (JobError, bool, Option<Duration>) {
    match ending {
        Ending::Failed { error, retryable, retry_after } => (error, retryable, retry_after),
        other => panic!("no failure: {other:?}"),
    }
}

/// Answers with what it was asked.
async fn mirror(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: serde_json::Map<String, Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").into()))
        .collect();
    let seen = json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": serde_json::from_slice::<Value>(&body).ok(),
    });
    axum::Json(seen).into_response()
}

#[tokio::test]
async fn the_request_is_the_described_one_with_the_values_filled_in() {
    let host = serve(Router::new().fallback(mirror)).await;
    let handler = json!({
        "method": "POST", "url": format!("http://{host}/v1/{{city}}/now?units={{u}}"),
        "headers": {"X-Api-Key": "k {key}"}, "query": {"q": "{city}", "gone": "{none}"},
        "body": {"city": "{city}", "days": "{days}", "gone": "{none}"}
    });
    let input = json!({"city": "a/../b?c", "u": "m&x=1", "key": "s", "days": [1, 2]});
    let seen = result(run(handler, input).await);
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["uri"], "/v1/a%2F..%2Fb%3Fc/now?units=m%26x%3D1&q=a%2F..%2Fb%3Fc");
    assert_eq!(seen["body"], json!({"city": "a/../b?c", "days": [1, 2]}));
    assert_eq!(seen["headers"]["x-api-key"], "k s");
    assert_eq!(seen["headers"]["content-type"], "application/json");
    assert_eq!(seen["headers"]["user-agent"], concat!("sortie/", env!("CARGO_PKG_VERSION")));
    assert!(seen["headers"]["traceparent"].as_str().unwrap().starts_with("00-0af7651916cd43dd"));
}

#[tokio::test]
async fn inputs_that_do_not_fit_the_request_are_refused_with_their_place() {
    let handler = json!({"url": "http://127.0.0.1:9/{city}"});
    let (error, retryable, _) = failure(run(handler, json!({})).await);
    assert_eq!((error.code, retryable), (Code::InputInvalid, false));
    assert_eq!(error.details["errors"][0]["pointer"], "/city");
    let (error, ..) = failure(run(json!({"url": "http://{host}/"}), json!({"host": "x"})).await);
    assert_eq!(error.code, Code::HandlerInvalid);
}

#[tokio::test]
async fn statuses_mean_results_retries_or_failures() {
    let answer = |Path(status): Path<u16>| async move {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("retry-after", "7"), ("set-cookie", "secret")], "told so")
    };
    let host = serve(Router::new().route("/{status}", any(answer))).await;
    for (status, retryable) in [
        (408, true),
        (425, true),
        (429, true),
        (500, true),
        (503, true),
        (400, false),
        (404, false),
        (304, false),
    ] {
        let (error, again, pause) =
            failure(run(json!({"url": format!("http://{host}/{status}")}), json!({})).await);
        assert_eq!((error.code, again), (Code::HttpStatus, retryable), "{status}");
        assert_eq!(error.details["status"], status);
        assert_eq!(error.details["headers"]["retry-after"], "7");
        assert_eq!(error.details["headers"]["set-cookie"], Value::Null);
        assert_eq!(pause, Some(Duration::from_secs(7)));
    }
    assert_eq!(result(run(json!({"url": format!("http://{host}/201")}), json!({})).await), "told so");
    assert_eq!(result(run(json!({"url": format!("http://{host}/204")}), json!({})).await), Value::Null);
}

#[tokio::test]
async fn results_are_picked_by_pointer_and_media_type() {
    let json_type = [("content-type", "application/problem+json; charset=utf-8")];
    let router = Router::new()
        .route("/json", get(move || async move { (json_type, r#"{"data":[{"x":1.50}]}"#) }))
        .route("/broken", get(move || async move { (json_type, "{") }))
        .route("/text", get(|| async { "ä" }))
        .route("/binary", get(|| async { Bytes::from_static(b"\xff\xfe") }));
    let host = serve(router).await;
    let at = |path: &str, pointer: Option<&str>| {
        let mut handler = json!({"url": format!("http://{host}{path}")});
        if let Some(pointer) = pointer {
            handler["result"] = json!(pointer);
        }
        run(handler, json!({}))
    };
    assert_eq!(result(at("/json", Some("/data/0/x")).await), json!(1.5));
    match at("/json", None).await {
        Ending::Returned(json) => assert_eq!(json.text(), r#"{"data":[{"x":1.50}]}"#),
        other => panic!("{other:?}"),
    }
    assert_eq!(result(at("/text", None).await), "ä");
    for (path, pointer) in
        [("/json", Some("/no")), ("/broken", None), ("/binary", None), ("/text", Some("/a"))]
    {
        assert_eq!(failure(at(path, pointer).await).0.code, Code::HttpAnswerInvalid, "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_off() {
    let endless = || async {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece)))
    };
    let host = serve(Router::new().route("/", get(endless))).await;
    let (error, ..) = failure(run(json!({"url": format!("http://{host}/")}), json!({})).await);
    assert_eq!(error.code, Code::OutputTooLarge);
}

#[tokio::test]
async fn an_event_stream_is_passed_on_as_chunks() {
    let stream = || async {
        let pieces = ["data: {\"a\"", ":1}\n\nda", "ta: plain\n\n", ": ping\n\ndata: [DONE]\n\n"];
        let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())));
        ([("content-type", "text/event-stream")], Body::from_stream(futures_util::stream::iter(pieces)))
    };
    let host = serve(Router::new().route("/", get(stream))).await;
    let events = sink();
    let call = call(json!({"url": format!("http://{host}/")}), json!({}));
    let ending = client(&["127.0.0.1"]).run(call, events.clone(), CancellationToken::new()).await;
    let expected = json!([{"a": 1}, "plain", "[DONE]"]);
    assert_eq!(result(ending), expected);
    let sent: Vec<Value> = events.rest().events.iter().map(|event| event.data.value()).collect();
    assert!(events.rest().events.iter().all(|event| event.kind == EventKind::Chunk));
    assert_eq!(Value::Array(sent), expected);
}

#[tokio::test]
async fn a_stream_larger_than_a_result_fails() {
    let endless = || async {
        let piece = Bytes::from(format!("data: {}\n\n", "x".repeat(10_000)));
        let body = Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece)));
        ([("content-type", "text/event-stream")], body)
    };
    let host = serve(Router::new().route("/", get(endless))).await;
    let (error, ..) = failure(run(json!({"url": format!("http://{host}/")}), json!({})).await);
    assert_eq!(error.code, Code::OutputTooLarge);
    assert!(error.message.contains(&limits::RESULT_BYTES.to_string()));
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_lose_credentials_elsewhere() {
    let elsewhere = serve(Router::new().fallback(mirror)).await;
    let away = format!("http://{elsewhere}/landed");
    let router = Router::new()
        .route("/here", any(|| async { Redirect::temporary("/mirror?x=1") }))
        .route("/away", any(move || async move { Redirect::temporary(&away) }))
        .route(
            "/loop/{n}",
            any(|Path(n): Path<u32>| async move { Redirect::temporary(&format!("/loop/{}", n + 1)) }),
        )
        .route(
            "/count/{n}",
            any(|Path(n): Path<u32>| async move {
                Redirect::temporary(&if n == 1 { "/mirror".to_owned() } else { format!("/count/{}", n - 1) })
            }),
        )
        .route("/file", any(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route("/mirror", any(mirror));
    let host = serve(router).await;
    let to = |path: &str| {
        let handler =
            json!({"url": format!("http://{host}{path}"), "headers": {"X-Api-Key": "s", "Accept": "a/b"}});
        run(handler, json!({}))
    };
    let here = result(to("/here").await);
    assert_eq!((&here["uri"], &here["headers"]["x-api-key"]), (&json!("/mirror?x=1"), &json!("s")));
    let landed = result(to("/away").await);
    assert_eq!(landed["uri"], "/landed");
    assert_eq!(
        (&landed["headers"]["x-api-key"], &landed["headers"]["accept"]),
        (&Value::Null, &json!("a/b"))
    );
    assert_eq!(result(to("/count/5").await)["uri"], "/mirror");
    for path in ["/loop/0", "/count/6", "/file"] {
        assert_eq!(failure(to(path).await).0.code, Code::HttpAnswerInvalid, "{path}");
    }
}

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
async fn a_target_that_is_not_there_is_worth_another_try() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let handler = json!({"url": format!("http://{address}/?password=secret")});
    let (error, retryable, _) = failure(run(handler, json!({})).await);
    assert_eq!((error.code, retryable), (Code::HttpFailed, true));
    assert!(!error.message.contains("secret"), "{}", error.message);
}

#[tokio::test]
async fn a_call_that_is_told_to_stop_stops() {
    let host = serve(Router::new().route("/", get(std::future::pending::<String>))).await;
    let stop = CancellationToken::new();
    let call = call(json!({"url": format!("http://{host}/")}), json!({}));
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { client(&["127.0.0.1"]).run(call, sink(), stop).await }
    });
    tokio::task::yield_now().await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

/// Runs a handler of a version with an allow-list behind a gate.
async fn run_listed(gate: Gate, url: String, allow: &[String]) -> Ending {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut call = call(json!({ "url": url }), json!({}));
    let content = Content {
        egress: Some(serde_json::from_value(json!({ "allow": allow })).unwrap()),
        ..(*call.content).clone()
    };
    call.content = Arc::new(content);
    Http::new(gate).unwrap().run(call, sink(), CancellationToken::new()).await
}

#[tokio::test]
async fn a_secret_is_sent_where_auth_says_and_not_to_another_origin() {
    let elsewhere = serve(Router::new().fallback(mirror)).await;
    let away = format!("http://{elsewhere}/landed");
    let router = Router::new()
        .route("/away", any(move || async move { Redirect::temporary(&away) }))
        .route("/near", any(|| async { Redirect::temporary("/mirror") }))
        .route("/mirror", any(mirror));
    let host = serve(router).await;
    let run = async |path: &str, auth: Value| {
        let handler = json!({"url": format!("http://{host}{path}"), "method": "POST", "auth": auth});
        let mut call = call(handler, json!({}));
        call.secrets = [("TOKEN".parse().unwrap(), "s3cr3t-t0ken".to_owned().into())].into_iter().collect();
        client(&["127.0.0.1"]).run(call, sink(), CancellationToken::new()).await
    };
    let header = json!({"in": "header", "name": "X-Key", "secret": "TOKEN", "prefix": "Key "});
    let body = json!({"in": "body", "name": "key", "secret": "TOKEN"});
    for path in ["/mirror", "/near"] {
        assert_eq!(result(run(path, header.clone()).await)["headers"]["x-key"], "Key s3cr3t-t0ken");
        assert_eq!(result(run(path, body.clone()).await)["body"], json!({"key": "s3cr3t-t0ken"}));
    }
    assert!(!result(run("/away", header).await).to_string().contains("s3cr3t"));
    let (error, retryable, _) = failure(run("/away", body).await);
    assert_eq!((error.code, retryable), (Code::HttpAnswerInvalid, false));
    let (error, ..) = failure(run("/mirror", json!({"in": "header", "name": "X", "secret": "OTHER"})).await);
    assert_eq!(error.code, Code::SecretMissing);
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
