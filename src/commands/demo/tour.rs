//! The tour: three actions, each published, submitted, followed and looked at afterwards, with every step
//! told as it happens.

use std::time::Instant;

use protocol::event::EventKind;
use protocol::time::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::service::Service;
use crate::client::{Answer, Client, Patience};
use crate::commands::field;
use crate::exit::{Exit, Failure};
use crate::render::{line, text};

/// One action of the tour.
struct Stop {
    name: &'static str,
    about: String,
    content: Value,
    input: Value,
    /// What the job must return.
    expected: Value,
}

/// Publishes and runs everything. An error names the first step that went another way than it should.
pub(super) async fn run(client: &Client, service: &Service) -> Result<Exit, Failure> {
    line(&format!(
        "\nThe demo has a small HTTP service of its own at {}, for actions to call.",
        service.url()
    ))?;
    line("HTTP actions may not call private addresses by default; for this demo 127.0.0.1/32 is allowed.")?;
    let begun = Instant::now();
    let stops = stops(service);
    for (number, stop) in stops.iter().enumerate() {
        line(&format!("\n{}. {}: {}", number + 1, stop.name, stop.about))?;
        visit(client, stop).await?;
    }
    line(&format!(
        "\nAll {} actions did what they should, in {:.1} s.\n",
        stops.len(),
        begun.elapsed().as_secs_f32()
    ))?;
    Ok(Exit::Ok)
}

async fn visit(client: &Client, stop: &Stop) -> Result<(), Failure> {
    let published = patiently(client, Method::PUT, &["v1", "actions", stop.name], &stop.content).await?;
    let what = if published.status == 201 { "published" } else { "unchanged, the content is known" };
    step(
        "publish",
        &format!(
            "PUT /v1/actions/{} -> {}: version {}, {what}",
            stop.name, published.status, published.body["version"]
        ),
    )?;

    let request = json!({"action": stop.name, "input": stop.input, "deadline_ms": 30_000});
    step("request", &format!("POST /v1/jobs {request}"))?;
    let asked = Instant::now();
    let accepted = patiently(client, Method::POST, &["v1", "jobs"], &request).await?;
    let job = field(&accepted.body, "id").to_owned();
    let took = asked.elapsed().as_secs_f64() * 1_000.0;
    step(
        "accepted",
        &format!("{} after {took:.1} ms: checked, recorded, on the queue; job {job}", accepted.status),
    )?;
    step(
        "deadline",
        &format!("{}: whatever happens, the job is over by then", field(&accepted.body, "deadline")),
    )?;

    follow(client, &job, &accepted.body).await?;

    let end = client.get(&["v1", "jobs", &job], &[]).await?.body;
    step("result", &text(&end["result"]))?;
    step("timing", &timing(&end))?;
    if field(&end, "state") == "succeeded" && end["result"] == stop.expected {
        return Ok(());
    }
    let message = format!(
        "{} ended as {}, which is not what it should: {}",
        stop.name,
        field(&end, "state"),
        end["error"]
    );
    Err(Failure::new(Exit::Unexpected, message).hint("`sortie doctor` says what this host can do"))
}

/// Sends a request again while the server says that it can't do it now: with RabbitMQ and Redis named, the first
/// connections may still be on their way.
async fn patiently(client: &Client, method: Method, path: &[&str], body: &Value) -> Result<Answer, Failure> {
    let mut patience = Patience::FULL;
    loop {
        match client.send(method.clone(), path, &[], body).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => patience.bear(failure).await?,
        }
    }
}

/// Prints the job's events as they come, each with its time since the request was accepted.
async fn follow(client: &Client, job: &str, accepted: &Value) -> Result<(), Failure> {
    let start = time(&accepted["created_at"]);
    let mut events = client.events(job, 0);
    while let Some(event) = events.next().await? {
        let data = event.data.value();
        let told = match event.kind {
            EventKind::State => format!("state: {}{}", field(&data, "state"), meaning(field(&data, "state"))),
            EventKind::Chunk => format!("chunk: {data}"),
            EventKind::Log => format!("log: {}", field(&data, "text").trim_end()),
            EventKind::Progress => format!("progress: {}", data["fraction"]),
            EventKind::Result => format!("result: {}, the last event", field(&data, "state")),
        };
        let after = event.at.since(start).as_millis();
        step(&format!("event {}", event.seq), &format!("{after:>4} ms  {told}"))?;
    }
    Ok(())
}

/// What a state means, for those who see it for the first time.
fn meaning(state: &str) -> &'static str {
    match state {
        "queued" => ", waits for a worker",
        "running" => ", a worker has claimed it and runs the handler",
        "scheduled" => ", waits for its time",
        _ => "",
    }
}

/// Where the time went: waiting, and running.
fn timing(job: &Value) -> String {
    let between = |from: &Value, to: &Value| time(to).since(time(from)).as_millis();
    let attempts = job["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(last) = attempts.last() else { return "it never ran".to_owned() };
    format!(
        "queued {} ms, attempt {} ran {} ms on {}, {} ms in all",
        between(&job["created_at"], &last["started_at"]),
        last["number"],
        between(&last["started_at"], &last["ended_at"]),
        field(last, "worker"),
        between(&job["created_at"], &job["finished_at"]),
    )
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(Timestamp::parse).unwrap_or(Timestamp::from_millis(0))
}

fn step(name: &str, told: &str) -> Result<(), Failure> {
    Ok(line(&format!("   {name:<9} {}", crate::render::harmless(told)))?)
}

fn stops(service: &Service) -> Vec<Stop> {
    let city = json!({"type": "string", "minLength": 1});
    vec![
        Stop {
            name: "demo.weather",
            about: "a Python function that calls the service with `requests`".into(),
            content: json!({
                "description": "The weather in a city, in words.",
                "handler": {"kind": "python", "source": include_str!("weather.py")},
                "input_schema": {"type": "object", "required": ["city", "service"],
                    "properties": {"city": city, "service": {"type": "string"}}},
            }),
            input: json!({"city": "Oslo", "service": service.url()}),
            expected: json!({"city": "Oslo", "text": "3 degrees, sun"}),
        },
        Stop {
            name: "demo.count",
            about: "a Python generator, whose values are seen while it still runs".into(),
            content: json!({
                "description": "Counts to a number.",
                "handler": {"kind": "python", "source": include_str!("count.py")},
                "input_schema": {"type": "object", "required": ["to"],
                    "properties": {"to": {"type": "integer", "minimum": 1, "maximum": 50}}},
            }),
            input: json!({"to": 3}),
            expected: json!({"counted": 3}),
        },
        Stop {
            name: "demo.lookup",
            about: "an HTTP request, described and not programmed".into(),
            content: json!({
                "description": "The weather in a city, as data.",
                "handler": {"kind": "http", "method": "GET", "url": format!("{}/weather/{{city}}", service.url()),
                    "result": "/data"},
                "input_schema": {"type": "object", "required": ["city"], "properties": {"city": city}},
            }),
            input: json!({"city": "Nuuk"}),
            expected: json!({"city": "Nuuk", "celsius": 9, "sky": "sun"}),
        },
    ]
}
