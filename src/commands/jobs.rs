//! `sortie jobs`: look at jobs, wait for them, read their events, cancel them.

use protocol::event::Event;
use reqwest::Method;
use serde_json::Value;

use super::{field, submit};
use crate::cli::JobsCommand;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on jobs.
pub(crate) async fn run(command: JobsCommand) -> Result<Exit, Failure> {
    match command {
        JobsCommand::List { state, action, label, limit, cursor, remote } => {
            let mut query = vec![("limit", limit.to_string())];
            let label = label.map(|(name, value)| format!("{name}:{value}"));
            for (name, value) in [("state", state), ("action", action), ("label", label), ("cursor", cursor)]
            {
                query.extend(value.map(|value| (name, value)));
            }
            let page = Client::of(&remote)?.get(&["v1", "jobs"], &query).await?.body;
            if remote.json {
                render::json(&page)?;
            } else {
                print_list(&page)?;
            }
            Ok(Exit::Ok)
        }
        JobsCommand::Get { id, remote } => {
            let job = Client::of(&remote)?.get(&["v1", "jobs", &id], &[]).await?.body;
            if remote.json {
                render::json(&job)?
            } else {
                render::line(&details(&job))?
            }
            Ok(Exit::Ok)
        }
        JobsCommand::Wait { id, timeout, remote } => {
            let job = submit::wait_for(&Client::of(&remote)?, &id, timeout).await?;
            print_end(&job, remote.json)
        }
        JobsCommand::Events { id, after, remote } => {
            let mut events = Client::of(&remote)?.events(&id, after);
            while let Some(event) = events.next().await? {
                if remote.json { print_event(&event)? } else { render::line(&event_line(&event))? }
            }
            Ok(Exit::Ok)
        }
        JobsCommand::Cancel { id, remote } => {
            let job = Client::of(&remote)?.call(Method::POST, &["v1", "jobs", &id, "cancel"]).await?.body;
            if remote.json {
                render::json(&job)?;
            } else if ended(&job) {
                render::line(field(&job, "state"))?;
            } else {
                render::line("asked; it is cancelled when its worker has killed the handler")?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// True if the job is over.
pub(super) fn ended(job: &Value) -> bool {
    Exit::of_state(field(job, "state")) != Exit::NotFinished
}

/// Prints a job that was waited for: its result to stdout, how it ended to stderr and as exit code.
pub(super) fn print_end(job: &Value, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        render::json(job)?;
    } else {
        if field(job, "state") == "succeeded" {
            render::value(&job["result"])?;
        }
        render::say(&outcome(job));
    }
    Ok(Exit::of_state(field(job, "state")))
}

/// How a job ended, in words, from the job or from its `result` event.
pub(super) fn outcome(end: &Value) -> String {
    let error = &end["error"];
    if error.is_null() {
        return state(end);
    }
    let code = field(error, "code");
    let mut text = format!("{}: {code}: {}", state(end), field(error, "message"));
    if let Some(traceback) = error["details"]["traceback"].as_str() {
        text.push('\n');
        text.push_str(traceback.trim_end());
    }
    text.push_str(&format!("\nhint: sortie explain {code}"));
    text
}

/// A state with its reason.
pub(super) fn state(value: &Value) -> String {
    match value["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", field(value, "state")),
        None => field(value, "state").to_owned(),
    }
}

/// How far a handler says it is.
pub(super) fn progress(data: &Value) -> String {
    let percent = data["fraction"].as_f64().unwrap_or_default() * 100.0;
    format!("{percent:3.0} % {}", field(data, "message")).trim_end().to_owned()
}

/// Prints an event as the API has it, on one line.
pub(super) fn print_event(event: &Event) -> Result<(), Failure> {
    let line = serde_json::to_string(event).map_err(anyhow::Error::from)?;
    Ok(render::line(&line)?)
}

fn event_line(event: &Event) -> String {
    let at = Value::from(event.at.to_string());
    let time = at.as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
    format!("{:>5}  {time}  {:<8}  {}", event.seq, event.kind.as_str(), event.data.text())
}

fn print_list(page: &Value) -> Result<(), Failure> {
    let jobs = page["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |job: &Value| {
        let attempts = job["attempts"].as_array().map_or(0, Vec::len);
        let code = field(&job["error"], "code").to_owned();
        vec![
            field(job, "id").to_owned(),
            field(job, "action").to_owned(),
            state(job),
            attempts.to_string(),
            render::moment(&job["created_at"]),
            code,
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    render::table(&["ID", "ACTION", "STATE", "ATTEMPTS", "CREATED (UTC)", "ERROR"], &rows)?;
    if let Some(next) = page["next"].as_str() {
        render::say(&format!("more: --cursor {next}"));
    }
    Ok(())
}

/// A job for people: what matters first, values on lines of their own.
fn details(job: &Value) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<10}{value}"));
        }
    };
    add("id", render::text(&job["id"]));
    let version = job["version"].as_u64().map_or("draft".to_owned(), |number| format!("version {number}"));
    add("action", format!("{}, {version}", field(job, "action")));
    add("state", state(job));
    add("lane", format!("{}, priority {}", field(job, "lane"), field(job, "priority")));
    add("created", render::moment(&job["created_at"]));
    add("next run", render::moment(&job["next_run_at"]));
    add("deadline", render::moment(&job["deadline"]));
    add("finished", render::moment(&job["finished_at"]));
    for attempt in job["attempts"].as_array().into_iter().flatten() {
        let outcome = attempt["outcome"].as_str().unwrap_or("running");
        let started = render::moment(&attempt["started_at"]);
        let error = attempt["error"]["code"].as_str().map(|code| format!(", {code}")).unwrap_or_default();
        add(
            "attempt",
            format!(
                "{} on {}, isolation {}, started {started}: {outcome}{error}",
                attempt["number"],
                field(attempt, "worker"),
                field(attempt, "isolation")
            ),
        );
    }
    add("input", render::text(&job["input"]));
    add("result", render::text(&job["result"]));
    if !job["error"].is_null() {
        add("error", outcome(job));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_reads_as_a_sentence() {
        let job = json!({"state": "failed", "error": {"code": "handler_raised", "message": "KeyError: 'x'",
            "details": {"traceback": "line 1\n"}}});
        assert_eq!(
            outcome(&job),
            "failed: handler_raised: KeyError: 'x'\nline 1\nhint: sortie explain handler_raised"
        );
        assert_eq!(outcome(&json!({"state": "succeeded", "result": 1})), "succeeded");
        assert_eq!(
            state(&json!({"state": "queued", "reason": "awaiting_worker"})),
            "queued (awaiting_worker)"
        );
    }

    #[test]
    fn progress_is_a_percentage() {
        assert_eq!(progress(&json!({"fraction": 0.5, "message": "half"})), " 50 % half");
        assert_eq!(progress(&json!({"fraction": 1})), "100 %");
    }

    #[test]
    fn details_leave_out_what_there_is_not() {
        let job = json!({"id": "i", "action": "a", "version": 2, "state": "queued", "lane": "default",
            "priority": "normal", "attempts": [], "input": {"x": 1}});
        let text = details(&job);
        assert!(text.contains("action    a, version 2"), "{text}");
        assert!(!text.contains("finished") && !text.contains("error"), "{text}");
    }
}
