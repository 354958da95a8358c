//! From texts to [`Settings`]: every value, and the rules between values. A pure function that reports all
//! problems at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use backend_embedded::Sync;
use backend_rabbitmq::Queues;
use protocol::seal::MasterKeys;
use protocol::secret::Secret;
use worker::python::Isolation;

use super::source::{Layers, Text};
use super::{Log, Problem, Role, Servers, Settings, default_data};

/// What the rules must know of this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Number of processors.
    pub(crate) processors: usize,
    /// The data folder where nobody gave one.
    pub(crate) data: Option<PathBuf>,
    /// An earlier start has made `DATA/admin.key`.
    pub(crate) has_admin_key: bool,
}

impl Host {
    /// This host, with the data folder that `layers` name.
    pub(crate) fn here(layers: &Layers) -> Self {
        let data = default_data();
        let named = layers.get("data").map(|text| PathBuf::from(&text.text)).or_else(|| data.clone());
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            has_admin_key: named.is_some_and(|data| crate::admin_key::path(&data).exists()),
            data,
        }
    }
}

/// The settings of a process with this role.
pub(crate) fn check(role: Role, layers: &Layers, host: &Host) -> Result<Settings, Vec<Problem>> {
    let mut reader = Reader { layers, problems: Vec::new() };
    let admin_key = reader.optional("admin_key", "make one with: openssl rand -hex 32", admin_key);
    let master_key = reader.optional("master_key", "make one with: openssl rand -base64 32", |text| {
        MasterKeys::parse(text).map_err(|error| error.to_string())
    });
    let master_key_file =
        reader.optional("master_key_file", "name a file with a master key", |text| match text {
            "" => Err("is empty".to_owned()),
            text => Ok(PathBuf::from(text)),
        });
    if reader.layers.contains_key("master_key") && master_key_file.is_some() {
        reader.problem("master_key_file", "is set together with master_key", "set one of the two");
    }
    let listen = reader.or("listen", "write an address and a port: 127.0.0.1:7300", address, || match role {
        Role::Worker => SocketAddr::from(([127, 0, 0, 1], 7301)),
        Role::Serve | Role::Dispatcher => SocketAddr::from(([127, 0, 0, 1], 7300)),
    });
    let amqp = reader.optional("amqp_url", "amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps://", |text| {
        url(text, &["amqp://", "amqps://"])
    });
    let redis = reader.optional("redis_url", "redis://:PASSWORD@HOST:6379/0, or rediss://", |text| {
        url(text, &["redis://", "rediss://"])
    });
    let data = reader.optional("data", "name a folder", |text| match text {
        "" => Err("is empty".to_owned()),
        // Slots work in folders of their own below it; a relative path would mean something else there.
        text => std::path::absolute(text).map_err(|error| error.to_string()),
    });
    let data = data.or_else(|| host.data.clone()).unwrap_or_else(|| {
        reader.problem("data", "is not set, and there is no home folder to put it into", "set --data");
        PathBuf::new()
    });
    let prefix = reader.or("prefix", "such as `sortie` or `team-a`", prefix, || "sortie".into());
    let queues = reader.or("queues", "quorum or classic", queues, Queues::default);
    let sync = reader.or("sync", "full or normal", sync, Sync::default);
    let slots = reader.or("slots", "a number from 1 to 1024", |t| number(t, 1, 1024), || 0);
    let slots = if slots == 0 { host.processors.max(1) } else { usize::try_from(slots).unwrap_or(1) };
    let lanes = reader.or("lanes", "names separated by commas: default,gpu", lanes, Vec::new);
    let drain = reader.millis("drain_ms", 0, 900_000);
    let lease = reader.millis("lease_ms", 500, 60_000);
    let retention = reader.millis("retention_ms", 60_000, 30 * 86_400_000);
    let deadline_ceiling = reader.millis("deadline_ceiling_ms", 1_000, 30 * 86_400_000);
    let python =
        reader.optional("python", "the path of a Python 3.12 or newer", |text| Ok(PathBuf::from(text)));
    let isolation = reader.or("isolation", "required, best-effort or none", isolation, Isolation::default);
    let egress_allow =
        reader.or("egress_allow", "address ranges: 10.1.0.0/16,127.0.0.1/32", ranges, Vec::new);
    let filter =
        reader.or("log", "error, warn, info, debug, trace, or info,worker=debug", filter, String::new);
    let json = reader.or("log_format", "text or json", format, || false);

    if let Some(missing) = lone(amqp.is_some(), redis.is_some(), role) {
        let message = match role {
            Role::Serve => "is not set, but its counterpart is",
            Role::Dispatcher | Role::Worker => "is not set; only `sortie serve` works without servers",
        };
        for key in missing {
            reader.problem(key, message, "set --amqp-url and --redis-url, or neither and use `sortie serve`");
        }
    }
    let safe = listen.ip().is_loopback() || admin_key.is_some() || host.has_admin_key;
    if role.dispatches() && !safe {
        reader.problem(
            "listen",
            "is open to other machines, and no admin key has been set or made yet",
            "set SORTIE_ADMIN_KEY; or start once on 127.0.0.1, which makes DATA/admin.key",
        );
    }
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let servers = amqp.zip(redis).map(|(amqp, redis)| Servers { amqp, redis });
    let log = Log { filter, json };
    Ok(Settings {
        role,
        listen,
        data,
        admin_key,
        master_key,
        master_key_file,
        servers,
        prefix,
        queues,
        sync,
        slots,
        lanes,
        drain,
        python,
        isolation,
        egress_allow,
        lease,
        retention,
        deadline_ceiling,
        log,
    })
}

