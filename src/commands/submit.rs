//! `sortie submit`: a job, and with --wait or --follow its end.

use std::time::Duration;

use protocol::event::{Event, EventKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::{field, jobs, millis, parse, text_or_file};
use crate::cli::Submit;
use crate::client::{Client, Patience};
use crate::exit::{Exit, Failure};
use crate::render;

/// The longest that one request waits; the server allows no more.
const ONE_WAIT: Duration = Duration::from_secs(60);

/// Submits a job.
pub(crate) async fn run(arguments: Submit) -> Result<Exit, Failure> {
    let client = Client::of(&arguments.remote)?;
    let body = body(&arguments)?;
    let mut headers = Vec::new();
    if let Some(key) = &arguments.idempotency_key {
        headers.push(("idempotency-key", key.as_str()));
    }
    let job = client.send(Method::POST, &["v1", "jobs"], &headers, &body).await?.body;
    end(&client, job, arguments.wait, arguments.follow, arguments.remote.json).await
}

/// What is done with a job that was just submitted: nothing more, wait for its end, or follow its events.
pub(super) async fn end(
    client: &Client,
    job: Value,
    wait: bool,
    follow: bool,
    as_json: bool,
) -> Result<Exit, Failure> {
    let id = field(&job, "id").to_owned();
    // Submit and attach are separate: if the connection is lost from here on, the job is not, and has a name.
    if wait || follow {
        render::say(&format!("job {id}"));
    }
    if follow {
        return follow_events(client, &id, as_json).await;
    }
    if wait {
        return jobs::print_end(&wait_for(client, &id, None).await?, as_json);
    }
    if as_json {
        render::json(&job)?;
    } else {
        render::line(&id)?;
        render::say(&format!("{}; next: sortie jobs wait {id}", field(&job, "state")));
    }
    Ok(Exit::Ok)
}

/// Waits until the job is over, or `timeout` has passed; the job as it is then.
pub(super) async fn wait_for(client: &Client, id: &str, timeout: Option<Duration>) -> Result<Value, Failure> {
    let begun = std::time::Instant::now();
    let (mut patience, mut first) = (Patience::default(), true);
    loop {
        let left = timeout.map_or(ONE_WAIT, |timeout| timeout.saturating_sub(begun.elapsed()).min(ONE_WAIT));
        // The first look is a short one: it tells whether there is anything to wait for. The API knows whole
        // seconds only; the last fraction is waited for here.
        let wait = if first { 0 } else { left.as_secs() };
        let job = match client.get(&["v1", "jobs", id], &[("wait", wait.to_string())]).await {
            Ok(answer) => answer.body,
            Err(failure) => {
                patience.bear(failure).await?;
                continue;
            }
        };
        patience = Patience::FULL;
        if jobs::ended(&job) || timeout.is_some_and(|timeout| begun.elapsed() >= timeout) {
            return Ok(job);
        }
        if wait == 0 && !first {
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
        first = false;
    }
}

/// Prints chunks to stdout and everything else to stderr until the job is over.
async fn follow_events(client: &Client, id: &str, as_json: bool) -> Result<Exit, Failure> {
    let mut events = client.events(id, 0);
    let mut chunks = 0_u64;
    while let Some(event) = events.next().await? {
        chunks += u64::from(event.kind == EventKind::Chunk);
        let data = event.data.value();
        if as_json {
            jobs::print_event(&event)?;
        } else {
            show(&event, &data, chunks)?;
        }
        if event.kind == EventKind::Result {
            return Ok(Exit::of_state(field(&data, "state")));
        }
    }
    Ok(Exit::NotFinished)
}

fn show(event: &Event, data: &Value, chunks: u64) -> Result<(), Failure> {
    match event.kind {
        EventKind::Chunk => render::value(data)?,
        EventKind::Log => render::say(field(data, "text").trim_end_matches('\n')),
        EventKind::Progress => render::say(&jobs::progress(data)),
        EventKind::State => render::say(&format!("[{}]", jobs::state(data))),
        EventKind::Result => {
            // What a stream returns repeats its chunks; the data is on stdout already.
            if chunks == 0 && !data["result"].is_null() {
                render::value(&data["result"])?;
            }
            render::say(&jobs::outcome(data));
        }
    }
    Ok(())
}

fn body(arguments: &Submit) -> Result<Value, Failure> {
    let input = parse(&text_or_file(&arguments.input.input)?, "the input")?;
    let mut body = json!({"action": arguments.action, "input": input});
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    set("version", arguments.version.map(Into::into));
    set("deadline_ms", arguments.deadline.map(|deadline| millis(deadline).into()));
    set("priority", arguments.priority.clone().map(Into::into));
    set("run_at", arguments.run_at.clone().map(Into::into));
    set("lane", arguments.lane.clone().map(Into::into));
    let labels: serde_json::Map<String, Value> =
        arguments.labels.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    set("labels", (!labels.is_empty()).then_some(Value::Object(labels)));
    Ok(body)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn only_what_was_asked_for_is_sent() {
        let body_of = |arguments: &[&str]| match Cli::parse_from(arguments).command {
            Command::Submit(arguments) => body(&arguments).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(body_of(&["sortie", "submit", "a"]), json!({"action": "a", "input": {}}));
        let full = body_of(&[
            "sortie",
            "submit",
            "a",
            "--input",
            "[1]",
            "--version",
            "3",
            "--deadline",
            "2s",
            "--priority",
            "high",
            "--label",
            "k=v",
            "--lane",
            "gpu",
        ]);
        let expected = json!({"action": "a", "input": [1], "version": 3, "deadline_ms": 2000, "priority": "high",
            "labels": {"k": "v"}, "lane": "gpu"});
        assert_eq!(full, expected);
    }
}
