//! `sortie keys`: make API keys, list them, switch them off and on, delete them.

use protocol::time::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::field;
use crate::cli::{KeysCommand, Remote};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on keys.
pub(crate) async fn run(command: KeysCommand) -> Result<Exit, Failure> {
    match command {
        KeysCommand::Create { name, scopes, actions, expires_in, remote } => {
            let mut body = json!({"name": name, "scopes": scopes});
            if !actions.is_empty() {
                body["actions"] = actions.into();
            }
            if let Some(time) = expires_in {
                body["expires_at"] = Timestamp::now().plus(time).to_string().into();
            }
            let key = Client::of(&remote)?.send(Method::POST, &["v1", "keys"], &[], &body).await?.body;
            if remote.json {
                render::json(&key)?;
            } else {
                render::line(field(&key, "secret"))?;
                render::say(&format!("key {} is made; its secret is shown this once", field(&key, "id")));
            }
            Ok(Exit::Ok)
        }
        KeysCommand::List { remote } => {
            let list = Client::of(&remote)?.get(&["v1", "keys"], &[]).await?.body;
            if remote.json {
                render::json(&list)?
            } else {
                print_list(&list)?
            }
            Ok(Exit::Ok)
        }
        KeysCommand::Disable { id, remote } => switch(&id, "disable", &remote).await,
        KeysCommand::Enable { id, remote } => switch(&id, "enable", &remote).await,
        KeysCommand::Delete { id, remote } => {
            Client::of(&remote)?.call(Method::DELETE, &["v1", "keys", &id]).await?;
            render::say(&format!("deleted {id}"));
            Ok(Exit::Ok)
        }
    }
}

async fn switch(id: &str, verb: &str, remote: &Remote) -> Result<Exit, Failure> {
    let key = Client::of(remote)?.call(Method::POST, &["v1", "keys", id, verb]).await?.body;
    match remote.json {
        true => render::json(&key)?,
        false => render::line(&format!("{id} is {verb}d"))?,
    }
    Ok(Exit::Ok)
}

fn print_list(list: &Value) -> Result<(), Failure> {
    let joined = |value: &Value| {
        let items: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        items.join(" ")
    };
    let row = |key: &Value| {
        vec![
            field(key, "id").to_owned(),
            field(key, "name").to_owned(),
            joined(&key["scopes"]),
            if key["actions"].is_null() { "all".to_owned() } else { joined(&key["actions"]) },
            if key["disabled"] == true { "disabled" } else { "works" }.to_owned(),
            if key["expires_at"].is_null() { "never".to_owned() } else { render::moment(&key["expires_at"]) },
        ]
    };
    let rows: Vec<Vec<String>> = list["keys"].as_array().into_iter().flatten().map(row).collect();
    Ok(render::table(&["ID", "NAME", "SCOPES", "ACTIONS", "STATE", "EXPIRES (UTC)"], &rows)?)
}