/// Reads values and collects what is wrong with them.
struct Reader<'a> {
    layers: &'a Layers,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The value of `key` if it is set and right.
    fn optional<T>(&mut self, key: &str, hint: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let written = self.layers.get(key)?;
        match read(written.text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problems.push(Problem::new(key, Some(written), message, hint));
                None
            }
        }
    }

    /// The value of `key`, or `default` if it isn't set (or is wrong, which is recorded).
    fn or<T>(
        &mut self,
        key: &str,
        hint: &str,
        read: impl Fn(&str) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> T {
        self.optional(key, hint, read).unwrap_or_else(default)
    }

    /// A duration between two bounds, all in milliseconds. Every one has a default among the layers.
    fn millis(&mut self, key: &str, low: u64, high: u64) -> Duration {
        let hint = format!("milliseconds from {low} to {high}");
        Duration::from_millis(self.or(key, &hint, |text| number(text, low, high), || low))
    }

    /// A rule between values is broken.
    fn problem(&mut self, key: &str, message: &str, hint: &str) {
        let written: Option<&Text> = self.layers.get(key);
        self.problems.push(Problem::new(key, written, message, hint));
    }
}

/// Which of the two servers is missing, if they don't come as a pair that fits the role.
fn lone(amqp: bool, redis: bool, role: Role) -> Option<Vec<&'static str>> {
    let missing: Vec<&str> = [("amqp_url", amqp), ("redis_url", redis)]
        .iter()
        .filter(|(_, set)| !set)
        .map(|(key, _)| *key)
        .collect();
    let wanted = role != Role::Serve || missing.len() == 1;
    (wanted && !missing.is_empty()).then_some(missing)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // Most people mean this machine by "localhost", and the resolver is no part of checking settings.
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| "is not an address with a port".to_owned())
}

fn admin_key(text: &str) -> Result<Secret, String> {
    if text.len() < 24 {
        return Err(format!("has {} characters; at least 24 are needed", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be of visible ASCII characters".to_owned());
    }
    Ok(Secret::new(text))
}

fn url(text: &str, schemes: &[&str]) -> Result<Secret, String> {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        None => Err(format!("must begin with {}", schemes.join(" or "))),
        Some("") => Err("names no host".to_owned()),
        Some(_) => Ok(Secret::new(text)),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    match (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 of a-z, 0-9, '-', '_' and '.'".to_owned()),
    }
}

fn queues(text: &str) -> Result<Queues, String> {
    match text {
        "quorum" => Ok(Queues::Quorum),
        "classic" => Ok(Queues::Classic),
        _ => Err("is neither".to_owned()),
    }
}

fn sync(text: &str) -> Result<Sync, String> {
    match text {
        "full" => Ok(Sync::Full),
        "normal" => Ok(Sync::Normal),
        _ => Err("is neither".to_owned()),
    }
}

fn number(text: &str, low: u64, high: u64) -> Result<u64, String> {
    let number: u64 = text.replace('_', "").parse().map_err(|_| "is not a whole number".to_owned())?;
    match (low..=high).contains(&number) {
        true => Ok(number),
        false => Err(format!("must lie between {low} and {high}")),
    }
}

fn lanes(text: &str) -> Result<Vec<protocol::id::Lane>, String> {
    let mut lanes: Vec<protocol::id::Lane> = Vec::new();
    for name in text.split(',') {
        let lane = name.trim().parse().map_err(|error: protocol::id::NameError| error.to_string())?;
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    Ok(lanes)
}

fn isolation(text: &str) -> Result<Isolation, String> {
    text.parse().map_err(|_| "is none of the three".to_owned())
}

fn ranges(text: &str) -> Result<Vec<worker::egress::Range>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| item.parse().map_err(|error: worker::egress::RangeError| error.to_string())).collect()
}

fn filter(text: &str) -> Result<String, String> {
    let parsed: Result<tracing_subscriber::EnvFilter, _> = text.parse();
    parsed.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn format(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("is neither".to_owned()),
    }
}

#[cfg(test)]
mod tests;
