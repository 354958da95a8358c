//! What answers mean: results, retries, failures, chunks; and how much of one is read.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{any, get};
use protocol::error::Code;
use protocol::event::EventKind;
use protocol::limits;
use protocol::outcome::Ending;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::handler::Handler;

use super::support::{call, client, failure, nobody, result, run, serve, sink};

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
async fn a_target_that_is_not_there_is_worth_another_try() {
    let (_bound, address) = nobody();
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
