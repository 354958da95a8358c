//! What a server tells the person who started it: where it is, how it carries jobs, how safe its handlers
//! are, and what to try next.

use protocol::secret::Secret;

use crate::master_key::Origin;
use crate::render::say;
use crate::run::Running;
use crate::settings::Settings;
use crate::{admin_key, isolation, master_key};

/// Says that the process runs, and what it is.
pub(crate) fn started(settings: &Settings, running: &Running) {
    // Machines read the log; the words below are for people.
    if settings.log.json {
        tracing::info!(role = settings.role.as_str(), url = running.url(), "started");
    } else {
        say(&facts(settings, running));
    }
}

/// Says what to try next.
pub(crate) fn next_steps(settings: &Settings, running: &Running) {
    if settings.role.dispatches() && !settings.log.json {
        let url = running.url();
        say(&format!(
            "Next, in another terminal:
  {}
  sortie actions put hello --python hello.py      # a file with def handle_event(data): ...
  sortie submit hello --input '{{\"name\": \"Ada\"}}' --wait
Every call of the API: {url}/openapi.json; is it ready: {url}/readyz",
            environment(settings, running)
        ));
    }
}

/// What the commands of another terminal need to find this server and its key.
pub(crate) fn environment(settings: &Settings, running: &Running) -> String {
    let key = match settings.admin_key {
        Some(_) => "SORTIE_KEY=sk_...".to_owned(),
        None => format!("SORTIE_DATA={}", settings.data.display()),
    };
    format!("export SORTIE_URL={} {key}", running.url())
}

fn facts(settings: &Settings, running: &Running) -> String {
    let mut lines =
        vec![format!("Sortie {} runs as `{}`", env!("CARGO_PKG_VERSION"), settings.role.as_str())];
    let mut fact = |name: &str, value: String| lines.push(format!("  {name:<11}{value}"));
    fact("listens", running.url());
    fact("jobs", carrier(settings));
    fact("data", settings.data.display().to_string());
    if let Some(version) = &running.python {
        let lanes: Vec<&str> = settings.lanes.iter().map(protocol::id::Lane::as_str).collect();
        fact("worker", format!("{} slots, lanes {}, Python {version}", settings.slots, lanes.join(", ")));
    }
    if let Some(worker) = &running.watched.worker {
        fact("isolation", isolation::words(worker.isolation()).to_owned());
    }
    if let Some((_, made)) = &running.admin_key {
        fact("admin key", key(settings, *made));
    }
    fact("secrets", secrets(settings));
    lines.join("\n")
}

fn carrier(settings: &Settings) -> String {
    match &settings.servers {
        None => "embedded store (one process, no other server)".to_owned(),
        Some(servers) => format!("RabbitMQ at {} and Redis at {}", host(&servers.amqp), host(&servers.redis)),
    }
}

fn key(settings: &Settings, made: bool) -> String {
    let path = admin_key::path(&settings.data);
    match (&settings.admin_key, made) {
        (Some(_), _) => "set from outside".to_owned(),
        (None, true) => format!("made now, in {}", path.display()),
        (None, false) => format!("in {}", path.display()),
    }
}

fn secrets(settings: &Settings) -> String {
    match master_key::origin(settings) {
        Origin::Setting => "master key set from outside".to_owned(),
        Origin::File(path) | Origin::Own(path) => format!("master key in {}", path.display()),
        Origin::Nowhere => "can't be used: no master key is set".to_owned(),
    }
}

/// Host and port of a URL, without the credentials that stand before them.
pub(crate) fn host(url: &Secret) -> String {
    let url = url.reveal();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_shown_without_credentials() {
        for (url, shown) in [
            ("amqp://user:p@ss@broker:5672/%2f", "broker:5672"),
            ("redis://:secret@cache/0", "cache"),
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
        ] {
            assert_eq!(host(&Secret::new(url)), shown);
        }
    }
}
