//! What is sent: the described request with the values filled in, also behind redirects, secrets where they belong.

use axum::Router;
use axum::extract::Path;
use axum::response::Redirect;
use axum::routing::any;
use protocol::error::Code;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::handler::Handler;

use super::support::{call, client, failure, mirror, result, run, serve, sink};

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
