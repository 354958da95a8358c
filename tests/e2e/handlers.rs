//! Handlers that work, and handlers that misbehave: each ends as a finished job with its own code, and the
//! next job on the slot is unharmed.

use axum::extract::{Json, Query};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::{Installation, journeys};

journeys!(
    the_weather_and_ticket_handlers_run_unchanged,
    an_http_action_calls_and_picks_its_result,
    every_way_to_misbehave_has_its_own_code_and_harms_nobody,
    a_failed_attempt_is_tried_again_as_the_policy_says,
);

/// A local stand-in for the services that the handlers call.
async fn services() -> String {
    let app = axum::Router::new()
        .route(
            "/v1/current.json",
            get(|Query(query): Query<Value>| async move {
                assert_eq!(query["key"], "demo-key");
                Json(json!({"location": {"name": query["q"]}, "current": {"temp_c": -3.5, "condition": {"text": "Snow"}}}))
            }),
        )
        .route(
            "/rest/api/3/issue",
            post(|headers: HeaderMap, Json(body): Json<Value>| async move {
                // agent@example.com:not-a-secret
                assert_eq!(headers["authorization"], "Basic YWdlbnRAZXhhbXBsZS5jb206bm90LWEtc2VjcmV0");
                assert_eq!(body["fields"]["project"]["key"], "SUP");
                (axum::http::StatusCode::CREATED, Json(json!({"id": "1", "key": "SUP-7", "summary": body["fields"]["summary"]})))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn the_weather_and_ticket_handlers_run_unchanged(sortie: &Installation) {
    let services = services().await;
    let weather =
        include_str!("../fixtures/handlers/weather.py").replace("https://api.weather.example", &services);
    let ticket = include_str!("../fixtures/handlers/ticket.py").replace("https://tickets.example", &services);
    let short_form = |name: &str| json!({"input_schema": {"parameters": {name: {"type": "string", "description": "d"}}, "required": [name]}});
    sortie.client.publish("weather", &weather, short_form("city")).await;
    sortie.client.publish("ticket", &ticket, short_form("summary")).await;

    let job = sortie.client.run("weather", json!({"city": "Tromsø"})).await;
    assert_eq!(
        job["result"],
        json!({"weather": {"city": "Tromsø", "temperature_c": -3.5, "sky": "Snow"}}),
        "{job}"
    );
    let job = sortie.client.run("ticket", json!({"summary": "It is cold", "details": "Very."})).await;
    assert_eq!(
        job["result"],
        json!({"ticket": "SUP-7", "link": format!("{services}/browse/SUP-7")}),
        "{job}"
    );
    let refused = sortie.client.post("/v1/jobs", json!({"action": "weather", "input": {}})).await;
    assert_eq!((refused.status, refused.code()), (422, "input_invalid"));
}

async fn an_http_action_calls_and_picks_its_result(sortie: &Installation) {
    let services = services().await;
    let body = json!({
        "handler": {"kind": "http", "method": "GET", "url": format!("{services}/v1/current.json"),
                    "query": {"q": "{city}", "key": "demo-key"}, "result": "/current/condition/text"},
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    });
    assert_eq!(sortie.client.put("/v1/actions/sky", body).await.status, 201);
    let job = sortie.client.run("sky", json!({"city": "a&key=b #/?"})).await;
    assert_eq!(job["result"], "Snow", "{job}");

    let body = json!({"handler": {"kind": "http", "url": "http://169.254.169.254/latest/meta-data/"}});
    sortie.client.put("/v1/actions/metadata", body).await;
    let job = sortie.client.run("metadata", json!({})).await;
    assert_eq!(job["error"]["code"], "egress_denied", "{job}");
}

/// Source, the state of its job, and the error's code.
const MISBEHAVIOUR: &[(&str, &str, &str)] = &[
    ("def handle_event(data) return 1", "failed", "handler_invalid"),
    ("def handle(data):\n    return 1", "failed", "handler_missing"),
    ("def handle_event():\n    return 1", "failed", "handler_missing"),
    ("def handle_event(data):\n    return data['nothing']", "failed", "handler_raised"),
    ("raise ValueError('while loading')", "failed", "handler_raised"),
    ("def handle_event(data):\n    return {1, 2}", "failed", "output_not_json"),
    ("def handle_event(data):\n    return float('nan')", "failed", "output_not_json"),
    ("import sys\ndef handle_event(data):\n    sys.exit(3)", "failed", "handler_exited"),
    ("import os\ndef handle_event(data):\n    os._exit(3)", "failed", "handler_exited"),
    (
        "import os, signal\ndef handle_event(data):\n    os.kill(os.getpid(), signal.SIGKILL)",
        "failed",
        "handler_crashed",
    ),
    (
        "import os, signal\ndef handle_event(data):\n    os.kill(os.getpid(), signal.SIGSEGV)",
        "failed",
        "handler_crashed",
    ),
    ("def handle_event(data):\n    return 'x' * (2 << 20)", "failed", "output_too_large"),
    ("def handle_event(data):\n    while True:\n        yield 1", "failed", "events_too_many"),
    ("def handle_event(data):\n    return handle_event(data)", "failed", "handler_raised"),
    (
        "import os, time\ndef handle_event(data):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            time.sleep(600)\n        os._exit(0)\n    return 'left'",
        "succeeded",
        "",
    ),
    (
        "def handle_event(data):\n    for _ in range(1600):\n        print('x' * 65535)\n    return 'printed'",
        "succeeded",
        "",
    ),
    ("import os\ndef handle_event(data):\n    os.closerange(0, 256)\n    return 1", "failed", "handler_"),
];

async fn every_way_to_misbehave_has_its_own_code_and_harms_nobody(sortie: &Installation) {
    sortie
        .client
        .publish(
            "fine",
            "count = 0\ndef handle_event(data):\n    global count\n    count += 1\n    return count\n",
            json!({}),
        )
        .await;
    for (number, (source, state, code)) in MISBEHAVIOUR.iter().enumerate() {
        let action = format!("bad{number}");
        sortie.client.publish(&action, source, json!({"timeout_ms": 15_000})).await;
        let job = sortie.client.run(&action, json!({})).await;
        assert_eq!(job["state"], *state, "{source}\n{job}");
        let found = job["error"]["code"].as_str().unwrap_or("");
        assert!(found.starts_with(code) && code.is_empty() == found.is_empty(), "{source}\n{job}");
        // More than there are slots, so every slot is seen to be unharmed.
        for _ in 0..3 {
            let job = sortie.client.run("fine", json!({})).await;
            assert_eq!(job["result"], 1, "after {source}\n{job}");
        }
    }
}

async fn a_failed_attempt_is_tried_again_as_the_policy_says(sortie: &Installation) {
    let source = "def handle_event(data, context):\n    if context.attempt < 3:\n        raise OSError('not yet')\n    return context.attempt\n";
    sortie.client.publish("third", source, json!({"retry": {"max_attempts": 3, "backoff_ms": 50}})).await;
    let job = sortie.client.run("third", json!({})).await;
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!(3)), "{job}");
    let outcomes: Vec<&Value> =
        job["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "succeeded"]);
    sortie.client.publish("third", source, json!({"retry": {"max_attempts": 2, "backoff_ms": 50}})).await;
    let job = sortie.client.run("third", json!({})).await;
    assert_eq!(job["error"]["code"], "handler_raised", "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2);
}
