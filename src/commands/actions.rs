//! `sortie actions`: publish actions, look at them, switch them on and off, test drafts.

use reqwest::Method;
use serde_json::{Value, json};

use super::{field, file, millis, parse, submit, text_or_file};
use crate::cli::{ActionsCommand, ContentArgs, Remote, Test};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on actions.
pub(crate) async fn run(command: ActionsCommand) -> Result<Exit, Failure> {
    match command {
        ActionsCommand::Put { name, content, remote } => {
            let content = content_of(&content)?.ok_or_else(|| {
                Failure::new(Exit::Usage, "nothing to publish").hint("name a --file or a --python")
            })?;
            let answer =
                Client::of(&remote)?.send(Method::PUT, &["v1", "actions", &name], &[], &content).await?;
            if remote.json {
                render::json(&answer.body)?;
            } else {
                let version = format!("{name}, version {}", answer.body["version"]);
                match answer.status {
                    201 => render::line(&format!("published {version}"))?,
                    _ => render::line(&format!("unchanged: {version} has this content already"))?,
                }
            }
            Ok(Exit::Ok)
        }
        ActionsCommand::List { limit, cursor, remote } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page = Client::of(&remote)?.get(&["v1", "actions"], &query).await?.body;
            if remote.json {
                render::json(&page)?
            } else {
                print_list(&page)?
            }
            Ok(Exit::Ok)
        }
        ActionsCommand::Get { name, version, remote } => {
            let number = version.map(|number| number.to_string());
            let path: Vec<&str> = match &number {
                Some(number) => vec!["v1", "actions", &name, "versions", number],
                None => vec!["v1", "actions", &name],
            };
            render::json(&Client::of(&remote)?.get(&path, &[]).await?.body)?;
            Ok(Exit::Ok)
        }
        ActionsCommand::Versions { name, remote } => {
            let list = Client::of(&remote)?.get(&["v1", "actions", &name, "versions"], &[]).await?.body;
            if remote.json {
                render::json(&list)?
            } else {
                print_versions(&list)?
            }
            Ok(Exit::Ok)
        }
        ActionsCommand::Enable { name, remote } => switch(&name, "enable", &remote).await,
        ActionsCommand::Disable { name, remote } => switch(&name, "disable", &remote).await,
        ActionsCommand::Delete { name, remote } => {
            Client::of(&remote)?.call(Method::DELETE, &["v1", "actions", &name]).await?;
            render::say(&format!("deleted {name}; jobs that were accepted still run"));
            Ok(Exit::Ok)
        }
        ActionsCommand::Test(test) => run_draft(test).await,
    }
}

async fn switch(name: &str, verb: &str, remote: &Remote) -> Result<Exit, Failure> {
    let action = Client::of(remote)?.call(Method::POST, &["v1", "actions", name, verb]).await?.body;
    match remote.json {
        true => render::json(&action)?,
        false => render::line(&format!("{name} is {verb}d"))?,
    }
    Ok(Exit::Ok)
}

async fn run_draft(test: Test) -> Result<Exit, Failure> {
    let client = Client::of(&test.remote)?;
    let input = parse(&text_or_file(&test.input.input)?, "the input")?;
    let mut body = json!({"input": input});
    if let Some(draft) = content_of(&test.content)? {
        body["draft"] = draft;
    }
    let path = ["v1", "actions", &test.name, "test"];
    let job = client.send(Method::POST, &path, &[], &body).await?.body;
    submit::end(&client, job, true, false, test.remote.json).await
}

/// The content that the arguments describe; `None` if they describe none.
fn content_of(arguments: &ContentArgs) -> Result<Option<Value>, Failure> {
    if let Some(path) = &arguments.file {
        return Ok(Some(parse(&file(path)?, path)?));
    }
    let Some(path) = &arguments.python else {
        return Ok(None);
    };
    let mut content = json!({"handler": {"kind": "python", "source": file(path)?}});
    if let Some(path) = &arguments.schema {
        content["input_schema"] = parse(&file(path)?, path)?;
    }
    if let Some(description) = &arguments.description {
        content["description"] = description.clone().into();
    }
    if let Some(timeout) = arguments.timeout {
        content["timeout_ms"] = millis(timeout).into();
    }
    if let Some(deadline) = arguments.deadline {
        content["deadline_ms"] = millis(deadline).into();
    }
    Ok(Some(content))
}

fn print_list(page: &Value) -> Result<(), Failure> {
    let row = |action: &Value| {
        vec![
            field(action, "name").to_owned(),
            action["version"].to_string(),
            if action["enabled"] == true { "yes" } else { "no" }.to_owned(),
            render::moment(&action["updated_at"]),
        ]
    };
    let rows: Vec<Vec<String>> = page["actions"].as_array().into_iter().flatten().map(row).collect();
    render::table(&["NAME", "VERSION", "ENABLED", "CHANGED (UTC)"], &rows)?;
    if let Some(next) = page["next"].as_str() {
        render::say(&format!("more: --cursor {next}"));
    }
    Ok(())
}

fn print_versions(list: &Value) -> Result<(), Failure> {
    let row = |version: &Value| {
        let hash = field(version, "content_hash");
        vec![
            version["version"].to_string(),
            render::moment(&version["created_at"]),
            hash.get(..12).unwrap_or(hash).to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = list["versions"].as_array().into_iter().flatten().map(row).collect();
    Ok(render::table(&["VERSION", "PUBLISHED (UTC)", "CONTENT"], &rows)?)
}
