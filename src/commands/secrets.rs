//! `sortie secrets`: set, list and delete the secrets that handlers get.

use std::io::IsTerminal;

use reqwest::Method;
use serde_json::{Value, json};

use super::{field, file};
use crate::cli::SecretsCommand;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs a command on secrets.
pub(crate) async fn run(command: SecretsCommand) -> Result<Exit, Failure> {
    match command {
        SecretsCommand::Set { name, file: path, remote } => {
            if path == "-" && std::io::stdin().is_terminal() {
                render::say("type the value, then Ctrl-D on a line of its own");
            }
            let text = file(&path)?;
            // What editors and `echo` put at the end of a text is no part of it.
            let value =
                text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
            let body = json!({ "value": value });
            let answer =
                Client::of(&remote)?.send(Method::PUT, &["v1", "secrets", &name], &[], &body).await?;
            match remote.json {
                true => render::json(&answer.body)?,
                false => {
                    let did = if answer.status == 201 { "set" } else { "replaced" };
                    render::line(&format!("{name} is {did}"))?;
                }
            }
            Ok(Exit::Ok)
        }
        SecretsCommand::List { remote } => {
            let list = Client::of(&remote)?.get(&["v1", "secrets"], &[]).await?.body;
            match remote.json {
                true => render::json(&list)?,
                false => print_list(&list)?,
            }
            Ok(Exit::Ok)
        }
        SecretsCommand::Delete { name, remote } => {
            Client::of(&remote)?.call(Method::DELETE, &["v1", "secrets", &name]).await?;
            render::say(&format!("deleted {name}"));
            Ok(Exit::Ok)
        }
    }
}

fn print_list(list: &Value) -> Result<(), Failure> {
    let row = |secret: &Value| {
        vec![
            field(secret, "name").to_owned(),
            render::moment(&secret["created_at"]),
            render::moment(&secret["updated_at"]),
            field(secret, "master_key").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = list["secrets"].as_array().into_iter().flatten().map(row).collect();
    Ok(render::table(&["NAME", "SET (UTC)", "CHANGED (UTC)", "MASTER KEY"], &rows)?)
}
